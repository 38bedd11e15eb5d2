"""Small videos, a bundle, and an MJPEG server, made where a test needs them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgekit.arrays import BgrFrame
from edgekit.bundle import Golden, Manifest, Origin, open_bundle, write_bundle
from edgekit.images import list_images, read_image
from edgekit.preprocess import preprocess
from edgekit.runtime.classifier import Classifier
from edgekit.spec import NORMALIZATIONS, InputSpec, ModelSpec
from tests.environments import REPOSITORY
from tests.workers import make_once

DEMO = REPOSITORY / "calibration" / "demo"
LABELS = DEMO / "class_names.txt"
VIDEO = DEMO / "digits.mp4"
VIDEO_FRAMES = 600
VIDEO_FPS = 25
"""640x480 pixels."""

THIRD_PARTY_MODEL = "tflite/tf2_mobilenet_v2_1.0_224_ptq.tflite"
THIRD_PARTY_LABELS = "tflite/labels_1001.txt"
CAR_VIDEO = "videos/car-detection.mp4"
CAR_VIDEO_FRAMES = 377
"""Of the test data: a network that takes and gives uint8, and a film of 768x432 pixels."""


def demo_model() -> Path:
    """The demo's network as a plain model file."""
    bundle = open_bundle(DEMO / "digits-pi.edgekit")
    return make_once("digits.tflite", lambda path: path.write_bytes(bundle.model))


def make_demo_golden() -> Golden:
    """An image of the demo with the pixels and scores that this machine gives."""
    classifier = Classifier.from_bundle(DEMO / "digits-pi.edgekit")
    image = read_image(list_images(DEMO / "test")[0])
    pixels = preprocess(image, classifier.input_spec)
    return Golden(image=image, pixels=pixels, logits=classifier.engine.infer(pixels))


def write_demo_bundle(path: Path, golden: Sequence[Golden]) -> Path:
    """The demo's bundle with other golden images."""
    demo = open_bundle(DEMO / "digits-pi.edgekit")
    write_bundle(
        path,
        demo.manifest,
        model=demo.model,
        reference=None,
        class_names=demo.class_names,
        golden=golden,
        report={},
    )
    return path


def numbered_frame(number: int) -> BgrFrame:
    """`(120, 160, 3) uint8`, its brightness telling `number` (0-63) through any compression."""
    return BgrFrame(np.full((120, 160, 3), number * 4, np.uint8))


def read_number(pixels: npt.NDArray[np.uint8]) -> int:
    """The number of a frame that `numbered_frame` made."""
    return round(float(pixels.mean()) / 4)


def write_video(path: Path, frames: int) -> Path:
    """An MJPEG video of numbered frames at 10 frames/s."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 120))
    for number in range(frames):
        writer.write(numbered_frame(number))
    writer.release()
    return path


def write_third_party_bundle(path: Path, test_data: Path) -> Path:
    """A bundle around the third-party model, as `convert` would write it."""
    spec = InputSpec(height=224, width=224, resize="stretch", normalization=NORMALIZATIONS["tf"])
    manifest = Manifest(
        schema=1,
        name="third-party",
        model=ModelSpec(
            family="mobilenet_v2",
            width=1.0,
            classes=1001,
            input=spec,
            activation="relu6",
            padding="same",
            batch_norm_eps=1e-3,
            parameters=3_504_872,
            multiply_adds=300_774_272,
        ),
        target="pi",
        precision="int8",
        recipe={},
        origin=Origin(
            checkpoint_sha256="0" * 64,
            key_layout="test",
            tools={"ai-edge-litert": "2.3.0"},
            calibration_images=0,
        ),
        parity=None,
    )
    model = (test_data / THIRD_PARTY_MODEL).read_bytes()
    names = (test_data / THIRD_PARTY_LABELS).read_text().splitlines()
    write_bundle(
        path,
        manifest,
        model=model,
        reference=None,
        class_names=names,
        golden=_make_golden(test_data, spec),
        report={},
    )
    return path


def _make_golden(test_data: Path, spec: InputSpec) -> list[Golden]:
    """A photograph with the pixels and scores that this machine gives."""
    classifier = Classifier.from_model((test_data / THIRD_PARTY_MODEL).read_bytes())
    image = read_image(test_data / "photos/parrot.jpg")
    pixels = preprocess(image, spec)
    return [Golden(image=image, pixels=pixels, logits=classifier.engine.infer(pixels))]


@contextmanager
def serve_mjpeg(
    frames: int,
    interval_s: float,
    *,
    hold: bool = False,
    changing: int | None = None,
    port: int = 0,
) -> Iterator[str]:
    """An MJPEG camera on the loopback: `frames` numbered ones, then it hangs up.

    With `hold` it stays connected and silent instead. `changing` ones are different, those behind
    repeat the last. Yields the URL.
    """
    release = threading.Event()

    class Camera(BaseHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            try:
                for number in range(frames):
                    self._send(number % 64 if changing is None else min(number, changing))
                    if release.wait(interval_s):
                        return
                if hold:
                    release.wait()
            except OSError:
                pass  # the client has gone

        def _send(self, number: int) -> None:
            jpeg = cv2.imencode(".jpg", numbered_frame(number))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")

    server = ThreadingHTTPServer(("127.0.0.1", port), Camera)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/camera.mjpg"
    finally:
        release.set()
        server.shutdown()
        server.server_close()
        thread.join()


def wait_for_threads(prefix: str, timeout_s: float = 3) -> list[str]:
    """The names of the threads beginning with `prefix` that are left after at most so long."""
    end = time.monotonic() + timeout_s
    while True:
        left = [t.name for t in threading.enumerate() if t.name.startswith(prefix)]
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.02)
