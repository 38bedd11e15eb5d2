"""Lists the names that other implementations give to the layers of MobileNetV4."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgekit.layouts.base import Layout, map_conv_bn
from edgekit.models import mobilenet_v4


def v4_timm(rows: Sequence[mobilenet_v4.BlockRow]) -> dict[str, str]:
    """Map timm's `mobilenetv4_conv_*`: each block of stride 2 begins a stage.

    Hazard: timm's `conv_aa_*` and `conv_blur_*` variants have the same keys and shapes, but blur
    before they reduce the size. They cannot be recognised by their tensors, and have to be given
    with --arch package.module:factory.
    """
    paths = map_conv_bn("stem", "conv_stem", "bn1")
    stage, index = -1, 0
    for block, row in enumerate(rows):
        stage, index = (stage + 1, 0) if row.stride == 2 else (stage, index + 1)
        theirs = f"blocks.{stage}.{index}"
        paths |= _v4_block(f"blocks.{block}", theirs, f"blocks.{stage}", row)
    last = f"blocks.{stage + 1}.0"
    paths |= map_conv_bn("last_conv", f"{last}.conv", f"{last}.bn1")
    paths |= map_conv_bn("hidden", "conv_head", "norm_head")
    return paths | {"classifier": "classifier"}


def _v4_block(ours: str, theirs: str, stage: str, row: mobilenet_v4.BlockRow) -> dict[str, str]:
    """Map a block. A plain FusedIB has no block path: its two convolutions are a whole stage."""
    if isinstance(row, mobilenet_v4.UIB):
        parts = {
            "start_depthwise": "dw_start" if row.start_kernel else "",
            "expansion": "pw_exp",
            "middle_depthwise": "dw_mid" if row.middle_kernel else "",
            "projection": "pw_proj",
        }
        paths: dict[str, str] = {}
        for part, name in parts.items():
            if name:
                paths |= map_conv_bn(
                    f"{ours}.{part}", f"{theirs}.{name}.conv", f"{theirs}.{name}.bn"
                )
        return paths
    pair = [(f"{theirs}.conv_exp", f"{theirs}.bn1"), (f"{theirs}.conv_pwl", f"{theirs}.bn2")]
    if row.plain:
        pair = [(f"{stage}.{index}.conv", f"{stage}.{index}.bn1") for index in range(2)]
    return map_conv_bn(f"{ours}.expansion", *pair[0]) | map_conv_bn(f"{ours}.projection", *pair[1])


_UIB_PARTS = {
    "start_depthwise": ("start_dw", "_start_dw_"),
    "expansion": ("expand", "_expand_conv"),
    "middle_depthwise": ("middle_dw", "_middle_dw"),
    "projection": ("proj", "_proj_conv"),
}
"""The names of a universal inverted bottleneck's parts in the code of d-li14 and of jaiwei98."""


def _list_parts(row: mobilenet_v4.UIB) -> Iterator[str]:
    for part in _UIB_PARTS:
        if (row.start_kernel or part != "start_depthwise") and (
            row.middle_kernel or part != "middle_depthwise"
        ):
            yield part


def v4_d_li14(rows: Sequence[mobilenet_v4.BlockRow]) -> dict[str, str]:
    """Map mobilenetv4.pytorch (d-li14): `features.N.block.M`, `conv`, `classifier`.

    The two convolutions of a FusedIB are two features.
    """
    paths: dict[str, str] = {}
    number = 1
    for block, row in enumerate(rows):
        if isinstance(row, mobilenet_v4.UIB):
            for part in _list_parts(row):
                name = f"features.{number}.{_UIB_PARTS[part][0]}"
                paths |= map_conv_bn(f"blocks.{block}.{part}", f"{name}_conv", f"{name}_norm")
            number += 1
        else:
            for part in ("expansion", "projection"):
                theirs = f"features.{number}.block"
                paths |= map_conv_bn(f"blocks.{block}.{part}", f"{theirs}.0", f"{theirs}.1")
                number += 1
    for ours, theirs in (("stem", "features.0"), ("last_conv", f"features.{number}")):
        paths |= map_conv_bn(ours, f"{theirs}.block.0", f"{theirs}.block.1")
    paths |= map_conv_bn("hidden", "conv.block.0", "conv.block.1")
    return paths | {"classifier": "classifier"}


def v4_jaiwei98(rows: Sequence[mobilenet_v4.BlockRow]) -> dict[str, str]:
    """Map MobileNetV4-pytorch (jaiwei98): `conv0`, `layerN.uib_M`, `layer5`.

    It is a trunk, with `hidden` as the last of its layers; a classifier is its user's own.
    """
    names = {"stem": "conv0.convbn_0"}
    stage, index = 0, 0
    for block, row in enumerate(rows):
        stage, index = (stage + 1, 0) if row.stride == 2 else (stage, index + 1)
        ours, layer = f"blocks.{block}", f"layer{stage}"
        if isinstance(row, mobilenet_v4.UIB):
            for part in _list_parts(row):
                names[f"{ours}.{part}"] = f"{layer}.uib_{index}.{_UIB_PARTS[part][1]}"
        elif row.plain:
            names |= {f"{ours}.expansion": f"{layer}.convbn_0"}
            names |= {f"{ours}.projection": f"{layer}.convbn_1"}
        else:
            names |= {f"{ours}.expansion": f"{layer}.fused_ib_{index}.block.exp_1x1"}
            names |= {f"{ours}.projection": f"{layer}.fused_ib_{index}.block.red_1x1"}
    names |= {"last_conv": f"layer{stage + 1}.convbn_0", "hidden": f"layer{stage + 1}.convbn_2"}
    paths: dict[str, str] = {}
    for ours, theirs in names.items():
        paths |= map_conv_bn(ours, f"{theirs}.conv", f"{theirs}.BatchNorm2d")
    return paths | {"classifier": "classifier"}


_FAMILIES = {
    "mobilenet_v4_conv_small": mobilenet_v4.CONV_SMALL,
    "mobilenet_v4_conv_medium": mobilenet_v4.CONV_MEDIUM,
    "mobilenet_v4_conv_large": mobilenet_v4.CONV_LARGE,
}

V4_LAYOUTS = (
    *(Layout("timm", family, v4_timm(rows)) for family, rows in _FAMILIES.items()),
    *(
        Layout("d-li14", family, v4_d_li14(rows), mobilenet_v4.ACTIVATED_STEM)
        for family, rows in _FAMILIES.items()
    ),
    *(Layout("jaiwei98", family, v4_jaiwei98(rows)) for family, rows in _FAMILIES.items()),
)
