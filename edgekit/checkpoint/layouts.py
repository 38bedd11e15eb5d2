"""Lists the names that other implementations give to a family's layers: one table a layout.

A table maps the path of each convolution, batch norm and linear layer in edgekit's module to its
path in the other one: `{"stem.conv": "features.0.0", "stem.bn": "features.0.1", …}`. The names of
parameters after the path (`weight`, `running_mean`, …) are PyTorch's own in both.

A layout names layers only. `recognise` compares the set of paths first and the shapes afterwards,
because several families and widths share a set of paths. So a table must name every layer, and no
layer twice: a missing one makes all checkpoints of the layout unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgekit.models import micronet, mobilenet_v1, mobilenet_v2, mobilenet_v3, mobilenet_v4

Paths = Mapping[str, str]


@dataclass(frozen=True)
class Layout:
    """The names of one implementation for one family.

    `name` is the one that users know. `paths` maps edgekit's paths to the others.
    """

    name: str
    family: str
    paths: Paths


def map_conv_bn(ours: str, conv: str, bn: str) -> dict[str, str]:
    """Map the two paths of one `ConvBN`.

    Args:
        ours: The path of the `ConvBN` in edgekit's module.
        conv: The other path of its convolution.
        bn: The other path of its batch norm.

    Returns:
        Edgekit's paths to the others.
    """
    return {f"{ours}.conv": conv, f"{ours}.bn": bn}


def number_in_stages(stage_sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Number blocks in order as (stage, index in the stage), for stages of the given sizes."""
    for stage, size in enumerate(stage_sizes):
        for index in range(size):
            yield stage, index


# --- MobileNetV1 ---------------------------------------------------------------------------------


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


# --- MobileNetV2 ---------------------------------------------------------------------------------

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


def _timm_inverted_residual(ours: str, theirs: str, *, expands: bool) -> dict[str, str]:
    """Map a timm block: `conv_pw`, `conv_dw`, `conv_pwl`.

    Without an expansion it is `conv_dw`, `conv_pw`: there `conv_pw` is the projection. Batch norms
    are numbered in the order of the parts.
    """
    parts = [("depthwise", "conv_dw"), ("projection", "conv_pw")]
    if expands:
        parts = [("expansion", "conv_pw"), ("depthwise", "conv_dw"), ("projection", "conv_pwl")]
    paths: dict[str, str] = {}
    for index, (part, conv) in enumerate(parts, start=1):
        paths |= map_conv_bn(f"{ours}.{part}", f"{theirs}.{conv}", f"{theirs}.bn{index}")
    return paths


def v2_timm() -> dict[str, str]:
    """Map timm's `mobilenetv2_*`: `conv_stem`, `blocks.S.B`, `conv_head`, `classifier`."""
    paths = map_conv_bn("stem", "conv_stem", "bn1")
    for block, (stage, index) in enumerate(number_in_stages(V2_STAGES)):
        paths |= _timm_inverted_residual(
            f"blocks.{block}", f"blocks.{stage}.{index}", expands=block > 0
        )
    return paths | map_conv_bn("last_conv", "conv_head", "bn2") | {"classifier": "classifier"}


# --- MobileNetV3 ---------------------------------------------------------------------------------

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
        paths |= _timm_inverted_residual(ours, theirs, expands=expansions[block])
        if rows[block].squeeze_excite:
            paths |= _squeeze_excite(ours, f"{theirs}.se.conv_reduce", f"{theirs}.se.conv_expand")
    last = f"blocks.{len(stage_sizes)}.0"
    paths |= map_conv_bn("last_conv", f"{last}.conv", f"{last}.bn1")
    return paths | {"hidden": "conv_head", "classifier": "classifier"}


def _v3_layouts(
    family: str, rows: Sequence[mobilenet_v3.Bneck], stage_sizes: Sequence[int]
) -> tuple[Layout, ...]:
    torchvision = Layout("torchvision", family, v3_torchvision(rows))
    return torchvision, Layout("timm", family, v3_timm(rows, stage_sizes))


# --- MobileNetV4 ---------------------------------------------------------------------------------


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


# --- MicroNet ------------------------------------------------------------------------------------


def _micro_pair(ours: str, theirs: str) -> dict[str, str]:
    """Map a factorized convolution: `conv.0` … `conv.3`."""
    return map_conv_bn(f"{ours}.vertical", f"{theirs}.conv.0", f"{theirs}.conv.1") | map_conv_bn(
        f"{ours}.horizontal", f"{theirs}.conv.2", f"{theirs}.conv.3"
    )


