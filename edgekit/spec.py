"""Immutable records that describe a model, its input, and its predictions.

The records are stored as JSON in bundles and measurement records, and boards read them, so this
module depends on msgspec alone. Pixels are 0-255, RGB or grey; sizes are in
pixels; images are `(N, H, W, C)`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec.structs import asdict

from edgekit.errors import SettingsError

Activation = Literal["relu", "relu6", "hardswish"]
HeadActivation = Literal["none", "relu", "relu6", "hardswish"]
Padding = Literal["symmetric", "same"]
Precision = Literal["int8", "fp16", "fp32", "best"]
"""`best` is int8 or fp16: the faster one on the board among those that are accurate enough."""
Resize = Literal["crop", "stretch"]
Scores = Literal["softmax", "probabilities", "sigmoid", "multilabel"]
"""What a network's output means: logits over classes that exclude each other; the scores
themselves; the logit of one class against its opposite; a logit for each of several labels that are
independent of each other."""
AnswerKind = Literal["best", "binary", "multilabel"]
"""How scores become an answer: the best class; one class or the other, by a threshold; every label
at or above a threshold."""

THRESHOLD = 0.5
"""The score from which a class of its own sigmoid belongs to the answer, unless one is given."""
NO_LABEL = "none"
"""The answer of a multi-label network none of whose classes reaches the threshold."""

Channels = Literal[1, 3]
"""The values of a pixel: 3 for red, green and blue, 1 for its grey level."""


def name_color(channels: Channels) -> str:
    """`RGB` for three channels, `grayscale` for one."""
    return "grayscale" if channels == 1 else "RGB"


CROP_FRACTION = 0.875
"""Fraction of the image's short side that the centre crop keeps: 224 of 256, as is customary for
ImageNet."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the JSON records: they are immutable and keyword-only, and ignore unknown keys."""


class Size(NamedTuple):
    """The width and height of an image in pixels, in this order; written as `320x64`."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @classmethod
    def of(cls, size: int | tuple[int, int]) -> Size:
        """Take the side of a square, or a width and a height."""
        return cls(size, size) if isinstance(size, int) else cls(*size)

    @classmethod
    def parse(cls, text: str) -> Size:
        """Read `WxH`, or one number for a square. Raises SettingsError for anything else."""
        sides = text.lower().split("x")
        if len(sides) > 2 or not all(side.isascii() and side.isdigit() for side in sides):
            raise SettingsError(
                f"size {text!r} is not known: expected WxH in pixels, as in 320x64,"
                " or one number for a square"
            )
        return cls(int(sides[0]), int(sides[-1]))


class TargetFacts(NamedTuple):
    """A kind of board that checkpoints are converted for, as far as boards have to know it.

    `board` is its name in words, `suffix` that of its model files, `precisions` are those it runs.
    `jetpacks` are the releases of its system that a bundle can be made for alone. With
    `builds_engine`, the board first builds an engine from the model.
    """

    board: str
    suffix: str
    precisions: tuple[Precision, ...]
    jetpacks: tuple[str, ...] = ()
    builds_engine: bool = False


TARGETS: Mapping[str, TargetFacts] = {
    "pi": TargetFacts("Raspberry Pi", ".tflite", ("int8", "fp16", "fp32")),
    "jetson": TargetFacts(
        "Jetson",
        ".onnx",
        ("int8", "fp16", "fp32", "best"),
        jetpacks=("6.0", "6.1", "6.2", "7.0", "7.1", "7.2"),
        builds_engine=True,
    ),
}
"""Every target by its name, the default first. What the workbench needs to know of the target NAME
is in `edgekit.targets.NAME`. JetPack 4 and 5 have Pythons that edgekit does not support."""
DEFAULT_TARGET = next(iter(TARGETS))
DEFAULT_RECIPE = "balanced"
"""The shipped recipe that quantizes where no other is named."""


def find_facts(target: str) -> TargetFacts:
    """The facts of the target called `target`. Raises SettingsError for an unknown one."""
    if target not in TARGETS:
        raise SettingsError(f"target {target!r} is not known: expected one of {', '.join(TARGETS)}")
    return TARGETS[target]


class CheckpointFlags(Record, frozen=True, kw_only=True):
    """What a user says of a checkpoint, as `load_checkpoint` takes it; None where nothing was said.

    `arch` names a family, or `package.module:factory`. `width` is the width multiplier,
    `input_size` is the side of a square input in pixels, or its width and height, `batch_norm_eps`
    the epsilon of every batch norm. `normalize` is a name, `MEAN,STD` in pixel units, or the
    normalization itself. `state_dict` is the key of one of several state dicts, or what the keys of
    one of several networks begin with; `head` the path of one of several heads; `head_activation`
    what is between its linear layers. `scores` is what the output means, `threshold` the score from
    which a class of its own sigmoid belongs to the answer. `output_tensor` is the name or number of
    the output, of a network with several.
    """

    arch: str | None = None
    width: float | None = None
    input_size: int | tuple[int, int] | None = None
    activation: Activation | None = None
    padding: Padding | None = None
    batch_norm_eps: float | None = None
    normalize: str | Normalization | None = None
    resize: Resize | None = None
    state_dict: str | None = None
    head: str | None = None
    head_activation: HeadActivation | None = None
    scores: Scores | None = None
    threshold: float | None = None
    output_tensor: str | None = None

    def fill(self, defaults: Mapping[str, Any]) -> CheckpointFlags:
        """Return these flags, with `defaults` by name where nothing was said."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return CheckpointFlags(**{**defaults, **given})


