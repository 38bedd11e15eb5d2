"""A bundle on the board: decoding, preprocessing and every logit as on the workstation."""

from __future__ import annotations

from collections.abc import Sequence
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
from tests.conversion.conversions import DEMO, convert_gray_digits
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
    compare_with_board(emulated_pi, bundle, video, photographs, cpu)


@pytest.mark.slow
def test_a_grayscale_rectangle_on_the_board(emulated_pi: EmulatedBoard) -> None:
    """The grey of a photograph's colours, and each logit of it, as on the workstation."""
    bundle = convert_gray_digits("pi").conversion.bundle
    photographs = [next((DEMO / "test" / str(digit)).iterdir()) for digit in range(10)]
    compare_with_board(emulated_pi, bundle, DEMO / "digits.mp4", photographs, "cortex-a72")


def compare_with_board(
    board: EmulatedBoard, bundle: Path, video: Path, photographs: Sequence[Path], cpu: str
) -> None:
    """Run a bundle there and here, on photographs and the first frames of a video."""
    result = board.run(
        [
            "python3",
            board.put(RUN_BUNDLE),
            board.put(bundle),
            "board.npz",
            board.put(video),
            str(FRAMES),
            *(
                board.put(path, f"photographs/{i}-{path.name}")
                for i, path in enumerate(photographs)
            ),
        ],
        cpu=cpu,
    )
    assert result.stdout == "", "the golden check warns"
    with np.load(board.path_of("/home/pi/board.npz")) as arrays:
        pixels, logits = arrays["pixels"], arrays["logits"]

    classifier = Classifier.from_bundle(bundle)
    expected = [preprocess(read_image(path), classifier.input_spec) for path in photographs]
    np.testing.assert_array_equal(pixels[: len(photographs)], expected)
    frames = [preprocess_bgr(frame, classifier.input_spec) for frame in read_frames(video)]
    # FFmpeg, inside OpenCV, turns a video's YUV into BGR with other rounding on Arm.
    np.testing.assert_allclose(pixels[len(photographs) :].astype(int), frames, atol=2)
    np.testing.assert_array_equal(logits, [classifier.engine.infer(image) for image in pixels])


def read_frames(video: Path) -> list[BgrFrame]:
    """The first frames of `video`, `(H, W, 3) uint8` BGR, as run_bundle.py reads them."""
    capture = cv2.VideoCapture(str(video))
    return [capture.read()[1] for _ in range(FRAMES)]
