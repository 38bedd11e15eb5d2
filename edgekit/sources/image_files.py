"""Images as a source: one file, or all of a folder or of a pattern, in the order of their names."""

from __future__ import annotations

import glob
import time
from pathlib import Path

from edgekit.arrays import BgrFrame, RgbImage
from edgekit.errors import ImageError, SourceError
from edgekit.images import EXPECTED_IMAGES, DamagedImages, choose_images, find_images, read_image
from edgekit.native_libraries import load_opencv
from edgekit.sources.base import Frame, SourceDescription
from edgekit.sources.opencv_capture import silence_opencv


class ImageSource:
    """Delivers each image once. `time_s` is the time since `open`: images have no times.

    Of several images, those that cannot be decoded are passed over and counted. With `strict`, and
    for a single image, the first is an ImageError; so it is when they are more than half.
    """

    is_live = False

    def __init__(self, path: Path, *, strict: bool = False) -> None:
        self.path = path
        self._strict = strict
        self._paths: list[Path] = []
        self._left_out = ""
        self._damaged = DamagedImages(path, 0)
        self._delivered = 0
        self._next = 0
        self._began_ns = 0

    def open(self) -> None:
        silence_opencv()
        self._left_out = ""
        if self.path.is_file():
            self._paths = [self.path]
        else:
            self._find()
        self._damaged = DamagedImages(self.path, len(self._paths), strict=self._strict)
        self._next = self._delivered = 0
        self._began_ns = time.monotonic_ns()

    def _find(self) -> None:
        """List the images of a folder, or those that a pattern names."""
        if self.path.is_dir():
            found = find_images(self.path, strict=self._strict)
        else:
            matches = glob.glob(str(self.path), recursive=True)  # noqa: PTH207 - any part
            found = choose_images(map(Path, matches), strict=self._strict)
        self._paths, self._left_out = found.files, str(found.left_out)
        if not self._paths:
            left_out = f"; left out {self._left_out}" if self._left_out else ""
            raise SourceError(f"{self.path} holds no images: expected {EXPECTED_IMAGES}{left_out}")

    def read(self, buffer: BgrFrame | None = None) -> Frame | None:
        """The next image as a frame, `(H, W, 3) uint8` BGR; `buffer` is not used."""
        image = self._read_next()
        if image is None:
            return None
        cv2 = load_opencv()

        captured_ns = time.monotonic_ns()
        frame = Frame(
            pixels=BgrFrame(cv2.cvtColor(image, cv2.COLOR_RGB2BGR, dst=image)),
            index=self._delivered,
            captured_ns=captured_ns,
            time_s=(captured_ns - self._began_ns) / 1e9,
        )
        self._delivered += 1
        return frame

    def _read_next(self) -> RgbImage | None:
        """The next image that can be decoded; None after the last one."""
        while self._next < len(self._paths):
            path = self._paths[self._next]
            self._next += 1
            try:
                return read_image(path)
            except ImageError as error:
                self._damaged.pass_over(error)
        return None

    def describe(self) -> SourceDescription:
        return SourceDescription(
            kind="images",
            name=str(self.path),
            frames=len(self._paths) or None,
            note=f"left out {self._left_out}" if self._left_out else None,
            damaged=str(self._damaged) or None,
        )

    def close(self) -> None:
        self._paths = []
