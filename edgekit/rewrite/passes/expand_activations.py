"""Writes hard-swish and SiLU as products, for programs that will be quantized.

Hard-swish is x·ReLU6(x + 3)/6 (arXiv:1905.02244, section 5.2), SiLU is x·sigmoid(x). The int8
runtimes have kernels for these parts.
"""

from __future__ import annotations

from torch.fx import GraphModule

from edgekit.rewrite.graph import aten, insert_call, is_call, replace


def expand_activations(program: GraphModule) -> None:
    """Replace every hard-swish and SiLU by its product."""
    for node in list(program.graph.nodes):
        if is_call(node, aten.hardswish.default):
            source = node.args[0]
            shifted = insert_call(program, aten.add.Tensor, source, 3.0, before=node)
            gate = insert_call(program, aten.hardtanh.default, shifted, 0.0, 6.0, before=node)
            product = insert_call(program, aten.mul.Tensor, source, gate, before=node)
            replace(node, insert_call(program, aten.mul.Tensor, product, 1 / 6, before=node))
        elif is_call(node, aten.silu.default, aten.silu_.default):
            source = node.args[0]
            gate = insert_call(program, aten.sigmoid.default, source, before=node)
            replace(node, insert_call(program, aten.mul.Tensor, source, gate, before=node))