ChannelValues = Annotated[tuple[float, ...], msgspec.Meta(min_length=1, max_length=3)]
"""A value for each channel of an image: three for RGB, or one for grey."""


class Normalization(Record, frozen=True, kw_only=True):
    """x = (p - mean) / std for a pixel value p in 0-255, in pixel units.

    `mean` and `std` have a value for each channel: three for RGB, or one for grey.
    """

    name: str
    mean: ChannelValues
    std: ChannelValues

    @classmethod
    def parse(cls, text: str) -> Normalization:
        """Read `imagenet`, `half`, `tf`, `none`, or `MEAN,STD` in pixel units.

        MEAN,STD is two numbers, or six: a mean for each of R, G, B, then a std for each. Raises
        SettingsError for anything else.
        """
        if text in NORMALIZATIONS:
            return NORMALIZATIONS[text]
        try:
            numbers = [float(part) for part in text.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) == 2:
            numbers = [numbers[0]] * 3 + [numbers[1]] * 3
        if len(numbers) != 6 or min(numbers[3:]) <= 0 or not all(map(math.isfinite, numbers)):
            raise SettingsError(
                f"normalization {text!r} is not known: expected one of {', '.join(NORMALIZATIONS)},"
                " or MEAN,STD in pixel units with STD > 0, as in --normalize 127,127.5"
            )
        return cls(name=text, mean=tuple(numbers[:3]), std=tuple(numbers[3:]))

    def for_channels(self, channels: int) -> Normalization:
        """Take this normalization for images of 1 or 3 channels.

        For grey the three values of a name such as `imagenet` are averaged: mean 0.449 and std
        0.226 in units of 255. Raises SettingsError for six different numbers of the user's own.
        """
        if len(self.mean) == channels:
            return self
        if channels == 3:
            return msgspec.structs.replace(self, mean=self.mean * 3, std=self.std * 3)
        is_uniform = len(set(self.mean)) == len(set(self.std)) == 1
        if not is_uniform and self.name not in NORMALIZATIONS:
            raise SettingsError(
                f"normalization {self.name!r} has a mean and a std for each of R, G, B, but the"
                " network reads grayscale images: expected one of each, as in --normalize 127,127.5"
            )
        mean, std = _average(self.mean), _average(self.std)
        return msgspec.structs.replace(self, mean=(mean,), std=(std,))


def _average(values: tuple[float, ...]) -> float:
    """The mean; of equal values exactly that value."""
    return values[0] if len(set(values)) == 1 else math.fsum(values) / len(values)


NORMALIZATIONS = {
    "imagenet": Normalization(
        name="imagenet",
        mean=(0.485 * 255, 0.456 * 255, 0.406 * 255),
        std=(0.229 * 255, 0.224 * 255, 0.225 * 255),
    ),
    "half": Normalization(name="half", mean=(128.0,) * 3, std=(128.0,) * 3),
    "tf": Normalization(name="tf", mean=(127.5,) * 3, std=(127.5,) * 3),
    "none": Normalization(name="none", mean=(0.0,) * 3, std=(255.0,) * 3),
}


class InputSpec(Record, frozen=True, kw_only=True):
    """How a camera frame becomes the model's input: `(height, width, channels)` pixels.

    With one channel the resized frame is made grey by the luma weights of ITU-R BT.601, 0.299 R +
    0.587 G + 0.114 B, which Pillow's mode L and OpenCV use too.

    `crop` takes the centre that keeps `crop_fraction` of the short side and scales it to the input;
    `stretch` scales the whole frame, whatever its aspect ratio. With `antialias` the frame is
    low-pass filtered, as in the training of most networks; without it, it is sampled bilinearly, as
    most sample programs for TFLite do.
    """

    height: int
    width: int
    channels: Channels = 3
    resize: Resize = "crop"
    crop_fraction: float = CROP_FRACTION
    antialias: bool = True
    normalization: Normalization = NORMALIZATIONS["imagenet"]

    @property
    def size(self) -> Size:
        """Width and height, in pixels."""
        return Size(self.width, self.height)

    @property
    def color(self) -> str:
        """`RGB` or `grayscale`."""
        return name_color(self.channels)


