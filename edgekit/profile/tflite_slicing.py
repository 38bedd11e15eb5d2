"""Cuts a TFLite model into pieces that run one after the other, each a model of its own.

Needs the `flatbuffers` package and ai-edge-litert's copy of the schema, which it brings.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from edgekit.engines.tflite_graph import COMPUTING
from edgekit.errors import ModelFileError

_MOST_PIECES = 60


class Piece(NamedTuple):
    """Operators `first` up to, not including, `end` of the whole graph, as a model file."""

    first: int
    end: int
    model: bytes


class ModelCutter:
    """A model taken apart. Raises ModelFileError when this machine or this model does not allow it.

    Constant tensors go with the operators that read them, so all pieces together hold the weights
    once.
    """

    def __init__(self, model: bytes) -> None:
        try:
            import flatbuffers
            from ai_edge_litert import schema_py_generated as schema
        except ImportError as error:
            raise ModelFileError(
                f"the model cannot be cut into layers ({error}): it takes ai-edge-litert"
            ) from error
        self._builder, self._schema = flatbuffers.Builder, schema
        self._model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
        if len(self._model.subgraphs) != 1:
            raise ModelFileError(
                f"the model has {len(self._model.subgraphs)} graphs: only one can be cut"
            )
        self._graph = self._model.subgraphs[0]
        self._last_use = {
            int(tensor): index
            for index, operator in enumerate(self._graph.operators)
            for tensor in operator.inputs
        } | {int(tensor): len(self._graph.operators) for tensor in self._graph.outputs}

    def find_cuts(self, pieces: int = _MOST_PIECES) -> list[int]:
        """Where at most `pieces` pieces begin and the last one ends: before convolutions."""
        codes = [getattr(self._schema.BuiltinOperator, name) for name in COMPUTING]
        operators = self._graph.operators
        begins = [index for index, op in enumerate(operators) if self._code(op) in codes]
        cuts = [0, *begins[1:], len(operators)]
        if len(cuts) - 1 <= pieces:
            return cuts
        chosen = {round(index * (len(cuts) - 1) / pieces) for index in range(pieces + 1)}
        return [cut for index, cut in enumerate(cuts) if index in chosen]

    def cut(self, cuts: Sequence[int]) -> Iterator[Piece]:
        """The pieces between neighbouring `cuts`."""
        for first, end in itertools.pairwise(cuts):
            yield Piece(first, end, self._pack(first, end))

    def _code(self, operator: Any) -> int:
        code = self._model.operatorCodes[operator.opcodeIndex]
        number: int = max(code.builtinCode, code.deprecatedBuiltinCode)
        return number

    def _is_constant(self, tensor: int) -> bool:
        content = self._model.buffers[self._graph.tensors[tensor].buffer].data
        return content is not None and len(content) > 0

    def _pack(self, first: int, end: int) -> bytes:
        """A model of one graph with these operators; what crosses its ends is input or output."""
        operators = self._graph.operators[first:end]
        made = [int(tensor) for op in operators for tensor in op.outputs]
        read = [int(tensor) for op in operators for tensor in op.inputs if tensor >= 0]
        inputs = [
            tensor
            for tensor in dict.fromkeys(read)
            if tensor not in made and not self._is_constant(tensor)
        ]
        numbers = {old: new for new, old in enumerate(dict.fromkeys([*inputs, *read, *made]))}
        buffers = [self._schema.BufferT()]
        graph = self._schema.SubGraphT()
        graph.tensors = [self._copy_tensor(tensor, buffers) for tensor in numbers]
        graph.operators = [_renumber(op, numbers) for op in operators]
        graph.inputs = [numbers[tensor] for tensor in inputs]
        graph.outputs = [
            numbers[tensor] for tensor in made if self._last_use.get(tensor, -1) >= end
        ]
        model = self._schema.ModelT()
        model.version, model.operatorCodes = self._model.version, self._model.operatorCodes
        model.subgraphs, model.buffers = [graph], buffers
        builder = self._builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _copy_tensor(self, tensor: int, buffers: list[Any]) -> Any:
        original = self._graph.tensors[tensor]
        copied = copy.copy(original)
        copied.buffer = 0
        if self._is_constant(tensor):
            copied.buffer = len(buffers)
            buffers.append(self._model.buffers[original.buffer])
        return copied


def _renumber(operator: Any, numbers: dict[int, int]) -> Any:
    copied = copy.copy(operator)
    copied.inputs = [numbers.get(int(tensor), -1) for tensor in operator.inputs]
    copied.outputs = [numbers[int(tensor)] for tensor in operator.outputs]
    return copied
