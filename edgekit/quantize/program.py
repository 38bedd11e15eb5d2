"""The float program: an exported graph in one canonical form, with pixels as its input.

In: a float module, normalized `(N, 3, H, W)` → logits. Out: a graph `(N, H, W, 3)` → logits whose
batch norms are folded, whose activations are written one way, and which takes pixel values. The
passes run in the order of `export_program`; each keeps the network's function.
"""

from __future__ import annotations

from typing import cast

import torch
from torch.fx import GraphModule, Node

from edgekit.errors import ConversionError
from edgekit.quantize.graph import (
    CONVOLUTION,
    WEIGHTED,
    add_constant,
    argument,
    aten,
    finish,
    is_call,
    read_bias,
    read_constant,
    read_weight,
    set_bias,
    set_weight,
    sole_user,
)
from edgekit.spec import InputSpec, Normalization


def export_program(module: torch.nn.Module, spec: InputSpec) -> GraphModule:
    """Export `module` and bring its graph into canonical form (normalized NCHW float input).

    Raises ConversionError when `torch.export` cannot trace it.
    """
    example = torch.zeros(1, 3, spec.height, spec.width)
    try:
        program = torch.export.export(module.eval(), (example,)).module()
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConversionError(
            f"torch.export cannot trace this {type(module).__name__}: {reason}: expected a network"
            " without data-dependent control flow"
        ) from error
    program = GraphModule(program, program.graph)  # without the hook that insists on batch 1
    for node in list(program.graph.nodes):
        if is_call(node, torch.ops.aten._assert_tensor_metadata.default) or (
            node.op == "call_module" and node.name.startswith("_guards_fn")
        ):
            program.graph.erase_node(node)
    canonicalize(program)
    fold_batch_norm(program)
    return finish(program)


def canonicalize(program: GraphModule) -> None:
    """Write every activation, dropout and global pooling in the one form that annotation knows.

    Annotators match operators by name: a ReLU written LeakyReLU(0) would be quantized before its
    activation and break the graph apart.
    """
    graph = program.graph
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        source = node.args[0] if node.args else None
        with graph.inserting_before(node):
            if is_call(node, aten.dropout.default, aten.clone.default, aten.detach.default):
                replacement = source
            elif is_call(node, aten.relu_.default) or (
                is_call(node, aten.leaky_relu.default, aten.leaky_relu_.default)
                and argument(node, 1, 0.01) == 0
            ):
                replacement = graph.call_function(aten.relu.default, (source,))
            elif is_call(node, aten.relu6.default, aten.hardtanh_.default, aten.clamp.default):
                replacement = _bounded(graph, node)
            elif _is_global_pooling(node):
                replacement = graph.call_function(aten.mean.dim, (source, [2, 3], True))
            else:
                continue
        if replacement is None:
            continue
        assert isinstance(replacement, Node)
        if replacement is not source:
            replacement.meta = dict(node.meta)
        node.replace_all_uses_with(replacement)
        graph.erase_node(node)


def _bounded(graph: torch.fx.Graph, node: Node) -> Node | None:
    """clamp, relu6 and hardtanh_ as hardtanh or relu; None for a clamp that is neither."""
    low: object = 0.0
    high: object = 6.0
    if not is_call(node, aten.relu6.default):
        unbounded = is_call(node, aten.clamp.default)
        low = argument(node, 1, None if unbounded else -1.0)
        high = argument(node, 2, None if unbounded else 1.0)
    if low == 0 and high is None:
        return graph.call_function(aten.relu.default, (node.args[0],))
    if low is None or high is None:
        return None
    return graph.call_function(aten.hardtanh.default, (node.args[0], low, high))


def _is_global_pooling(node: Node) -> bool:
    if is_call(node, aten.adaptive_avg_pool2d.default):
        return list(cast(list, node.args[1])) == [1, 1]
    if not is_call(node, aten.avg_pool2d.default):
        return False
    source = cast(Node, node.args[0])
    return list(cast(list, node.args[1])) == list(source.meta["val"].shape[2:])


