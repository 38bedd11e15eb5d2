"""The operators of a TFLite graph, their multiply-adds, and whether a delegate runs each.

In: an allocated interpreter, or a model file. Out: records, in the order of the graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from math import prod
from typing import Any, NamedTuple

from edgekit.engines.base import EngineDescription
from edgekit.spec import Record

COMPUTING = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""The operators whose multiply-adds are counted."""
DELEGATE = "DELEGATE"
"""The name of a partition that a delegate runs."""


class Operator(Record, frozen=True, kw_only=True):
    """One operator, in the order of the graph. `delegate` is None for the runtime's own kernel."""

    name: str
    output: tuple[int, ...]
    """Shape of its first output."""
    multiply_adds: int
    delegate: str | None


def open_interpreter(runtime: str, model: bytes, threads: int = 1) -> Any:
    """Open a TFLite model on a runtime.

    Args:
        runtime: The package: `ai-edge-litert` or `tflite-runtime`.
        model: The content of the .tflite file.
        threads: How many cores one inference uses.

    Returns:
        The interpreter, its tensors allocated.
    """
    module = import_module(f"{runtime.replace('-', '_')}.interpreter")
    interpreter = module.Interpreter(model_content=model, num_threads=threads)
    interpreter.allocate_tensors()
    return interpreter


class Node(NamedTuple):
    """An operator of an allocated graph, and the indices of its tensors."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Graph(NamedTuple):
    """The model's own operators in their order, and the partitions that delegates run."""

    operators: tuple[Node, ...]
    delegates: tuple[Node, ...]
    outputs: frozenset[int]
    """The graph's output tensors."""

    def find_undelegated(self) -> set[int]:
        """The operators, by index, that the runtime's own kernels still run.

        Walking back from the graph's outputs, an operator still runs when its result is needed and
        no delegate makes it.
        """
        made = {tensor for node in self.delegates for tensor in node.outputs}
        needed = {tensor for node in self.delegates for tensor in node.inputs} | self.outputs
        kept = set()
        for index in range(len(self.operators) - 1, -1, -1):
            if {*self.operators[index].outputs} & needed - made:
                kept.add(index)
                needed |= {*self.operators[index].inputs}
        return kept


def read_graph(interpreter: Any) -> Graph:
    """Read the graph of an allocated interpreter.

    TFLite has no public way to list it; LiteRT and tflite-runtime both have `_get_ops_details`.
    After delegation the delegates' nodes follow the operators that they replace.
    """
    nodes = [
        Node(str(op["op_name"]), tuple(map(int, op["inputs"])), tuple(map(int, op["outputs"])))
        for op in interpreter._get_ops_details()
    ]
    return Graph(
        operators=tuple(node for node in nodes if node.name != DELEGATE),
        delegates=tuple(node for node in nodes if node.name == DELEGATE),
        outputs=frozenset(int(tensor["index"]) for tensor in interpreter.get_output_details()),
    )


def list_operators(interpreter: Any, delegate: str | None) -> list[Operator]:
    """The operators of the graph that `interpreter` has allocated, `delegate` being its delegate's
    name."""
    graph = read_graph(interpreter)
    kept = graph.find_undelegated()
    shapes = {
        int(tensor["index"]): tuple(int(side) for side in tensor["shape"])
        for tensor in interpreter.get_tensor_details()
    }
    return [
        Operator(
            name=node.name,
            output=shapes.get(node.outputs[0], ()),
            multiply_adds=_count_multiply_adds(node, shapes),
            delegate=None if index in kept else delegate,
        )
        for index, node in enumerate(graph.operators)
    ]


def _count_multiply_adds(node: Node, shapes: Mapping[int, tuple[int, ...]]) -> int:
    """Output values × weights that each takes (TFLite's layouts of weights, schema.fbs)."""
    if node.name not in COMPUTING:
        return 0
    output = prod(shapes.get(node.outputs[0], (0,)))
    weights = shapes.get(node.inputs[1], (0,))
    if node.name == "DEPTHWISE_CONV_2D":  # (1, height, width, channels)
        return output * prod(weights[1:3])
    return output * prod(weights[1:])  # (outputs, …): all but the first are summed over


def read_operators(model: bytes, engine: EngineDescription) -> list[Operator]:
    """The operators of a TFLite model as `engine` runs it."""
    whole = open_interpreter(engine.runtime, model, engine.threads)
    return list_operators(whole, engine.delegate)
