"""Images, labels and class names are read, in all the forms that users' files have."""

from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from edgekit.errors import ImageError
from edgekit.images import (
    find_labelled_images,
    list_images,
    read_class_names,
    read_image,
    read_labels,
)


def quarters(height: int = 40, width: int = 60) -> np.ndarray:
    """Red, green, blue and white quarters (RGB)."""
    image = np.zeros((height, width, 3), np.uint8)
    colours = ([255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255])
    for index, colour in enumerate(colours):
        rows = slice(0, height // 2) if index < 2 else slice(height // 2, None)
        columns = slice(0, width // 2) if index % 2 == 0 else slice(width // 2, None)
        image[rows, columns] = colour
    return image


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tif", ".webp", ".jpg"])
def test_formats_are_read_as_rgb(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    Image.fromarray(quarters()).save(path, lossless=suffix == ".webp")
    image = read_image(path)
    assert (image.shape, image.dtype) == ((40, 60, 3), np.uint8)
    difference = np.abs(image.astype(int) - quarters())
    if suffix == ".jpg":  # it smears the edges between colours
        difference = difference[[5, 5, 35, 35], [5, 55, 5, 55]]
    assert difference.max() <= (2 if suffix == ".jpg" else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_image_upright(tmp_path: Path, orientation: int) -> None:
    """Stored as a camera of that orientation stores it, the scene comes out the same."""
    turns = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.transpose(1, 0, 2),
        6: lambda x: np.rot90(x, 1),
        7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
        8: lambda x: np.rot90(x, -1),
    }
    stored = Image.fromarray(np.ascontiguousarray(turns[orientation](quarters())))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    image = read_image(tmp_path / "photo.jpg")
    assert image.shape == (40, 60, 3)
    centres = image[[10, 10, 30, 30], [15, 45, 15, 45]].astype(int)
    expected = quarters()[[10, 10, 30, 30], [15, 45, 15, 45]]
    assert np.abs(centres - expected).max() < 12


def test_other_pixel_formats_become_rgb(tmp_path: Path) -> None:
    grey = np.full((20, 30), 200, np.uint8)
    images = {
        "grey": grey,
        "grey 16 bit": grey.astype(np.uint16) * 257,
        "colour 16 bit": np.dstack([grey.astype(np.uint16) * 257] * 3),
        "alpha": np.dstack([grey] * 3 + [np.full_like(grey, 128)]),
    }
    for name, pixels in images.items():
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
        image = read_image(tmp_path / f"{name}.png")
        assert (image.shape, image.dtype) == ((20, 30, 3), np.uint8), name
        assert (image == 200).all(), name
    Image.fromarray(quarters()).convert("P").save(tmp_path / "palette.png")
    assert read_image(tmp_path / "palette.png").shape == (40, 60, 3)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=rf"bad\.jpg \({len(content)} bytes\) cannot be decoded"):
        read_image(path)


def test_missing_images(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"cannot read image .*nope\.jpg: No such file"):
        read_image(tmp_path / "nope.jpg")
    with pytest.raises(ImageError, match="Is a directory"):
        read_image(tmp_path)


def test_list_is_sorted_and_holds_images_alone(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "b/1.jpeg", "a.PNG", "labels.csv", "Thumbs.db", "c.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    names = [str(path.relative_to(tmp_path)) for path in list_images(tmp_path)]
    assert names == ["a.PNG", "b/1.jpeg", "b/2.JPG", "c.webp"]
    with pytest.raises(ImageError, match="is not a folder of images"):
        list_images(tmp_path / "a.PNG")


@pytest.mark.parametrize(
    "text",
    [
        "file,label\na b.png,3\nc.png,0\n",
        "\ufefffile,label\na b.png,3\nc.png,0\n",
        "file, label\r\na b.png, 3\r\n c.png ,0 \r\n\r\n",
        "label,extra,file\n3,x,a b.png\n0,,c.png\n",
        'file,label\n"a b.png",3\nc.png,0,\n',
    ],
    ids=["plain", "BOM", "spaces and CRLF", "other columns", "quotes"],
)
def test_labels(tmp_path: Path, text: str) -> None:
    for name in ("a b.png", "c.png"):
        (tmp_path / name).touch()
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    images = read_labels(tmp_path / "labels.csv", tmp_path, 4)
    assert [(image.path.name, image.label) for image in images] == [("a b.png", 3), ("c.png", 0)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a.png,3\n", r"has the columns \['a\.png', '3'\]: expected a header line 'file,label'"),
        (b"", r"has the columns \[\]"),
        (b"file,label\n", "lists no images"),
        (b"file,label\na.png,cat\n", "line 2 has label 'cat': expected 0 to 9"),
        (b"file,label\na.png,-1\n", "line 2 has label '-1': expected 0 to 9"),
        (b"file,label\na.png,1\n\na.png,10\n", "line 4 has label '10': expected 0 to 9"),
        (b"file,label\na.png\n", "line 2 has label '': expected 0 to 9"),
        (b"label,file\n3\n", "line 2 names .*, which does not exist"),
        (b"file,label\nb.png,1\n", r"line 2 names .*b\.png, which does not exist"),
        (b"\xff\xfe\x00", "cannot read labels .*: 'utf-8'"),
    ],
)
def test_wrong_labels(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(ImageError, match=words):
        read_labels(tmp_path / "labels.csv", tmp_path, 10)


def test_missing_labels(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"cannot read labels .*No such file"):
        read_labels(tmp_path / "labels.csv", tmp_path)


def test_subfolders_are_labels_by_name_or_index(tmp_path: Path) -> None:
    for name in ("cat/1.png", "1/2.png", "deep/er/cat/3.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    images = find_labelled_images(tmp_path, None, ("cat", "dog"))
    assert {image.path.name: image.label for image in images} == {
        "1.png": 0,
        "2.png": 1,
        "3.png": 0,
    }


def test_images_without_labels(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"holds no images: expected .bmp, .jpeg"):
        find_labelled_images(tmp_path, None, ("cat", "dog"))
    (tmp_path / "1.png").touch()
    with pytest.raises(
        ImageError, match=r"1\.png has no label: expected a table file,label .*, or one sub"
    ):
        find_labelled_images(tmp_path, None, ("cat", "dog"))


@pytest.mark.parametrize(
    "content", [b"cat\nbig dog\n", b"\xef\xbb\xbfcat\r\nbig dog\r\n", b"cat \n big dog\n\n \n\n"]
)
def test_class_names(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "names.txt").write_bytes(content)
    assert read_class_names(tmp_path / "names.txt") == ("cat", "big dog")


def test_wrong_class_names(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    with pytest.raises(ImageError, match=r"cannot read class names .*\(No such file"):
        read_class_names(path)
    path.write_text("\n \n")
    with pytest.raises(ImageError, match="is empty: expected one class name a line"):
        read_class_names(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ImageError, match="it is not UTF-8 text"):
        read_class_names(path)


def test_a_header_of_an_impossible_size_is_one_error(tmp_path: Path) -> None:
    header = b"IHDR" + (100_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    chunk = (13).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big")
    path = tmp_path / "huge.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    with pytest.raises(ImageError, match="cannot be decoded as an image"):
        read_image(path)


def test_a_name_of_two_classes_is_no_subfolder_label(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="class name 'crane' belongs to several classes"):
        find_labelled_images(tmp_path, None, ("crane", "dog", "crane"))
