"""What tensors cannot tell, per key layout: activation, padding, batch norm eps, input.

A flag replaces any of these values; `edgekit inspect` marks the ones that are defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgekit.models import Family
from edgekit.spec import Activation, Padding, Resize

TENSORFLOW_EPS = 1e-3
"""tf.keras' BatchNormalization default, which weights ported from TensorFlow carry."""


@dataclass(frozen=True)
class Defaults:
    """The values a checkpoint gets when no flag says otherwise. `input_size` in pixels."""

    activation: Activation
    padding: Padding
    batch_norm_eps: float
    normalize: str
    input_size: int
    resize: Resize = "crop"


def find_defaults(
    family: Family, layout: str, padding: Padding | None, width: float = 1.0
) -> Defaults:
    """The defaults of one family in one layout, given the padding flag (None when absent).

    - edgekit: the family's own; input size 224, but 256 for V4 Conv-M and 384 for Conv-L, as the
      paper and timm's configurations of these names have it.
    - stages, model (MobileNetV1): plain ReLU, as those training scripts define it.
    - features (MobileNetV1): ReLU6, as in TensorFlow, whence such checkpoints come.
    - torchvision: V2 eps 1e-5, V3 eps 1e-3, ImageNet mean and std.
    - timm: ReLU6 for V1; eps 1e-5; V1 was trained with mean and std 0.5.
    - timm with `padding` "same" is one of its `tf_` ports: eps 1e-3, mean and std 0.5. The minimal
      V3 networks are there as such ports only.
    - timm's V4 Conv-S narrower than width 1 was trained with mean and std 0.5.
    """
    defaults = Defaults(
        activation=family.activation,
        padding=padding or "symmetric",
        batch_norm_eps=family.batch_norm_eps,
        normalize="imagenet",
        input_size=family.input_size,
    )
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
