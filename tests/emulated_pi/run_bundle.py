"""Run on the board: a bundle over photographs and a video's first frames.

`run_bundle.py BUNDLE OUTPUT.npz VIDEO FRAMES IMAGE…` stores `pixels`, `(N, H, W, C) uint8`, and
`logits`, `(N, classes) float32`: the images in the order given, then the frames. Prints what the
golden check warns of.
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from edgekit import Classifier, open_bundle
from edgekit.images import read_image
from edgekit.preprocess import preprocess, preprocess_bgr
from edgekit.runtime.golden_check import check_golden

path, output, video, frames, *images = sys.argv[1:]
bundle = open_bundle(path)
classifier = Classifier.from_bundle(bundle)
for warning in check_golden(bundle, classifier).warnings:
    print(warning)  # noqa: T201
pixels = [preprocess(read_image(Path(image)), classifier.input_spec) for image in images]
capture = cv2.VideoCapture(video)
for _ in range(int(frames)):
    decoded, frame = capture.read()
    if not decoded:
        raise SystemExit(f"{video} ended early")
    pixels.append(preprocess_bgr(frame, classifier.input_spec))
logits = [classifier.engine.infer(image) for image in pixels]
np.savez(output, pixels=np.stack(pixels), logits=np.stack(logits))
