"""Lists the names that other implementations give to the layers of MobileNetV1."""

from __future__ import annotations

from collections.abc import Iterator

from edgekit.layouts.base import Layout, map_conv_bn, number_in_stages
from edgekit.models import mobilenet_v1


def v1_features(blocks: int) -> dict[str, str]:
    """Map `features.N.conv`, `features.N.bn`, `classifier`: every convolution has a number."""
    paths = map_conv_bn("stem", "features.0.conv", "features.0.bn")
    for block in range(blocks):
        for offset, part in ((1, "depthwise"), (2, "pointwise")):
            theirs = f"features.{2 * block + offset}"
            paths |= map_conv_bn(f"blocks.{block}.{part}", f"{theirs}.conv", f"{theirs}.bn")
    return paths | {"classifier": "classifier"}


def _v1_sequential(units: Iterator[str]) -> dict[str, str]:
    """Map stem and blocks that are `Sequential(conv, bn, relu, …)` at the given paths, and `fc`.

    A block is one `Sequential` of both its convolutions, so the pointwise one is at index 3.
    """
    stem = next(units)
    paths = map_conv_bn("stem", f"{stem}.0", f"{stem}.1")
    for block, unit in enumerate(units):
        paths |= map_conv_bn(f"blocks.{block}.depthwise", f"{unit}.0", f"{unit}.1")
        paths |= map_conv_bn(f"blocks.{block}.pointwise", f"{unit}.3", f"{unit}.4")
    return paths | {"classifier": "fc"}


def v1_stages() -> dict[str, str]:
    """Map `stage1.0.0 …`, `fc`: three stages of 6 (stem included), 6 and 2 units."""
    return _v1_sequential(
        f"stage{stage + 1}.{index}" for stage, index in number_in_stages((6, 6, 2))
    )


def v1_model(blocks: int) -> dict[str, str]:
    """Map `model.0.0 …`, `fc`: one sequence of stem and blocks (the pytorch-mobilenet layout)."""
    return _v1_sequential(f"model.{index}" for index in range(blocks + 1))


def v1_timm() -> dict[str, str]:
    """Map timm's `mobilenetv1_*`: stages of 1, 2, 2, 6 and 2 blocks."""
    paths = map_conv_bn("stem", "conv_stem", "bn1")
    for block, (stage, index) in enumerate(number_in_stages((1, 2, 2, 6, 2))):
        theirs = f"blocks.{stage}.{index}"
        paths |= map_conv_bn(f"blocks.{block}.depthwise", f"{theirs}.conv_dw", f"{theirs}.bn1")
        paths |= map_conv_bn(f"blocks.{block}.pointwise", f"{theirs}.conv_pw", f"{theirs}.bn2")
    return paths | {"classifier": "classifier"}


STAGES_OF_3DDFA = ("2_1", "2_2", "3_1", "3_2", "4_1", "4_2", *(f"5_{n}" for n in range(1, 7)), "6")


def v1_3ddfa() -> dict[str, str]:
    """Map 3DDFA's `conv1`, `dw2_1.conv_dw`, `dw2_1.conv_sep` … `dw6`, `fc`."""
    paths = map_conv_bn("stem", "conv1", "bn1")
    for block, stage in enumerate(STAGES_OF_3DDFA):
        theirs = f"dw{stage}"
        paths |= map_conv_bn(f"blocks.{block}.depthwise", f"{theirs}.conv_dw", f"{theirs}.bn_dw")
        paths |= map_conv_bn(f"blocks.{block}.pointwise", f"{theirs}.conv_sep", f"{theirs}.bn_sep")
    return paths | {"classifier": "fc"}


def v1_transformers() -> dict[str, str]:
    """Map transformers' `mobilenet_v1.conv_stem`, `mobilenet_v1.layer.N`, `classifier`."""
    parts = ["stem"]
    for block in range(len(mobilenet_v1.BLOCKS)):
        parts += [f"blocks.{block}.depthwise", f"blocks.{block}.pointwise"]
    paths: dict[str, str] = {}
    for index, part in enumerate(parts, start=-1):
        theirs = "mobilenet_v1." + ("conv_stem" if index < 0 else f"layer.{index}")
        paths |= map_conv_bn(part, f"{theirs}.convolution", f"{theirs}.normalization")
    return paths | {"classifier": "classifier"}


V1_LAYOUTS = (
    Layout("features", "mobilenet_v1", v1_features(len(mobilenet_v1.BLOCKS))),
    Layout("stages", "mobilenet_v1", v1_stages()),
    Layout("model", "mobilenet_v1", v1_model(len(mobilenet_v1.BLOCKS))),
    Layout("timm", "mobilenet_v1", v1_timm()),
    Layout("3DDFA", "mobilenet_v1", v1_3ddfa()),
    Layout("transformers", "mobilenet_v1", v1_transformers()),
    Layout("features", "shallow_mobilenet", v1_features(len(mobilenet_v1.SHALLOW_BLOCKS))),
    Layout("model", "shallow_mobilenet", v1_model(len(mobilenet_v1.SHALLOW_BLOCKS))),
)
