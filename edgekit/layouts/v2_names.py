"""Lists the names that other implementations give to the layers of MobileNetV2."""

from __future__ import annotations

from edgekit.layouts.base import Layout, map_conv_bn, number_in_stages
from edgekit.layouts.inverted_residual import map_sequential, map_timm_inverted_residual
from edgekit.models import mobilenet_v2

V2_STAGES = tuple(repeats for _, _, repeats, _ in mobilenet_v2.BOTTLENECKS)


def v2_torchvision() -> dict[str, str]:
    """Map torchvision's `mobilenet_v2`: `features.0` … `features.18`, `classifier.1`.

    The parts of a block are numbered without gaps, and the first block has no expansion.
    """
    paths = map_conv_bn("stem", "features.0.0", "features.0.1")
    blocks = sum(V2_STAGES)
    for block in range(blocks):
        ours, theirs, parts = f"blocks.{block}", f"features.{block + 1}.conv", 0
        for part in ("expansion", "depthwise")[block == 0 :]:
            paths |= map_conv_bn(f"{ours}.{part}", f"{theirs}.{parts}.0", f"{theirs}.{parts}.1")
            parts += 1
        paths |= map_conv_bn(f"{ours}.projection", f"{theirs}.{parts}", f"{theirs}.{parts + 1}")
    last = f"features.{blocks + 1}"
    return (
        paths | map_conv_bn("last_conv", f"{last}.0", f"{last}.1") | {"classifier": "classifier.1"}
    )


def v2_timm() -> dict[str, str]:
    """Map timm's `mobilenetv2_*`: `conv_stem`, `blocks.S.B`, `conv_head`, `classifier`."""
    paths = map_conv_bn("stem", "conv_stem", "bn1")
    for block, (stage, index) in enumerate(number_in_stages(V2_STAGES)):
        paths |= map_timm_inverted_residual(
            f"blocks.{block}", f"blocks.{stage}.{index}", expands=block > 0
        )
    return paths | map_conv_bn("last_conv", "conv_head", "bn2") | {"classifier": "classifier"}


def _v2_sequential(last_conv: str) -> dict[str, str]:
    """Map `features.N.conv.M`, where a block is one `Sequential` of all its parts."""
    paths = map_conv_bn("stem", "features.0.0", "features.0.1")
    for block in range(sum(V2_STAGES)):
        parts = [("expansion", 0), ("depthwise", 3), ("projection", 6)]
        if block == 0:
            parts = [("depthwise", 0), ("projection", 3)]
        paths |= map_sequential(f"blocks.{block}", f"features.{block + 1}.conv", parts)
    paths |= map_conv_bn("last_conv", f"{last_conv}.0", f"{last_conv}.1")
    return paths | {"classifier": "classifier"}


def v2_tonylins() -> dict[str, str]:
    """Map pytorch-mobilenet-v2 (tonylins): the last convolution is `features.18`."""
    return _v2_sequential(f"features.{sum(V2_STAGES) + 1}")


def v2_d_li14() -> dict[str, str]:
    """Map mobilenetv2.pytorch (d-li14): the last convolution is `conv`."""
    return _v2_sequential("conv")


def v2_mmpretrain() -> dict[str, str]:
    """Map mmpretrain's `backbone.layerN.M.conv.K`, `backbone.conv2`, `head.fc`."""
    paths = map_conv_bn("stem", "backbone.conv1.conv", "backbone.conv1.bn")
    for block, (stage, index) in enumerate(number_in_stages(V2_STAGES)):
        parts = ("expansion", "depthwise", "projection")[block == 0 :]
        for number, part in enumerate(parts):
            theirs = f"backbone.layer{stage + 1}.{index}.conv.{number}"
            paths |= map_conv_bn(f"blocks.{block}.{part}", f"{theirs}.conv", f"{theirs}.bn")
    paths |= map_conv_bn("last_conv", "backbone.conv2.conv", "backbone.conv2.bn")
    return paths | {"classifier": "head.fc"}


def v2_transformers() -> dict[str, str]:
    """Map transformers' `mobilenet_v2.conv_stem`, `.layer.N`, `.conv_1x1`, `classifier`.

    Its stem holds the first block, too.
    """
    names = {"expansion": "expand_1x1", "depthwise": "conv_3x3", "projection": "reduce_1x1"}
    parts = {"stem": "conv_stem.first_conv", "last_conv": "conv_1x1"}
    for block in range(sum(V2_STAGES)):
        theirs = f"layer.{block - 1}" if block else "conv_stem"
        for part in tuple(names)[block == 0 :]:
            parts[f"blocks.{block}.{part}"] = f"{theirs}.{names[part]}"
    paths: dict[str, str] = {}
    for ours, name in parts.items():
        theirs = f"mobilenet_v2.{name}"
        paths |= map_conv_bn(ours, f"{theirs}.convolution", f"{theirs}.normalization")
    return paths | {"classifier": "classifier"}


V2_LAYOUTS = (
    Layout("torchvision", "mobilenet_v2", v2_torchvision()),
    Layout("timm", "mobilenet_v2", v2_timm()),
    Layout("tonylins", "mobilenet_v2", v2_tonylins()),
    Layout("d-li14", "mobilenet_v2", v2_d_li14()),
    Layout("mmpretrain", "mobilenet_v2", v2_mmpretrain()),
    Layout("transformers", "mobilenet_v2", v2_transformers()),
)
