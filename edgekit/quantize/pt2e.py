"""Quantizes a program as planned, by torchao's PT2E (PyTorch 2 export quantization).

In: a float program, a `Plan`, and the encodings. Out: a program with quantize and dequantize nodes,
and functions to read and change the codes of its weights.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import (
    FixedQParamsQuantizationSpec,
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
)

from edgekit.quantize.litert_plan import Plan, fused_activation
from edgekit.quantize.ranges import ActivationScheme, Encoding, WeightRanges
from edgekit.rewrite.graph import (
    FUSED_BOUNDS,
    PADDING,
    WEIGHTED,
    add_constant,
    aten,
    is_call,
    is_quantize,
    read_constant,
    replace,
)

LOWEST_CODE, LARGEST_CODE = -128, 127
"""The codes of activations; those of weights are within ±127."""
WEIGHT_FRACTIONS = tuple(1 - step / 100 for step in range(51))
"""The fractions of a channel's largest weight that are tried as its range."""
DEAD_CHANNEL_FRACTION = 1e-3
"""A channel's weight scale is at least this fraction of the layer's largest. Without a floor, the
bias of a dead channel overflows int32 and its multiplier overflows the reference kernels; a fixed
floor (torchao's 2⁻¹²) costs accuracy where all weights are small."""


