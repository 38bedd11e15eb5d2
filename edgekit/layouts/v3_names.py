"""Lists the names that other implementations give to the layers of MobileNetV3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgekit.layouts.base import Layout, map_conv_bn, number_in_stages
from edgekit.layouts.inverted_residual import map_sequential, map_timm_inverted_residual
from edgekit.models import mobilenet_v3

V3_LARGE_STAGES = (1, 2, 3, 4, 2, 3)
V3_SMALL_STAGES = (1, 2, 3, 2, 3)


def _v3_expands(rows: Sequence[mobilenet_v3.Bneck]) -> list[bool]:
    """Whether each block has an expansion. Only the first one has none."""
    inputs = [16, *(row.channels for row in rows)]
    return [row.expansion != channels for row, channels in zip(rows, inputs, strict=False)]


def _squeeze_excite(ours: str, reduce: str, expand: str) -> dict[str, str]:
    return {f"{ours}.squeeze_excite.reduce": reduce, f"{ours}.squeeze_excite.expand": expand}


def v3_torchvision(rows: Sequence[mobilenet_v3.Bneck]) -> dict[str, str]:
    """Map torchvision's `mobilenet_v3_*`: `features.N.block.M`, `classifier.0` and `.3`.

    The parts of a block are numbered without gaps, squeeze-and-excite included.
    """
    paths = map_conv_bn("stem", "features.0.0", "features.0.1")
    for block, (row, expands) in enumerate(zip(rows, _v3_expands(rows), strict=True)):
        ours = f"blocks.{block}"
        parts = ["expansion"] * expands + ["depthwise"]
        parts += ["squeeze_excite"] * row.squeeze_excite + ["projection"]
        for index, part in enumerate(parts):
            theirs = f"features.{block + 1}.block.{index}"
            if part == "squeeze_excite":
                paths |= _squeeze_excite(ours, f"{theirs}.fc1", f"{theirs}.fc2")
            else:
                paths |= map_conv_bn(f"{ours}.{part}", f"{theirs}.0", f"{theirs}.1")
    last = f"features.{len(rows) + 1}"
    paths |= map_conv_bn("last_conv", f"{last}.0", f"{last}.1")
    return paths | {"hidden": "classifier.0", "classifier": "classifier.3"}


def v3_timm(rows: Sequence[mobilenet_v3.Bneck], stage_sizes: Sequence[int]) -> dict[str, str]:
    """Map timm's `mobilenetv3_*` and `tf_mobilenetv3_*`: the last convolution is its own stage."""
    paths = map_conv_bn("stem", "conv_stem", "bn1")
    expansions = _v3_expands(rows)
    for block, (stage, index) in enumerate(number_in_stages(stage_sizes)):
        ours, theirs = f"blocks.{block}", f"blocks.{stage}.{index}"
        paths |= map_timm_inverted_residual(ours, theirs, expands=expansions[block])
        if rows[block].squeeze_excite:
            paths |= _squeeze_excite(ours, f"{theirs}.se.conv_reduce", f"{theirs}.se.conv_expand")
    last = f"blocks.{len(stage_sizes)}.0"
    paths |= map_conv_bn("last_conv", f"{last}.conv", f"{last}.bn1")
    return paths | {"hidden": "conv_head", "classifier": "classifier"}


def v3_mmpretrain(rows: Sequence[mobilenet_v3.Bneck]) -> dict[str, str]:
    """Map mmpretrain's `backbone.layerN.expand_conv`, `head.layers.N.fc`."""
    names = {
        "expansion": "expand_conv",
        "depthwise": "depthwise_conv",
        "projection": "linear_conv",
    }
    parts = {"stem": "layer0", "last_conv": f"layer{len(rows) + 1}"}
    gates: dict[str, str] = {}
    for block, (row, expands) in enumerate(zip(rows, _v3_expands(rows), strict=True)):
        ours, theirs = f"blocks.{block}", f"layer{block + 1}"
        for part in tuple(names)[not expands :]:
            parts[f"{ours}.{part}"] = f"{theirs}.{names[part]}"
        if row.squeeze_excite:
            squeeze = f"backbone.{theirs}.se"
            gates |= _squeeze_excite(ours, f"{squeeze}.conv1.conv", f"{squeeze}.conv2.conv")
    paths = gates | {"hidden": "head.layers.0.fc", "classifier": "head.layers.1.fc"}
    for ours, theirs in parts.items():
        paths |= map_conv_bn(ours, f"backbone.{theirs}.conv", f"backbone.{theirs}.bn")
    return paths


def v3_d_li14(rows: Sequence[mobilenet_v3.Bneck]) -> dict[str, str]:
    """Map mobilenetv3.pytorch (d-li14): `features.N.conv.M`, `conv`, `classifier.0` and `.3`.

    Without an expansion the activation is before squeeze-and-excite, with one it is after it.
    """
    paths = map_conv_bn("stem", "features.0.0", "features.0.1")
    for block, (row, expands) in enumerate(zip(rows, _v3_expands(rows), strict=True)):
        ours, theirs = f"blocks.{block}", f"features.{block + 1}.conv"
        parts = [("expansion", 0), ("depthwise", 3), ("projection", 7)]
        if not expands:
            parts = [("depthwise", 0), ("projection", 4)]
        paths |= map_sequential(ours, theirs, parts)
        if row.squeeze_excite:
            squeeze = f"{theirs}.{5 if expands else 3}.fc"
            paths |= _squeeze_excite(ours, f"{squeeze}.0", f"{squeeze}.2")
    paths |= map_conv_bn("last_conv", "conv.0", "conv.1")
    return paths | {"hidden": "classifier.0", "classifier": "classifier.3"}


def _v3_layouts(
    family: str, rows: Sequence[mobilenet_v3.Bneck], stage_sizes: Sequence[int]
) -> Iterator[Layout]:
    yield Layout("torchvision", family, v3_torchvision(rows))
    yield Layout("timm", family, v3_timm(rows, stage_sizes))
    if not family.endswith("_minimal"):
        yield Layout("mmpretrain", family, v3_mmpretrain(rows))
        yield Layout("d-li14", family, v3_d_li14(rows), mobilenet_v3.SQUEEZE_FIRST)


_LARGE, _SMALL = mobilenet_v3.LARGE, mobilenet_v3.SMALL
V3_LAYOUTS = (
    *_v3_layouts("mobilenet_v3_large", _LARGE, V3_LARGE_STAGES),
    *_v3_layouts("mobilenet_v3_small", _SMALL, V3_SMALL_STAGES),
    *_v3_layouts("mobilenet_v3_large_minimal", mobilenet_v3.make_minimal(_LARGE), V3_LARGE_STAGES),
    *_v3_layouts("mobilenet_v3_small_minimal", mobilenet_v3.make_minimal(_SMALL), V3_SMALL_STAGES),
)
