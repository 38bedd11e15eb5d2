"""Finds the installed TensorRT and what it can do, which is asked of it and not of its version."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

from edgekit.errors import MissingPackageError

_MODULES = ("tensorrt", "tensorrt_rtx")


class Library(NamedTuple):
    """An imported TensorRT: NVIDIA's `tensorrt` (JetPack's), or `tensorrt_rtx`, which has the same
    classes and builds on a machine without a GPU."""

    module: Any
    name: str
    version: str

    def find_flag(self, name: str) -> Any | None:
        """`BuilderFlag.name`, None where this version has none: INT8 and FP16 end with 11."""
        return getattr(self.module.BuilderFlag, name, None)

    @property
    def network_flags(self) -> int:
        """What `create_network` wants: an explicit batch where that is not the only kind."""
        flags = self.module.NetworkDefinitionCreationFlag
        explicit = getattr(flags, "EXPLICIT_BATCH", None)
        return 0 if explicit is None else 1 << int(explicit)

    @property
    def has_progress(self) -> bool:
        return hasattr(self.module, "IProgressMonitor")

    @property
    def has_timing_cache(self) -> bool:
        """Whether kernels are timed while building: TensorRT-RTX compiles them where it runs."""
        return not self.capabilities

    @property
    def capabilities(self) -> tuple[str, ...]:
        """The compute capabilities that it can be asked to build for, as `SM86`.

        It is () where the GPU's own is taken: in all but TensorRT-RTX.
        """
        known = getattr(self.module, "ComputeCapability", None)
        names = known.__members__ if known is not None else ()
        return tuple(name for name in names if name.startswith("SM"))


def find_library() -> Library:
    """Import TensorRT. Raises MissingPackageError where there is none."""
    reasons = []
    for name in _MODULES:
        try:
            module = import_module(name)
        except (ImportError, OSError) as error:
            # The second: a system library that the package needs is missing.
            reasons.append(str(error).partition("\n")[0])
            continue
        return Library(module, name.replace("_", "-"), str(module.__version__))
    raise MissingPackageError(
        f"TensorRT cannot be imported ({'; '.join(reasons)}): on a Jetson, sudo apt install"
        " nvidia-jetpack and a virtual environment made with --system-site-packages; on a"
        " workstation, pip install tensorrt-rtx-cu12"
    )
