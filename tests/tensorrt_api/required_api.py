"""What edgekit's TensorRT code calls, and in which releases it must therefore exist.

A call that only some releases have gets the set of those: the code must ask before it makes it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from tests.tensorrt_api.bindings import MODULE, RELEASES

ALL: Literal["all"] = "all"
SINCE_10 = frozenset(release.name for release in RELEASES) - {"8.6.1"}
WEAKLY_TYPED = frozenset({"8.6.1", "10.3.0", "10.13.3.9", "10.16.1.11"})
"""Releases in which a precision is a builder flag; afterwards the ONNX alone decides."""
RTX = frozenset({"rtx-1.7.1"})


class RequiredMember(NamedTuple):
    """One row: a class of the module, or `tensorrt` for the module itself, and its member."""

    class_name: str
    member: str
    needed_in: Literal["all"] | frozenset[str]

    def __str__(self) -> str:
        return f"{self.class_name}.{self.member}"


REQUIRED = tuple(
    RequiredMember(*row)
    for row in (
        (MODULE, "__version__", ALL),
        ("ILogger", "__init__", ALL),
        ("ILogger", "log", ALL),
        ("ILogger.Severity", "INTERNAL_ERROR", ALL),
        ("ILogger.Severity", "ERROR", ALL),
        # Build.
        ("Builder", "__init__", ALL),
        ("Builder", "create_network", ALL),
        ("Builder", "create_builder_config", ALL),
        ("Builder", "build_serialized_network", ALL),
        ("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH", WEAKLY_TYPED),
        ("INetworkDefinition", "num_outputs", ALL),
        ("OnnxParser", "__init__", ALL),
        ("OnnxParser", "parse", ALL),
        ("OnnxParser", "num_errors", ALL),
        ("OnnxParser", "get_error", ALL),
        ("ParserError", "desc", ALL),
        ("ParserError", "node", ALL),
        ("ParserError", "node_name", SINCE_10),
        ("ParserError", "node_operator", SINCE_10),
        ("IBuilderConfig", "profiling_verbosity", ALL),
        ("ProfilingVerbosity", "DETAILED", ALL),
        ("IBuilderConfig", "set_flag", ALL),
        ("BuilderFlag", "INT8", WEAKLY_TYPED),
        ("BuilderFlag", "FP16", WEAKLY_TYPED),
        ("IBuilderConfig", "set_memory_pool_limit", ALL),
        ("MemoryPoolType", "WORKSPACE", ALL),
        ("IBuilderConfig", "create_timing_cache", ALL),
        ("IBuilderConfig", "set_timing_cache", ALL),
        ("IBuilderConfig", "get_timing_cache", ALL),
        ("ITimingCache", "serialize", ALL),
        ("IBuilderConfig", "num_compute_capabilities", RTX),
        ("IBuilderConfig", "set_compute_capability", RTX),
        ("ComputeCapability", "SM86", RTX),
        ("IBuilderConfig", "progress_monitor", SINCE_10),
        ("IProgressMonitor", "__init__", SINCE_10),
        ("IProgressMonitor", "phase_start", SINCE_10),
        ("IProgressMonitor", "step_complete", SINCE_10),
        ("IProgressMonitor", "phase_finish", SINCE_10),
        # Run.
        ("Runtime", "__init__", ALL),
        ("Runtime", "deserialize_cuda_engine", ALL),
        ("ICudaEngine", "num_io_tensors", ALL),
        ("ICudaEngine", "get_tensor_name", ALL),
        ("ICudaEngine", "get_tensor_mode", ALL),
        ("ICudaEngine", "get_tensor_shape", ALL),
        ("ICudaEngine", "get_tensor_dtype", ALL),
        ("TensorIOMode", "INPUT", ALL),
        ("TensorIOMode", "OUTPUT", ALL),
        ("DataType", "UINT8", ALL),
        ("DataType", "FLOAT", ALL),
        ("ICudaEngine", "create_execution_context", ALL),
        ("IExecutionContext", "set_tensor_address", ALL),
        ("IExecutionContext", "execute_async_v3", ALL),
        ("IExecutionContext", "profiler", ALL),
        ("IProfiler", "__init__", ALL),
        ("IProfiler", "report_layer_time", ALL),
    )
)
