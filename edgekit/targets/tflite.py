"""Writes a program as a TFLite flatbuffer, by litert-torch in a process of its own.

litert-torch takes seconds to import and keeps about 50 MB a conversion, so a worker process loads
it while PyTorch is imported and calibration runs here, and goes away afterwards. For the same
reason this module imports PyTorch only when a program is at hand.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from edgekit.errors import ConversionError, OutputError

if TYPE_CHECKING:
    from torch.fx import GraphModule

    from edgekit.spec import InputSpec

PIXEL_OFFSET = 128
"""A pixel p enters as the int8 code p − 128."""
DISK_FULL = 28
"""The worker's exit status when there is no room for the flatbuffer."""
EXCEPTION = re.compile(r"[\w.]+(Error|Exception): ")
"""The line of an exception; PyTorch prints the place in the graph after it."""
LONGEST_REASON = 200
"""The characters of a converter's message that are quoted."""


def _no_room(error: OSError) -> str:
    return (
        f"cannot write temporary files: {error.strerror}: free some space, or name another folder"
        " with TMPDIR"
    )


class TFLiteWriter:
    """One conversion in a worker process. Use as a context manager, which ends the process.

    Construct it early: the worker imports litert-torch in the meantime.
    """

    def __init__(self) -> None:
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="edgekit-")
        except OSError as error:
            raise OutputError(_no_room(error)) from error
        self._program: GraphModule | None = None
        self._log = (Path(self._folder.name) / "log").open("w+b")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edgekit.targets.tflite_worker"],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        )

    def start(self, program: GraphModule, size: InputSpec, *, fp16: bool = False) -> None:
        """Begin to write a program.

        Args:
            program: Its input is `(1, height, width, channels)`. A quantized program has an int8
                input already; a float one gets an int8 input that is cast to float first.
            size: The input's height, width and channels.
            fp16: Whether weights are stored as float16.

        Raises:
            ConversionError: The worker has ended already.
            OutputError: There is no room for temporary files.
        """
        import torch

        from edgekit.rewrite.graph import is_quantize
        from edgekit.rewrite.input_pixels import CastPixels

        self._program = program
        quantized = any(is_quantize(node) for node in program.graph.nodes)
        kind = torch.float32 if quantized else torch.int8
        example = torch.zeros(1, size.height, size.width, size.channels, dtype=kind)
        source = Path(self._folder.name) / "program.pt2"
        entered = program if quantized else CastPixels(program)
        saved = io.BytesIO()
        torch.export.save(torch.export.export(entered, (example,)), saved)
        try:
            source.write_bytes(saved.getbuffer())
        except OSError as error:
            raise OutputError(_no_room(error)) from error
        job = {
            "program": str(source),
            "output": str(self._output),
            "shape": list(example.shape),
            "quantized": quantized,
            "fp16": fp16,
        }
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.close()
        except BrokenPipeError as error:
            raise ConversionError(self._failure()) from error

    def result(self) -> bytes:
        """Wait for the flatbuffer.

        Raises ConversionError with the converter's exception, or the last line that it printed.
        """
        if self._process.wait() == DISK_FULL:
            raise OutputError(_no_room(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
        if self._process.returncode != 0 or not self._output.is_file():
            raise ConversionError(self._failure())
        return self._output.read_bytes()

    @property
    def _output(self) -> Path:
        return Path(self._folder.name) / "model.tflite"

    def _failure(self) -> str:
        from edgekit.rewrite.user_code import find_operator

        self._process.wait()
        self._log.seek(0)
        printed = self._log.read().decode(errors="replace")
        lines = [line.strip() for line in printed.splitlines()]
        spoken = [line for line in lines if line and "File " not in line]
        raised = [line for line in spoken if EXCEPTION.match(line)]
        last = (raised or spoken or ["it printed nothing"])[-1]
        operator = find_operator(self._program, last) if self._program is not None else None
        subject = f"the operator {operator}" if operator else "this network"
        return (
            f"litert-torch could not write {subject} (exit {self._process.returncode}):"
            f" {last[:LONGEST_REASON]}: write that part of the network with other operators, or"
            " report it"
        )

    def __enter__(self) -> TFLiteWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._log.close()
        self._folder.cleanup()