class WeightObserver(PerChannelMinMaxObserver):
    """Chooses a symmetric scale for each output channel from its largest magnitude.

    Dead channels get a larger one, `DEAD_CHANNEL_FRACTION` of the layer's largest.
    """

    def calculate_qparams(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the scales, `(C,) float32`, and zero points, `(C,) int64` zeros."""
        return self._scale(torch.maximum(self.max_val.abs(), self.min_val.abs()))

    def _scale(self, bound: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        floor = float(bound.max()) * DEAD_CHANNEL_FRACTION or 1.0
        scale = bound.clamp_min(floor) / LARGEST_CODE
        return scale, torch.zeros_like(scale, dtype=torch.int64)


class LeastSquaresWeightObserver(WeightObserver):
    """Chooses the scale of each output channel whose codes have the least squared error."""

    def forward(self, x_orig: torch.Tensor) -> torch.Tensor:
        """Keep the weights, `(C, …) float32`, and return them unchanged."""
        self._weights = x_orig.detach()
        seen: torch.Tensor = super().forward(x_orig)
        return seen

    def calculate_qparams(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the scales, `(C,) float32`, and zero points, `(C,) int64` zeros."""
        bound = torch.maximum(self.max_val.abs(), self.min_val.abs())
        return self._scale(bound * choose_weight_fractions(self._weights, bound))


def choose_weight_fractions(weights: torch.Tensor, bound: torch.Tensor) -> torch.Tensor:
    """Choose where to clip weights `(C, …)` with the largest magnitudes `bound`, `(C,)`.

    Returns the fraction of each magnitude, `(C,)`, of a grid from ½ to 1, with which the 127 codes
    have the least squared error of rounding and clipping.
    """
    rows = weights.flatten(1).double()
    bound = bound.double().clamp_min(1e-30)[:, None]
    least = torch.full((len(rows),), torch.inf, dtype=torch.float64)
    fractions = torch.ones(len(rows), dtype=torch.float64)
    for fraction in WEIGHT_FRACTIONS:
        scale = bound * fraction / LARGEST_CODE
        codes = (rows / scale).round().clamp(-LARGEST_CODE, LARGEST_CODE)
        error = (codes * scale - rows).square().sum(1)
        fractions = torch.where(error < least, fraction, fractions)
        least = torch.minimum(error, least)
    return fractions.to(weights.dtype)


def _weight_spec(ranges: WeightRanges) -> QuantizationSpec:
    observer = WeightObserver if ranges == "max" else LeastSquaresWeightObserver
    return QuantizationSpec(
        dtype=torch.int8,
        quant_min=-LARGEST_CODE,
        quant_max=LARGEST_CODE,
        qscheme=torch.per_channel_symmetric,
        ch_axis=0,
        observer_or_fake_quant_ctr=observer.with_args(eps=1e-30),
    )


class PlanQuantizer(Quantizer):
    """Annotates a program for PT2E with a plan and its encodings.

    Args:
        plan: What becomes int8.
        encodings: The encoding of each of the plan's tensors, by node name.
        scheme: Which zero points the encodings have.
        weight_ranges: How the scale of each output channel's weights is chosen.
    """

    def __init__(
        self,
        plan: Plan,
        encodings: Mapping[str, Encoding],
        scheme: ActivationScheme,
        weight_ranges: WeightRanges = "max",
    ) -> None:
        super().__init__()
        self._plan, self._is_symmetric = plan, scheme is ActivationScheme.SYMMETRIC
        self._weights = _weight_spec(weight_ranges)
        self._specs = {
            name: FixedQParamsQuantizationSpec(
                dtype=torch.int8,
                scale=encoding.scale,
                zero_point=encoding.zero_point,
                quant_min=LOWEST_CODE,
                quant_max=LARGEST_CODE,
                qscheme=torch.per_tensor_symmetric
                if self._is_symmetric
                else torch.per_tensor_affine,
            )
            for name, encoding in encodings.items()
        }

    def annotate(self, model: GraphModule) -> GraphModule:
        plan = self._plan
        nodes = {node.name: node for node in model.graph.nodes}
        for node in nodes.values():
            if node.op == "placeholder" and not self._is_symmetric:
                _annotate(node, {}, self._specs[node.name])
            elif node.name in plan.reads:
                read = (nodes[name] for name in plan.reads[node.name])
                inputs: dict[Node, Any] = {tensor: self._spec(tensor) for tensor in read}
                if is_call(node, *WEIGHTED):
                    inputs[node.args[1]] = self._weights
                activation = fused_activation(node) if node.name in plan.writes else None
                if activation is not None:
                    _annotate(node, inputs, None)
                    _annotate(activation, {}, self._spec(activation))
                else:
                    written = self._spec(node) if node.name in plan.writes else None
                    _annotate(node, inputs, written)
        return model

    def _spec(self, node: Node) -> FixedQParamsQuantizationSpec:
        return self._specs[self._plan.encoded_as[node.name]]

    def validate(self, model: GraphModule) -> None:
        """Check nothing: the plan was made for this graph."""


def _annotate(node: Node, inputs: dict[Node, Any], output: Any) -> None:
    node.meta["quantization_annotation"] = QuantizationAnnotation(
        input_qspec_map=inputs, output_qspec=output, _annotated=True
    )


def quantize_program(
    program: GraphModule,
    plan: Plan,
    encodings: Mapping[str, Encoding],
    scheme: ActivationScheme,
    *,
    fold_weights: bool,
    weight_ranges: WeightRanges = "max",
) -> GraphModule:
    """Insert quantize/dequantize pairs.

    Args:
        program: A float program; it is left as it was.
        plan: What becomes int8.
        encodings: The encoding of each of the plan's tensors, by node name.
        scheme: Which zero points the encodings have.
        fold_weights: Whether weights are stored as int8 constants; if not, they are stored as
            float before a quantize node.
        weight_ranges: How the scale of each output channel's weights is chosen.

    Returns:
        A quantized copy of `program`.
    """
    program = copy.deepcopy(program)
    quantizer = PlanQuantizer(plan, encodings, scheme, weight_ranges)
    prepared = prepare_pt2e(program, quantizer)
    for node in prepared.graph.nodes:
        if is_call(node, *WEIGHTED) and node.args[1].op == "call_module":
            observer = prepared.get_submodule(str(node.args[1].target))
            observer(read_constant(prepared, node.args[1].args[0]))
    converted = convert_pt2e(prepared, fold_quantize=fold_weights)
    if scheme is ActivationScheme.SYMMETRIC:
        _relax_clamps(converted)
    else:
        _drop_clamps(converted)
    return converted


def has_codes(node: Node) -> bool:
    """Whether this is a layer of a quantized program whose weights are int8."""
    return is_call(node, *WEIGHTED) and cast(Node, node.args[1]).op == "call_function"


def read_steps(program: GraphModule, node: Node) -> torch.Tensor:
    """Read the scale of each output channel's weights, `(out,)`, of a quantized layer."""
    return read_constant(program, cast(Node, cast(Node, node.args[1]).args[1]))


def read_quantized_weight(program: GraphModule, node: Node) -> torch.Tensor:
    """Read the `(out, …) float32` weight that a layer of a quantized program computes with."""
    source, steps = cast(Node, cast(Node, node.args[1]).args[0]), read_steps(program, node)
    if source.op == "get_attr":
        codes = read_constant(program, source)
    else:
        values = read_constant(program, cast(Node, source.args[0]))
        shape = (-1, *[1] * (values.dim() - 1))
        codes = (values / steps.reshape(shape)).round().clamp(-LARGEST_CODE, LARGEST_CODE)
    weight: torch.Tensor = codes * steps.reshape(-1, *[1] * (codes.dim() - 1))
    return weight


def set_codes(program: GraphModule, node: Node, codes: torch.Tensor) -> None:
    """Replace the codes of a layer of a quantized program.

    Args:
        program: The quantized program.
        node: The layer.
        codes: The new codes, `(out, …)`, whole numbers in −127 … 127.
    """
    dequantize = cast(Node, node.args[1])
    source = cast(Node, dequantize.args[0])
    if source.op == "get_attr":
        constant = add_constant(program, f"{node.name}_codes", codes.to(torch.int8), source)
        dequantize.replace_input_with(source, constant)
        return
    steps = read_steps(program, node).reshape(-1, *[1] * (codes.dim() - 1))
    values = (codes * steps).to(read_constant(program, cast(Node, source.args[0])).dtype)
    constant = add_constant(program, f"{node.name}_rounded", values, source)
    source.replace_input_with(cast(Node, source.args[0]), constant)


def _relax_clamps(program: GraphModule) -> None:
    """Remove clamps whose bounds are also the ends of the codes; one from zero becomes a ReLU.

    TensorRT fuses a layer with rounding, and with a ReLU, but not with every clamp.
    """
    for node in list(program.graph.nodes):
        if not is_call(node, aten.hardtanh.default):
            continue
        steps = _rounded_with(node)
        source, low, high = cast("tuple[Node, float, float]", node.args)
        if not steps or min(high / step for step in steps) < LARGEST_CODE - 0.5:
            continue
        if max(low / step for step in steps) <= LOWEST_CODE + 0.5:
            replace(node, source)
        elif low == 0:
            with program.graph.inserting_before(node):
                relu = program.graph.call_function(aten.relu.default, (source,))
            relu.meta = dict(node.meta)
            replace(node, relu)
    program.recompile()


def _rounded_with(node: Node) -> list[float]:
    """The scales with which the readers round `node`, directly or after paddings.

    It is empty where any reader does not round it.
    """
    steps: list[float] = []
    for user in node.users:
        if is_quantize(user):
            steps.append(cast(float, user.args[1]))
        elif is_call(user, *PADDING) and (padded := _rounded_with(user)):
            steps += padded
        else:
            return []
    return steps


def _drop_clamps(program: GraphModule) -> None:
    """Remove clamps whose output is rounded to codes that end at their bounds.

    Clamps that runtimes fuse stay: they cost nothing and document the function.
    """
    for node in list(program.graph.nodes):
        if not is_call(node, aten.hardtanh.default) or node.args[1:] in FUSED_BOUNDS:
            continue
        if all(is_quantize(user) for user in node.users):
            replace(node, node.args[0])
    program.recompile()
