"""Images as a source: patterns of file and folder names."""

from __future__ import annotations

from pathlib import Path

import cv2

from edgekit.sources.open_source import make_source
from tests.sources.video_files import numbered_frame, read_number


def test_a_pattern_of_file_names(tmp_path: Path) -> None:
    for name, number in (("b2.png", 2), ("b1.png", 1), ("a.png", 9), ("b3.txt", 3)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), numbered_frame(number))
        (tmp_path / f"{name}.png").rename(tmp_path / name)
    source = make_source(str(tmp_path / "b*"))
    source.open()
    seen = []
    while (frame := source.read()) is not None:
        seen.append(read_number(frame.pixels))
    assert seen == [1, 2]


def test_a_pattern_of_folder_names(tmp_path: Path) -> None:
    for folder in ("a/deep", "b/deep", "b"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / folder / "1.png"), numbered_frame(1))
    for pattern, count in (("*/deep/*.png", 2), ("**/*.png", 3), ("[b]/*.png", 1)):
        source = make_source(str(tmp_path / pattern))
        source.open()
        assert sum(1 for _ in iter(source.read, None)) == count