def fold_batch_norm(program: GraphModule) -> None:
    """Fold every batch norm into the convolution or linear layer before it, in float64.

    w' = w·γ/√(σ²+ε), b' = β + (b − μ)·γ/√(σ²+ε) (Jacob et al., arXiv:1712.05877, section 3.2).
    A dead channel (σ² near the smallest float32) folds to finite numbers like any other.
    """
    for node in list(program.graph.nodes):
        if not is_call(node, aten.batch_norm.default):
            continue
        layer = cast(Node, node.args[0])
        if not is_call(layer, *WEIGHTED) or len(layer.users) > 1:
            continue
        gamma, beta, mean, variance = (
            torch.tensor(default) if constant is None else read_constant(program, constant).double()
            for constant, default in zip(node.args[1:5], (1.0, 0.0, 0.0, 1.0), strict=True)
        )
        factor = gamma * torch.rsqrt(variance + float(node.args[7]))
        weight = read_weight(program, layer).double()
        set_weight(program, layer, weight * factor.reshape(-1, *[1] * (weight.dim() - 1)))
        set_bias(program, layer, beta + (read_bias(program, layer) - mean) * factor)
        node.replace_all_uses_with(layer)
        program.graph.erase_node(node)


def take_pixels(
    program: GraphModule, normalization: Normalization, offset: int, *, fold_mean: bool
) -> None:
    """Make the program take p − `offset` for pixels p, `(N, H, W, 3)`, in place of `(N, 3, H, W)`.

    The division by the standard deviation is folded into the first convolution. With `fold_mean`
    so is the mean, and nothing is left to compute per pixel; zero padding then stands for a pixel
    of value `offset` instead of the mean, which `border_offset` keeps near. Without, the graph
    subtracts the mean first, which is exact at the border too.

    Raises ConversionError when the input does not go straight into one convolution.
    """
    graph = program.graph
    placeholder, convolution = _entrance(program)
    users = list(placeholder.users)
    mean = torch.tensor(normalization.mean, dtype=torch.float64).reshape(1, 3, 1, 1)
    std = torch.tensor(normalization.std, dtype=torch.float64).reshape(1, 3, 1, 1)
    weight = read_weight(program, convolution).double() / std
    set_weight(program, convolution, weight)
    fake = placeholder.meta["val"]
    with fake.fake_mode:
        placeholder.meta["val"] = fake.permute(0, 2, 3, 1).contiguous()
    pixels: Node = placeholder
    if fold_mean:
        shift = (weight * (offset - mean)).sum((1, 2, 3))
        set_bias(program, convolution, read_bias(program, convolution) + shift)
    else:
        centre = (mean - offset).float().permute(0, 2, 3, 1)
        constant = add_constant(program, "pixel_mean", centre, users[0])
        with graph.inserting_before(users[0]):
            pixels = graph.call_function(aten.sub.Tensor, (placeholder, constant))
            pixels.meta["val"] = placeholder.meta["val"]
    with graph.inserting_before(users[0]):
        planes = graph.call_function(aten.permute.default, (pixels, [0, 3, 1, 2]))
        planes.meta["val"] = fake
    for user in users:
        user.replace_input_with(placeholder, planes)
    finish(program)


def border_offset(program: GraphModule, normalization: Normalization) -> int:
    """The pixel value 0-255 whose use as padding changes the first convolution's output least.

    The mean of the channel means, weighted by the energy of the weights on each channel.
    """
    weight = read_weight(program, _entrance(program)[1])
    std = torch.tensor(normalization.std).reshape(1, 3, 1, 1)
    energy = (weight / std).square().sum((0, 2, 3))
    mean = float((energy * torch.tensor(normalization.mean)).sum() / energy.sum())
    return min(255, max(0, round(mean)))


def _entrance(program: GraphModule) -> tuple[Node, Node]:
    """The program's input and the one convolution that it goes into, perhaps through a padding."""
    (placeholder,) = (node for node in program.graph.nodes if node.op == "placeholder")
    node = sole_user(placeholder)
    while node is not None and is_call(node, aten.pad.default, aten.constant_pad_nd.default):
        node = sole_user(node)
    if node is None or not is_call(node, CONVOLUTION):
        raise ConversionError(
            f"the network's input goes into {node.name if node else 'several layers'}: expected one"
            " convolution, which the normalization can be folded into"
        )
    return placeholder, node


class CastPixels(torch.nn.Module):
    """A float program behind an input of int8 codes."""

    def __init__(self, program: torch.nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.program(codes.to(torch.float32))
        return logits
