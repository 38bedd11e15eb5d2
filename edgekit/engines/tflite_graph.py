"""A TFLite graph as its runtime tells it: operators, their multiply-adds, and who runs each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from math import prod
from typing import Any

from edgekit.engines.base import EngineDescription
from edgekit.spec import Record

COMPUTING = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""The operators whose multiply-adds are counted."""


class Operator(Record, frozen=True, kw_only=True):
    """One operator, in the order of the graph. `delegate` is None for the runtime's own kernel."""

    name: str
    output: tuple[int, ...]
    """Shape of its first output."""
    multiply_adds: int
    delegate: str | None


def open_interpreter(runtime: str, model: bytes, threads: int = 1) -> Any:
    """An interpreter of the package `runtime` (`ai-edge-litert`, `tflite-runtime`), allocated."""
    module = import_module(f"{runtime.replace('-', '_')}.interpreter")
    interpreter = module.Interpreter(model_content=model, num_threads=threads)
    interpreter.allocate_tensors()
    return interpreter


def list_operators(interpreter: Any, delegate: str | None) -> list[Operator]:
    """The operators of the graph that `interpreter` has allocated."""
    details = interpreter._get_ops_details()
    own = [op for op in details if op["op_name"] != "DELEGATE"]
    made = [op for op in details if op["op_name"] == "DELEGATE"]
    outputs = {int(tensor["index"]) for tensor in interpreter.get_output_details()}
    kept = _find_kept(own, made, outputs)
    shapes = {
        int(tensor["index"]): tuple(int(side) for side in tensor["shape"])
        for tensor in interpreter.get_tensor_details()
    }
    return [
        Operator(
            name=op["op_name"],
            output=shapes.get(int(op["outputs"][0]), ()),
            multiply_adds=_count_multiply_adds(op, shapes),
            delegate=None if index in kept else delegate,
        )
        for index, op in enumerate(own)
    ]


def _find_kept(
    own: Sequence[Mapping[str, Any]], delegates: Sequence[Mapping[str, Any]], outputs: set[int]
) -> set[int]:
    """Which operators still run by themselves: their result is needed and no delegate makes it."""
    made = {int(tensor) for op in delegates for tensor in op["outputs"]}
    needed = {int(tensor) for op in delegates for tensor in op["inputs"]} | outputs
    kept = set()
    for index in range(len(own) - 1, -1, -1):
        if {int(tensor) for tensor in own[index]["outputs"]} & needed - made:
            kept.add(index)
            needed |= {int(tensor) for tensor in own[index]["inputs"]}
    return kept


def _count_multiply_adds(op: Mapping[str, Any], shapes: Mapping[int, tuple[int, ...]]) -> int:
    """Output values × weights that each takes (TFLite's layouts of weights, schema.fbs)."""
    if op["op_name"] not in COMPUTING:
        return 0
    output = prod(shapes.get(int(op["outputs"][0]), (0,)))
    weights = shapes.get(int(op["inputs"][1]), (0,))
    if op["op_name"] == "DEPTHWISE_CONV_2D":  # (1, height, width, channels)
        return output * prod(weights[1:3])
    return output * prod(weights[1:])  # (outputs, …): all but the first are summed over


def read_operators(model: bytes, engine: EngineDescription) -> list[Operator]:
    """The operators of a TFLite model as `engine` runs it."""
    whole = open_interpreter(engine.runtime, model, engine.threads)
    return list_operators(whole, engine.delegate)
