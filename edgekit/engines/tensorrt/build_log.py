"""Reads TensorRT's log while it builds: errors in its own words, and the layers of the engine.

The layers are read from the log because an engine can be opened for inspection only on the GPU it
was built for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

_LISTED = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<kind>[^,]+), Inputs: (?P<rest>.*)$")
"""TensorRT 10 and later, TensorRT-RTX: one layer a line with detailed verbosity."""
_SHORT = re.compile(r"^Layer\((?P<kind>[^)]+)\): (?P<name>.*?), Tactic: (?P<rest>.*)$")
"""TensorRT 8: `Layer(CaskConvolution): conv + relu, Tactic: 0x…, in (Int8[1,3,…]) -> out (…)`."""
_TYPE = re.compile(r"Datatype: (\w+)|\((Int8|Half|Float|UInt8|BFloat16|Int32)\[")
_WEIGHTED = re.compile(r"convolution|correlation|gemm|matmul|matrixmultiply", re.IGNORECASE)
_FUSED = re.compile(r"^__myl_(?:[A-Z][a-z]*)*?Corr(?:[A-Z]|_)")
"""A generated kernel (`kgen`) that holds a convolution, as `__myl_CorrMulAddMax_myl0_11`."""
_TENSOR = re.compile(r"Dimensions: \[(\d+)[\d,]*\].*?Datatype: (\w+)")
_NAMES = {"Int8": "int8", "Half": "fp16", "Float": "fp32", "BFloat16": "bf16", "UInt8": "uint8"}


class EngineLayer(NamedTuple):
    """One layer of an engine, and the type of the first tensor that it reads; of a convolution
    inside a generated kernel the type of its weights, since other tensors may come before."""

    name: str
    kind: str
    precision: str

    @property
    def is_weighted(self) -> bool:
        """Whether it is a convolution or a matrix product."""
        return _WEIGHTED.search(self.kind) is not None or _FUSED.match(self.name) is not None


class BuildLog:
    """Collects the messages of the library's logger."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.errors: list[str] = []

    def add(self, message: str, *, is_error: bool) -> None:
        self.lines += message.splitlines()
        if is_error:
            self.errors.append(message)

    def layers(self) -> list[EngineLayer]:
        """The engine's layers; [] when this version does not list them in a known form."""
        return list(_read_layers(self.lines))

    def reason(self) -> str:
        """The first error in NVIDIA's words, on one line, without its place in the source."""
        if not self.errors:
            return "no reason was given"
        text = " ".join(self.errors[0].split())
        return re.sub(r"^\[?[\w:./]+::\w+::\d+\]? *|^In node.*?: *", "", text)[:300]


_listening: dict[str, BuildLog] = {}
_loggers: dict[str, Any] = {}


def listen(module: Any, log: BuildLog) -> Any:
    """The logger of `module`, which from now on writes into `log`, and prints nothing.

    TensorRT keeps the first logger that a process hands it and uses no other, so there is one for
    ever: a second would hear nothing, and the first must outlive every builder and engine.
    """
    name = str(module.__name__)
    _listening[name] = log
    if name not in _loggers:
        _loggers[name] = _make_logger(module, name)
    return _loggers[name]


def _make_logger(module: Any, name: str) -> Any:
    severity = module.ILogger.Severity
    failures = (severity.INTERNAL_ERROR, severity.ERROR)

    class Logger(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, level: Any, message: str) -> None:
            _listening[name].add(message, is_error=level in failures)

    return Logger()


def _read_layers(lines: list[str]) -> Iterator[EngineLayer]:
    for line in lines:
        match = _LISTED.match(line) or _SHORT.match(line)
        if match is None:
            continue
        found = _weight_type(match["rest"]) if _FUSED.match(match["name"]) else None
        if found is None:
            types = _TYPE.search(match["rest"])
            found = (types[1] or types[2]) if types else "unknown"
        yield EngineLayer(match["name"], match["kind"], _NAMES.get(found, found.lower()))


def _weight_type(tensors: str) -> str | None:
    """The type of the constant with many output channels: biases and scales have one, shared."""
    constants = tensors.partition("Constants: ")[2].partition("Outputs: ")[0]
    kinds = [kind for channels, kind in _TENSOR.findall(constants) if channels != "1"]
    return kinds[0] if kinds else None