class ModelSpec(Record, frozen=True, kw_only=True):
    """A classifier as its checkpoint and the user's flags describe it.

    `width` is the width multiplier (alpha). `activation` and `padding` cannot be read from tensors.
    The padding `same` is TensorFlow's: with stride 2 it pads right and bottom only. `scores` says
    what the output means. Where it is `binary`, one output decides between two classes, the
    negative one first. `threshold` is for outputs with a sigmoid of their own.
    """

    family: str
    width: float
    classes: int
    input: InputSpec
    activation: Activation
    padding: Padding
    batch_norm_eps: float
    parameters: int
    multiply_adds: int
    scores: Scores = "softmax"
    binary: bool = False
    threshold: Annotated[float, msgspec.Meta(gt=0, lt=1)] = THRESHOLD

    @property
    def outputs(self) -> int:
        """How many values the network gives."""
        return 1 if self.binary else self.classes


class ClassScore(Record, frozen=True, kw_only=True):
    """One class with its score, 0-1: the probability that the network gives it."""

    label: str
    class_index: int = msgspec.field(name="class")
    score: float


class Prediction(Record, frozen=True, kw_only=True):
    """The answer for one image.

    `top` holds the classes with the highest scores, highest first; of two classes with a threshold
    the answer first. `labels` are all classes of a multi-label network that reach its threshold, in
    class order, and may be empty; None for any other network.
    """

    top: tuple[ClassScore, ...]
    labels: tuple[ClassScore, ...] | None = None

    @property
    def answer(self) -> tuple[ClassScore, ...]:
        """The classes that are the answer: one, or of a multi-label network any number."""
        return self.top[:1] if self.labels is None else self.labels

    @property
    def label(self) -> str:
        """The answer in words: the class, or all labels joined by "; ", `none` without one."""
        return "; ".join(place.label for place in self.answer) or NO_LABEL

    @property
    def class_index(self) -> int | None:
        """The best class; None for a multi-label network none of whose labels was given."""
        return self.top[0].class_index if self.answer else None

    @property
    def score(self) -> float:
        """The score of the first of `top`."""
        return self.top[0].score


# Numbers in records: decoding refuses NaN, infinity and values that no measurement can have.

_MOST = 1e15
_MOST_COUNTED = 10**18

Positive = Annotated[float, msgspec.Meta(ge=1e-9, le=_MOST)]
NotNegative = Annotated[float, msgspec.Meta(ge=0, le=_MOST)]
Bounded = Annotated[float, msgspec.Meta(ge=-_MOST, le=_MOST)]
PositiveCount = Annotated[int, msgspec.Meta(ge=1, le=_MOST_COUNTED)]
Count = Annotated[int, msgspec.Meta(ge=0, le=_MOST_COUNTED)]
RelativeChange = Annotated[float, msgspec.Meta(ge=-1, le=_MOST)]
"""The change of a positive quantity as a fraction of it: 0.1 is 10 % more, −1 is a loss of all."""
Percentage = Annotated[float, msgspec.Meta(ge=0, le=100)]


class Accuracy(Record, frozen=True, kw_only=True, omit_defaults=True):
    """What a model gets right on `images` images, and how close it is to its float original.

    `top1` is the percentage of images that are answered right: by the best class, by the right side
    of the threshold, or by exactly the right labels, as `kind` says. `top5` is that of images whose
    label is among the best five; None where there is a threshold. Both are None, and left out of
    the JSON, where the images have no labels. `agreement` is the percentage of images that both
    answer alike, `sqnr_db` the signal-to-noise ratio of the logits in dB; None where there is no
    float original to compare with. `label_accuracy` and `label_agreement` count each label of a
    multi-label network by itself.
    """

    kind: AnswerKind = "best"
    top1: Percentage | None = None
    top5: Percentage | None = None
    agreement: Percentage | None
    sqnr_db: Bounded | None
    images: PositiveCount
    label_accuracy: Percentage | None = None
    label_agreement: Percentage | None = None

    @property
    def measure(self) -> str:
        """The name of `top1` in reports."""
        return MEASURES[self.kind]


MEASURES: Mapping[AnswerKind, str] = {
    "best": "top-1",
    "binary": "accuracy",
    "multilabel": "all labels right",
}
"""What the percentage of right answers is called."""
