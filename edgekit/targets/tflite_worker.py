"""The worker process of `TFLiteWriter`: reads one job as a JSON line, writes one flatbuffer."""

from __future__ import annotations

import ctypes
import errno
import json
import signal
import sys
from pathlib import Path

import torch

from edgekit.targets.tflite import DISK_FULL

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Import litert-torch, wait for the job, convert."""
    import litert_torch
    import torchao.quantization.pt2e  # noqa: F401  registers the quantize and dequantize operators
    from litert_torch.quantize import pt2e_quantizer
    from litert_torch.quantize.quant_config import QuantConfig

    torch.set_num_threads(1)
    line = sys.stdin.readline()
    if not line:
        return
    job = json.loads(line)
    program = torch.export.load(job["program"]).module()
    options = {}
    kind = torch.int8
    if job["quantized"]:
        # The converter asks the quantizer only whether quantization is static.
        static = pt2e_quantizer.get_symmetric_quantization_config(is_per_channel=True)
        quantizer = pt2e_quantizer.PT2EQuantizer().set_global(static)
        options, kind = {"quant_config": QuantConfig(pt2e_quantizer=quantizer)}, torch.float32
    make_contiguous(program)
    program.training = False  # an exported program knows no eval(), and litert-torch warns
    model = litert_torch.convert(program, (torch.zeros(job["shape"], dtype=kind),), **options)
    content = model.model_content()
    if job["fp16"]:
        content = store_fp16(content)
    Path(job["output"]).write_bytes(content)


def make_contiguous(program: torch.nn.Module) -> None:
    """Store every weight in the order of its axes, in place.

    litert-torch 0.10 copies a weight of another order, and identifies weights by the address of
    the copy. The next copy may be at the same address: that layer then got the weights of the one
    before.
    """
    for tensor in (*program.parameters(), *program.buffers()):
        tensor.data = tensor.data.contiguous()


def store_fp16(model: bytes) -> bytes:
    """Store the weights of a float flatbuffer as float16; the runtime computes as before."""
    from ai_edge_quantizer import qtyping, quantizer
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    converter = quantizer.Quantizer(model)
    converter.update_quantization_recipe(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        op_config=qtyping.OpQuantizationConfig(
            weight_tensor_config=qtyping.TensorQuantizationConfig(
                num_bits=16, dtype=qtyping.TensorDataType.FLOAT
            ),
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        ),
        algorithm_key=AlgorithmName.FLOAT_CASTING,
    )
    result: bytes = bytes(converter.quantize().quantized_model)
    return result


def _die_with_parent() -> None:
    """Ask Linux to end this process when its parent, which reads the result, ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    _die_with_parent()
    try:
        main()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        sys.exit(DISK_FULL)
