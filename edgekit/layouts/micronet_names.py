"""Lists the names that the authors' implementation gives to the layers of MicroNet."""

from __future__ import annotations

from edgekit.layouts.base import Layout, map_conv_bn
from edgekit.models import micronet


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


MICRONET_LAYOUTS = tuple(
    Layout("released", f"micronet_m{number}", micronet_released(plan))
    for number, plan in enumerate((micronet.M0, micronet.M1, micronet.M2, micronet.M3))
)