def _micro_pointwise(ours: str, theirs: str) -> dict[str, str]:
    return map_conv_bn(ours, f"{theirs}.conv.0", f"{theirs}.conv.1")


def _micro_gates(ours: str, theirs: str, fusions: int) -> dict[str, str]:
    """Map the gates of a Dynamic Shift-Max with `fusions` fusions; 0 is another activation."""
    if fusions == 0:
        return {}
    return {f"{ours}.reduce": f"{theirs}.fc.0", f"{ours}.expand": f"{theirs}.fc.2"}


def micronet_released(plan: micronet.MicroNetPlan) -> dict[str, str]:
    """Map the authors' `features.N.layers.M`, `classifier.0` and `.2`.

    The numbers M that are left out belong to shuffles and other layers without weights.
    """
    paths = _micro_pair("stem", "features.0.stem.0")
    for block, row in enumerate(plan.rows):
        ours, theirs = f"blocks.{block}", f"features.{block + 1}.layers"
        first, second, third = row.shift_max
        if row.first_groups[0] == 0:
            paths |= _micro_pair(f"{ours}.depthwise", f"{theirs}.0")
            paths |= _micro_gates(f"{ours}.activation", f"{theirs}.1", second)
            paths |= _micro_pointwise(f"{ours}.projection", f"{theirs}.4")
            paths |= _micro_gates(f"{ours}.output", f"{theirs}.5", third)
        elif row.second_groups[1] == 0:
            paths |= _micro_pointwise(f"{ours}.expansion", f"{theirs}.0")
            paths |= _micro_gates(f"{ours}.output", f"{theirs}.1", third)
        else:
            paths |= _micro_pointwise(f"{ours}.expansion", f"{theirs}.0")
            paths |= _micro_gates(f"{ours}.expansion_activation", f"{theirs}.1", first)
            paths |= _micro_pair(f"{ours}.depthwise", f"{theirs}.3")
            paths |= _micro_gates(f"{ours}.depthwise_activation", f"{theirs}.5", second)
            paths |= _micro_pointwise(f"{ours}.projection", f"{theirs}.7")
            paths |= _micro_gates(f"{ours}.output", f"{theirs}.8", third)
    for ours, theirs in (("hidden", "classifier.0"), ("classifier", "classifier.2")):
        paths |= {ours: f"{theirs}.linear.0", f"{ours}_bn": f"{theirs}.linear.1"}
    return paths


# --- All layouts ---------------------------------------------------------------------------------

LAYOUTS: tuple[Layout, ...] = (
    Layout("features", "mobilenet_v1", v1_features(len(mobilenet_v1.BLOCKS))),
    Layout("stages", "mobilenet_v1", v1_stages()),
    Layout("model", "mobilenet_v1", v1_model(len(mobilenet_v1.BLOCKS))),
    Layout("timm", "mobilenet_v1", v1_timm()),
    Layout("features", "shallow_mobilenet", v1_features(len(mobilenet_v1.SHALLOW_BLOCKS))),
    Layout("model", "shallow_mobilenet", v1_model(len(mobilenet_v1.SHALLOW_BLOCKS))),
    Layout("torchvision", "mobilenet_v2", v2_torchvision()),
    Layout("timm", "mobilenet_v2", v2_timm()),
    *_v3_layouts("mobilenet_v3_large", mobilenet_v3.LARGE, V3_LARGE_STAGES),
    *_v3_layouts("mobilenet_v3_small", mobilenet_v3.SMALL, V3_SMALL_STAGES),
    *_v3_layouts(
        "mobilenet_v3_large_minimal", mobilenet_v3.make_minimal(mobilenet_v3.LARGE), V3_LARGE_STAGES
    ),
    *_v3_layouts(
        "mobilenet_v3_small_minimal", mobilenet_v3.make_minimal(mobilenet_v3.SMALL), V3_SMALL_STAGES
    ),
    Layout("timm", "mobilenet_v4_conv_small", v4_timm(mobilenet_v4.CONV_SMALL)),
    Layout("timm", "mobilenet_v4_conv_medium", v4_timm(mobilenet_v4.CONV_MEDIUM)),
    Layout("timm", "mobilenet_v4_conv_large", v4_timm(mobilenet_v4.CONV_LARGE)),
    *(
        Layout("released", f"micronet_m{number}", micronet_released(plan))
        for number, plan in enumerate((micronet.M0, micronet.M1, micronet.M2, micronet.M3))
    ),
)
"""The layouts of other implementations. `recognise.own_layout` reads edgekit's own names from its
modules."""
