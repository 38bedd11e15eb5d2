"""A bundle on the board: decoding, preprocessing and every logit as on the workstation."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgekit import Classifier
from edgekit.arrays import BgrFrame
from edgekit.checkpoint import load_checkpoint
from edgekit.conversion.conversion_options import ConversionOptions
from edgekit.conversion.convert import convert
from edgekit.images import read_image
from edgekit.preprocess import preprocess, preprocess_bgr
from edgekit.quantize.calibration_images import MINIMUM_IMAGES
from tests.emulated_pi.board import EmulatedBoard

RUN_BUNDLE = Path(__file__).with_name("run_bundle.py")
PHOTOGRAPHS = 20
FRAMES = 5
CPUS = ("cortex-a53", "cortex-a72", "cortex-a76")


@pytest.fixture(scope="module")
def bundle(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real network converted by edgekit, on as few images as it accepts."""
    folder = tmp_path_factory.mktemp("bundle")
    images = sorted((test_data / "images" / "calibration").glob("*.*"))
    photographs = [path for path in images if path.suffix != ".csv"][:MINIMUM_IMAGES]
    table = folder / "calibration.csv"
    table.write_text("file\n" + "".join(f"{path}\n" for path in photographs))
    checkpoint = load_checkpoint(
        test_data / "checkpoints" / "mobilenet_v1_0.25_224_imagenet.pth.tar"
    )
    return convert(
        checkpoint,
        folder / "mobilenet.edgekit",
        table,
        ConversionOptions(keep_reference=False),
    ).bundle


@pytest.mark.slow
@pytest.mark.parametrize("cpu", CPUS)
def test_every_logit_is_the_hosts(
    emulated_pi: EmulatedBoard, test_data: Path, bundle: Path, cpu: str
) -> None:
    photographs = sorted((test_data / "images" / "val").glob("*.JPEG"))[:PHOTOGRAPHS]
    video = test_data / "videos" / "car-detection.mp4"
    result = emulated_pi.run(
        [
            "python3",
            emulated_pi.put(RUN_BUNDLE),
            emulated_pi.put(bundle),
            "board.npz",
            emulated_pi.put(video),
            str(FRAMES),
            *(emulated_pi.put(path, f"photographs/{path.name}") for path in photographs),
        ],
        cpu=cpu,
    )
    assert result.stdout == "", "the golden check warns"
    with np.load(emulated_pi.path_of("/home/pi/board.npz")) as board:
        pixels, logits = board["pixels"], board["logits"]

    classifier = Classifier.from_bundle(bundle)
    expected = [preprocess(read_image(path), classifier.input_spec) for path in photographs]
    np.testing.assert_array_equal(pixels[:PHOTOGRAPHS], expected)
    frames = [preprocess_bgr(frame, classifier.input_spec) for frame in read_frames(video)]
    # FFmpeg, inside OpenCV, turns a video's YUV into BGR with other rounding on Arm.
    np.testing.assert_allclose(pixels[PHOTOGRAPHS:].astype(int), frames, atol=2)
    np.testing.assert_array_equal(logits, [classifier.engine.infer(image) for image in pixels])


def read_frames(video: Path) -> list[BgrFrame]:
    """The first frames of `video`, `(H, W, 3) uint8` BGR, as run_bundle.py reads them."""
    capture = cv2.VideoCapture(str(video))
    return [capture.read()[1] for _ in range(FRAMES)]
