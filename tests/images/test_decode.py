"""Image files are decoded to the pixels that training tools see, in all the usual formats."""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps

from edgekit.errors import ImageError
from edgekit.images import read_image

pillow_heif.register_heif_opener()


def quarters(height: int = 40, width: int = 60) -> np.ndarray:
    """Red, green, blue and white quarters (RGB)."""
    image = np.zeros((height, width, 3), np.uint8)
    colours = ([255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255])
    for index, colour in enumerate(colours):
        rows = slice(0, height // 2) if index < 2 else slice(height // 2, None)
        columns = slice(0, width // 2) if index % 2 == 0 else slice(width // 2, None)
        image[rows, columns] = colour
    return image


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".PPM", ".tif", ".WebP", ".jpg"])
def test_formats_are_read_as_rgb(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    Image.fromarray(quarters()).save(path, lossless=suffix == ".WebP")
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


def test_a_header_of_an_impossible_size_is_one_error(tmp_path: Path) -> None:
    header = b"IHDR" + (100_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    chunk = (13).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big")
    path = tmp_path / "huge.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    with pytest.raises(ImageError, match="cannot be decoded as an image"):
        read_image(path)


def expected_pixels(path: Path) -> np.ndarray:
    """As training tools read it: Pillow, turned upright, without transparency."""
    return np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))


def test_heic_and_avif_photographs(tmp_path: Path) -> None:
    """Photographs of telephones: HEIC and AVIF, upright like a JPEG with that orientation."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(quarters(), 1)))
    for suffix, options in ((".heic", {"quality": -1}), (".avif", {"quality": 100})):
        path = tmp_path / f"photo{suffix.upper()}"
        stored.save(path, None, exif=exif.tobytes(), **options)
        image = read_image(path)
        assert image.shape == (40, 60, 3), suffix
        np.testing.assert_array_equal(image, expected_pixels(path))
        centres = image[[10, 10, 30, 30], [15, 45, 15, 45]].astype(int)
        assert np.abs(centres - quarters()[[10, 10, 30, 30], [15, 45, 15, 45]]).max() < 12
        path.rename(tmp_path / "renamed.jpg")  # as some programs export them
        np.testing.assert_array_equal(read_image(tmp_path / "renamed.jpg"), image)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_the_orientation_is_the_same_in_every_format(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(quarters()).save(path, exif=exif, quality=95)
    image = read_image(path)
    assert image.shape == (60, 40, 3)
    assert np.abs(image.astype(int) - expected_pixels(path)).max() <= 2


def make_variants(folder: Path) -> None:
    """The scene in forms that decoders disagree on."""
    scene = Image.fromarray(quarters())
    palette = scene.convert("P")
    clear = scene.convert("RGBA")
    clear.putalpha(0)
    grey = scene.convert("LA")
    scene.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    palette.save(folder / "palette.png")
    palette.save(folder / "one colour clear.png", transparency=palette.getpixel((0, 0)))
    palette.save(folder / "one colour clear.gif", transparency=palette.getpixel((0, 0)))
    scene.save(folder / "animation.gif", save_all=True, append_images=[scene.rotate(180)])
    scene.save(
        folder / "animation.webp", save_all=True, append_images=[scene.rotate(180)], lossless=True
    )
    clear.save(folder / "clear.png")
    clear.save(folder / "clear.tif")
    clear.save(folder / "clear.webp", lossless=True, exact=True)
    grey.save(folder / "grey and alpha.png")
    scene.convert("1").save(folder / "one bit.png")
    scene.convert("1").save(folder / "one bit.tif")
    scene.convert("CMYK").save(folder / "cmyk.tif")
    scene.save(folder / "scene.jp2")
    scene.crop((0, 0, 1, 1)).save(folder / "one pixel.png")
    scene.crop((0, 0, 1, 1)).save(folder / "one pixel.jpg")
    scene.crop((0, 0, 1, 1)).save(folder / "one pixel.gif")


def test_pixels_of_unusual_files_are_those_of_pillow(tmp_path: Path) -> None:
    make_variants(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        image = read_image(path)
        assert image.flags.writeable
        assert image.dtype == np.uint8
        difference = np.abs(image.astype(int) - expected_pixels(path))
        assert difference.max() <= (2 if path.suffix == ".jpg" else 0), path.name


def test_16_bits_become_8(tmp_path: Path) -> None:
    """The high byte, as OpenCV and libpng have it; Pillow would clip at 255."""
    ramp = (np.arange(40 * 60).reshape(40, 60) * 27).astype(np.uint16)
    for suffix in (".png", ".tif"):
        Image.fromarray(ramp).save(tmp_path / f"ramp{suffix}")
        image = read_image(tmp_path / f"ramp{suffix}")
        assert np.abs(image[..., 0].astype(int) - ramp / 257).max() <= 1
        assert (image == image[..., :1]).all()


def run_without(package: str, program: str, *args: Path) -> str:
    """Run a program in a Python that does not find the packages of these names."""
    block = (
        "import sys\n"
        "class Without:\n"
        "    def __init__(self, finder): self.finder = finder\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name not in {package.split(',')!r}:\n"
        "            return self.finder.find_spec(name, path, target)\n"
        "sys.meta_path[:] = map(Without, sys.meta_path)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", block + program, *args], capture_output=True, text=True, check=True
    )
    return result.stdout


READ = """
from pathlib import Path
from edgekit.errors import ImageError
from edgekit.images import read_image
try:
    print(read_image(Path(sys.argv[1])).shape)
except ImageError as error:
    print(error)
"""


def test_a_photograph_without_its_plugin_names_the_plugin(tmp_path: Path) -> None:
    scene = Image.fromarray(quarters())
    scene.save(tmp_path / "photo.heic")
    scene.save(tmp_path / "photo.avif")
    for name, packages, install in (
        ("photo.heic", "pillow_heif,pi_heif", "HEIC, and what reads that is not installed: pip"),
        ("photo.avif", "PIL._avif,pillow_avif", "not installed: pip install 'pillow>=11.3'"),
    ):
        answer = run_without(packages, READ, tmp_path / name)
        assert answer.count("\n") == 1
        assert install in answer
        assert f"{tmp_path / name} is an image in" in answer


def test_camera_raw_is_refused_by_name(tmp_path: Path) -> None:
    """A DNG begins like a TIFF, and would be read as its thumbnail."""
    Image.fromarray(quarters()).save(tmp_path / "photo.tif")
    (tmp_path / "photo.tif").rename(tmp_path / "photo.DNG")
    with pytest.raises(ImageError, match="format that edgekit does not read: save it as JPEG"):
        read_image(tmp_path / "photo.DNG")


@pytest.mark.parametrize("suffix", [".heic", ".avif", ".gif", ".webp", ".tif", ".jpg", ".png"])
def test_half_a_file_is_one_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"photo{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])
    with pytest.raises(ImageError, match="cannot be decoded as an image"):
        read_image(path)
