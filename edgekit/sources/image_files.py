"""Images as a source: one file, or all of a folder or of a pattern, in the order of their names."""

from __future__ import annotations

import glob
import time
from pathlib import Path

from edgekit.arrays import BgrFrame
from edgekit.errors import SourceError
from edgekit.images import IMAGE_SUFFIXES, list_images, read_image
from edgekit.sources.base import Frame, SourceDescription
from edgekit.sources.opencv_capture import silence_opencv


class ImageSource:
    """Delivers each image once. `time_s` is the time since `open`: images have no times.

    Raises ImageError naming the file that cannot be read.
    """

    is_live = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._paths: list[Path] = []
        self._next = 0
        self._began_ns = 0

    def open(self) -> None:
        silence_opencv()
        if self.path.is_dir():
            self._paths = list_images(self.path)
        elif self.path.exists():
            self._paths = [self.path]
        else:
            matches = map(Path, glob.glob(str(self.path), recursive=True))  # noqa: PTH207 - any part
            self._paths = sorted(p for p in matches if p.suffix.lower() in IMAGE_SUFFIXES)
        if not self._paths:
            raise SourceError(
                f"{self.path} holds no images: expected {', '.join(sorted(IMAGE_SUFFIXES))}"
            )
        self._next = 0
        self._began_ns = time.monotonic_ns()

    def read(self, buffer: BgrFrame | None = None) -> Frame | None:
        """The next image as a frame, `(H, W, 3) uint8` BGR; `buffer` is not used."""
        if self._next == len(self._paths):
            return None
        import cv2

        image = read_image(self._paths[self._next])
        captured_ns = time.monotonic_ns()
        frame = Frame(
            pixels=cv2.cvtColor(image, cv2.COLOR_RGB2BGR, dst=image),
            index=self._next,
            captured_ns=captured_ns,
            time_s=(captured_ns - self._began_ns) / 1e9,
        )
        self._next += 1
        return frame

    def describe(self) -> SourceDescription:
        return SourceDescription(
            kind="images", name=str(self.path), frames=len(self._paths) or None
        )

    def close(self) -> None:
        self._paths = []
