"""Every target is one line of the registry and one module, which loads without heavy libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgekit.errors import SettingsError
from edgekit.spec import TARGETS
from edgekit.targets import find_target
from tests.environments import REPOSITORY

HEAVY = ("torch", "onnx", "onnxruntime", "cv2", "numpy", "litert_torch")


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_is_found_by_its_name(name: str) -> None:
    target = find_target(name)
    assert target.name == name
    assert target.backend.plan is not None
    assert {"torch", "torchao"} <= set(target.tools)
    assert target.pixel_type in ("int8", "uint8")


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"target 'tpu' is not known: expected one of pi, jets"):
        find_target("tpu")


@pytest.mark.parametrize("name", TARGETS)
def test_a_writer_opens_before_pytorch_is_imported(name: str) -> None:
    """Its processes load what they need while PyTorch is imported in this one."""
    program = (
        "import sys\n"
        "from edgekit.conversion.convert import convert\n"
        "from edgekit.targets import find_target\n"
        "from edgekit.targets.base import WriterOptions\n"
        f"with find_target({name!r}).open_writer(WriterOptions('int8', True)):\n"
        f"    print(sorted({set(HEAVY)!r} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
