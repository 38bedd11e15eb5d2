"""Composes the layers of an exported program from the core operators that it was decomposed into.

In and out: the graph of a program, changed in place. `ExportedProgram.run_decompositions` splits
layers into PyTorch's core operators: a linear layer into a transposition and a matrix product, a
batch norm into one with three outputs. The rewriting passes match whole layers.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx

aten = torch.ops.aten


def compose_layers(program: fx.Graph) -> None:
    """Replace the core operators of convolutions, batch norms, poolings and linear layers."""
    for node in list(program.nodes):
        if node.op != "call_function":
            continue
        with program.inserting_before(node):
            layer = _compose(program, node)
        if layer is not None:
            layer.meta = dict(node.meta)
            node.replace_all_uses_with(layer)
    program.eliminate_dead_code()


def _compose(program: fx.Graph, node: fx.Node) -> fx.Node | None:
    """Insert the layer that computes the same as `node`; None where there is none to compose."""
    if node.target is aten.convolution.default:
        x, weight, bias, stride, padding, dilation, transposed, _, groups = _arguments(node)
        if transposed or len(stride) != 2:
            return None
        arguments = (x, weight, bias, stride, padding, dilation, groups)
        return program.call_function(aten.conv2d.default, arguments)
    if node.target is operator.getitem and node.args[1] == 0:
        return _compose_first_output(program, _arguments(node)[0])
    if node.target is aten.addmm.default and not node.kwargs:
        bias, x, transposed_weight = _arguments(node)
        return _compose_linear(program, x, transposed_weight, bias)
    if node.target is aten.mm.default:
        x, transposed_weight = _arguments(node)
        return _compose_linear(program, x, transposed_weight, None)
    return None


def _compose_first_output(program: fx.Graph, whole: Any) -> fx.Node | None:
    if whole.target is aten._native_batch_norm_legit_no_training.default:
        *tensors, momentum, eps = whole.args
        arguments = (*tensors, False, momentum, eps, False)
        return program.call_function(aten.batch_norm.default, arguments)
    if whole.target is aten.max_pool2d_with_indices.default:
        return program.call_function(aten.max_pool2d.default, whole.args)
    return None


def _compose_linear(program: fx.Graph, x: Any, transposed: Any, bias: Any) -> fx.Node | None:
    """Insert x·Wᵀ + b, where `transposed` is Wᵀ; None where it is not a transposition."""
    is_transposed = transposed.target is aten.t.default or (
        transposed.target is aten.permute.default and transposed.args[1] == [1, 0]
    )
    if not is_transposed:
        return None
    return program.call_function(aten.linear.default, (x, transposed.args[0], bias))


def _arguments(node: fx.Node) -> tuple[Any, ...]:
    return node.args
