"""What NVIDIA's own parser and builder make of a network, where one is installed."""

from __future__ import annotations

from collections.abc import Callable

from edgekit.spec import Precision, Record


class BuilderCheck(Record, frozen=True, kw_only=True):
    """`builder` and its version; `layers` of the engine; `float_layers`: layers with weights
    that are computed in float although the network has them in int8; `seconds` to build."""

    builder: str
    layers: int
    precisions: dict[str, int]
    float_layers: tuple[str, ...]
    seconds: float

    def describe(self) -> str:
        """For a person, on one line."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.precisions.items())
        return f"{self.builder} builds it: {self.layers} layers ({kinds}), {self.seconds:.1f} s"


def check_with_builder(
    model: bytes, precision: Precision, say: Callable[[str], None]
) -> BuilderCheck | None:
    return None
