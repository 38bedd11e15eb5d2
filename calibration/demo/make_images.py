"""Draw the demo's two folders of small pictures, a subfolder a class: images/ and test/.

`images/CLASS/INDEX.jpg` are training digits, to calibrate on; `test/CLASS/INDEX.jpg` are all 360
digits held out, to evaluate on. INDEX is the digit's place in scikit-learn's `load_digits`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
from pens import Digits, Plane, draw_felt, draw_fine, load_split
from render import render, sample_look

from edgekit.arrays import RgbImage

HERE = Path(__file__).parent
SIDE = 96
JPEG_QUALITY = 78
CALIBRATION_PER_CLASS = 20
CALIBRATION_SEED, TEST_SEED = 11, 12


def main() -> None:
    digits = load_split()
    by_class = [digits.train[digits.labels[digits.train] == label] for label in range(10)]
    calibration = np.concatenate([indices[:CALIBRATION_PER_CLASS] for indices in by_class])
    write_folder(HERE / "images", digits, calibration, CALIBRATION_SEED, strength=0.6)
    write_folder(HERE / "test", digits, digits.held_out, TEST_SEED, strength=0.35)


def write_folder(
    folder: Path, digits: Digits, indices: np.ndarray, seed: int, *, strength: float
) -> None:
    """Replace `folder` by one picture of each digit in `indices`."""
    if folder.exists():
        shutil.rmtree(folder)
    rng = np.random.default_rng(seed)
    for index in indices:
        picture = render(draw(digits, int(index)), sample_look(rng, strength), (SIDE, SIDE), rng)
        file = folder / str(digits.labels[index]) / f"{index:04d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode_jpeg(picture))
    sizes = [file.stat().st_size for file in folder.rglob("*.jpg")]
    print(f"{folder.name}/: {len(sizes)} pictures, {sum(sizes) / 1000:.0f} kB")


def draw(digits: Digits, index: int) -> Plane:
    """Every other digit with a fine pen, where 8x8 cells are enough for one."""
    image = digits.images[index]
    fine = draw_fine(image, int(digits.labels[index])) if index % 2 else None
    return draw_felt(image) if fine is None else fine


def encode_jpeg(picture: RgbImage) -> bytes:
    flags = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), flags)
    return encoded.tobytes()


if __name__ == "__main__":
    main()
