"""Lists the names of the parts of an inverted residual that V2 and V3 share."""

from __future__ import annotations

from collections.abc import Iterable

from edgekit.layouts.base import map_conv_bn


def map_timm_inverted_residual(ours: str, theirs: str, *, expands: bool) -> dict[str, str]:
    """Map a timm block: `conv_pw`, `conv_dw`, `conv_pwl`.

    Without an expansion it is `conv_dw`, `conv_pw`: there `conv_pw` is the projection. Batch norms
    are numbered in the order of the parts.

    Args:
        ours: The path of the block in edgekit's module.
        theirs: Its path in timm's.
        expands: Whether it has an expansion.

    Returns:
        Edgekit's paths to the others.
    """
    parts = [("depthwise", "conv_dw"), ("projection", "conv_pw")]
    if expands:
        parts = [("expansion", "conv_pw"), ("depthwise", "conv_dw"), ("projection", "conv_pwl")]
    paths: dict[str, str] = {}
    for index, (part, conv) in enumerate(parts, start=1):
        paths |= map_conv_bn(f"{ours}.{part}", f"{theirs}.{conv}", f"{theirs}.bn{index}")
    return paths


def map_sequential(ours: str, theirs: str, parts: Iterable[tuple[str, int]]) -> dict[str, str]:
    """Map the parts of a block that is one `Sequential`, as in the code of tonylins and d-li14.

    Args:
        ours: The path of the block in edgekit's module.
        theirs: The path of the `Sequential`.
        parts: The name of each part, and the number of its convolution.

    Returns:
        Edgekit's paths to the others. The batch norm has the number after the convolution's.
    """
    paths: dict[str, str] = {}
    for part, number in parts:
        paths |= map_conv_bn(f"{ours}.{part}", f"{theirs}.{number}", f"{theirs}.{number + 1}")
    return paths
