"""Lists the values that tensors do not show: activation, padding, batch norm epsilon, input.

In: a family and a key layout. Out: the values with which the checkpoints of that layout are
usually trained. A flag replaces any of them; `edgekit inspect` marks the ones that are defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgekit.models import Family
from edgekit.spec import Activation, Padding, Resize, Size

TENSORFLOW_EPS = 1e-3
"""The default epsilon of BatchNormalization in tf.keras; networks ported from it were trained with
it."""


@dataclass(frozen=True)
class Defaults:
    """The values of a checkpoint for flags that are not set. `input_size` is the side of a
    square input in pixels, or its width and height."""

    activation: Activation
    padding: Padding
    batch_norm_eps: float
    normalize: str
    input_size: int | Size
    resize: Resize = "crop"


def find_defaults(
    family: Family, layout: str, padding: Padding | None, width: float = 1.0
) -> Defaults:
    """Find the defaults of one family in one layout.

    - edgekit: the family's own; input size 224, but 256 for V4 Conv-M and 384 for Conv-L, as in
      the paper and in timm's configurations of these names.
    - stages, model (MobileNetV1): plain ReLU, as in the training scripts with these names.
    - features (MobileNetV1): ReLU6, as in TensorFlow, where such checkpoints come from.
    - torchvision: V2 eps 1e-5, V3 eps 1e-3, ImageNet mean and std.
    - timm: ReLU6 for V1; eps 1e-5; V1 was trained with mean and std 0.5.
    - timm with `padding` "same" is one of its `tf_` ports: eps 1e-3, mean and std 0.5. timm has the
      minimal V3 networks only as such ports.
    - transformers: TensorFlow's weights, with SAME padding, ReLU6, eps 1e-3, mean and std 0.5.
    - d-li14 (V3): eps 1e-5.
    - 3DDFA: mean 127.5 and std 128, input size 120.
    - timm's V4 Conv-S narrower than width 1 was trained with mean and std 0.5.

    Args:
        family: The family.
        layout: The name of the key layout.
        padding: The padding that the user has set, or None.
        width: The width multiplier.

    Returns:
        The defaults.
    """
    defaults = Defaults(
        activation=family.activation,
        padding=padding or "symmetric",
        batch_norm_eps=family.batch_norm_eps,
        normalize="imagenet",
        input_size=family.input_size,
    )
    if layout == "transformers":
        defaults = replace(defaults, padding=padding or "same", activation="relu6")
        return replace(defaults, batch_norm_eps=TENSORFLOW_EPS, normalize="tf")
    if layout == "d-li14":
        return replace(defaults, batch_norm_eps=1e-5)
    if layout == "3DDFA":
        return replace(defaults, normalize="127.5,128", input_size=120)
    is_v1 = family.name in ("mobilenet_v1", "shallow_mobilenet")
    if layout == "features" and is_v1:
        return replace(defaults, activation="relu6")
    if layout == "timm":
        if padding is None and family.name.endswith("_minimal"):
            defaults = replace(defaults, padding="same")
        return _timm_defaults(defaults, family.name, width, is_v1=is_v1)
    return defaults


def _timm_defaults(defaults: Defaults, family: str, width: float, *, is_v1: bool) -> Defaults:
    if is_v1:
        defaults = replace(defaults, activation="relu6", normalize="tf")
    if family == "mobilenet_v4_conv_small" and width < 1:
        defaults = replace(defaults, normalize="tf")
    if defaults.padding == "same":
        return replace(defaults, batch_norm_eps=TENSORFLOW_EPS, normalize="tf")
    return replace(defaults, batch_norm_eps=1e-5)
