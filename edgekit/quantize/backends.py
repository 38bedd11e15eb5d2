"""Describes how the boards' runtimes compute in int8, as far as quantization needs it.

`LITERT` is for LiteRT with XNNPACK (Raspberry Pi), `TENSORRT` for TensorRT (Jetson).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from torch.fx import GraphModule

from edgekit.quantize.activation_shift import Shifts, shift_activations
from edgekit.quantize.activation_statistics import TensorStatistics
from edgekit.quantize.float_separators import separate_float_layers, separate_float_operators
from edgekit.quantize.litert_plan import FIXED_RANGE, Plan, plan_for_litert
from edgekit.quantize.ranges import ActivationScheme, Encoding
from edgekit.quantize.recipe import Recipe
from edgekit.quantize.tensorrt_plan import plan_for_tensorrt
from edgekit.rewrite.channels_last_padding import pad_channels_last
from edgekit.rewrite.graph import aten, clean_up
from edgekit.rewrite.input_pixels import border_offset
from edgekit.rewrite.write_reflections import write_reflections
from edgekit.spec import Normalization


class Int8Backend(Protocol):
    """The properties of a runtime that quantization needs. Methods change programs in place."""

    @property
    def scheme(self) -> ActivationScheme:
        """The zero points that activations may have."""

    @property
    def unit_interval(self) -> Encoding:
        """The encoding that the runtime prescribes for values in 0 … 1, a sigmoid's."""

    @property
    def unit_operators(self) -> Collection[object]:
        """The operators whose outputs it prescribes that encoding for."""

    @property
    def folds_weights(self) -> bool:
        """Whether the writer takes weights as int8 constants, or as float before a quantize."""

    def plan(self, program: GraphModule, keep_float: Collection[str] = ()) -> Plan:
        """Choose what becomes int8. The operators in `keep_float`, by node name, stay float."""

    def choose_offset(self, program: GraphModule, normalization: Normalization) -> int:
        """Choose the pixel value that becomes 0 at the program's input."""

    def arrange(self, program: GraphModule) -> None:
        """Bring a canonical program into the form that the runtime computes fastest."""

    def shift_activations(
        self,
        program: GraphModule,
        plan: Plan,
        statistics: Mapping[str, TensorStatistics],
        recipe: Recipe,
    ) -> Shifts:
        """Shift tensors that the scheme would encode badly.

        Args:
            program: The float program.
            plan: What becomes int8 of it.
            statistics: What calibration gathered, by node name.
            recipe: How ranges are chosen.

        Returns:
            The shifts; none for a scheme that needs none.
        """

    def keep_in_float(self, quantized: GraphModule, kept: Collection[str]) -> None:
        """Prevent the board's converter from quantizing what stays float: the layers that are
        `kept`, and operators that have no int8 form in the plan."""


class _LiteRT:
    """LiteRT computes whole graphs in int8, with any zero point."""

    scheme = ActivationScheme.ASYMMETRIC
    unit_interval = Encoding(1 / 256, -128)
    unit_operators = (*FIXED_RANGE, aten.softmax.int, aten._softmax.default)
    folds_weights = False

    def plan(self, program: GraphModule, keep_float: Collection[str] = ()) -> Plan:
        return plan_for_litert(program, keep_float)

    def choose_offset(self, program: GraphModule, normalization: Normalization) -> int:
        return border_offset(program, normalization)

    def arrange(self, program: GraphModule) -> None:
        write_reflections(program)
        pad_channels_last(program)
        clean_up(program)

    def shift_activations(
        self,
        program: GraphModule,
        plan: Plan,
        statistics: Mapping[str, TensorStatistics],
        recipe: Recipe,
    ) -> Shifts:
        return Shifts({}, {})

    def keep_in_float(self, quantized: GraphModule, kept: Collection[str]) -> None:
        separate_float_layers(quantized, kept)
        separate_float_operators(quantized)


class _TensorRT:
    """TensorRT computes layers with weights in int8, with zero point 0, and fuses the others."""

    scheme = ActivationScheme.SYMMETRIC
    unit_interval = Encoding(1 / 127, 0)
    unit_operators = FIXED_RANGE
    folds_weights = True

    def plan(self, program: GraphModule, keep_float: Collection[str] = ()) -> Plan:
        return plan_for_tensorrt(program, keep_float)

    def choose_offset(self, program: GraphModule, normalization: Normalization) -> int:
        return 128  # the encoding of the pixels has zero point 0, too

    def arrange(self, program: GraphModule) -> None:
        """Change nothing: TensorRT chooses the layout of tensors itself."""

    def shift_activations(
        self,
        program: GraphModule,
        plan: Plan,
        statistics: Mapping[str, TensorStatistics],
        recipe: Recipe,
    ) -> Shifts:
        return shift_activations(program, plan.reads, statistics, recipe.ranges, recipe.percentile)

    def keep_in_float(self, quantized: GraphModule, kept: Collection[str]) -> None:
        """Change nothing: TensorRT computes in int8 only where there are Q/DQ pairs."""


LITERT: Int8Backend = _LiteRT()
TENSORRT: Int8Backend = _TensorRT()
