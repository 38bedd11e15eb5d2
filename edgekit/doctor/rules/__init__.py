"""The rules: what a machine may lack, how that reads, and the command that fixes it.

Rules of one name are listed together, the gravest first: the first that holds is the check's
answer, so a rule may rely on those above it. A check none of whose rules holds is left out. `fail`:
something that edgekit does cannot work here. `warn`: it works, but slower, with gaps, or not for
long. Texts are formatted with the facts as `f`.
"""

from edgekit.doctor.rules.base import Rule, Status
from edgekit.doctor.rules.camera_rules import CAMERA_RULES
from edgekit.doctor.rules.condition_rules import CONDITION_RULES
from edgekit.doctor.rules.nvidia_rules import NVIDIA_RULES
from edgekit.doctor.rules.opencv_rules import OPENCV_RULES
from edgekit.doctor.rules.runtime_rules import NUMPY_RULES, RUNTIME_RULES
from edgekit.doctor.rules.system_rules import NEWEST_PYTHON, OLDEST_PYTHON, SYSTEM_RULES

__all__ = ["NEWEST_PYTHON", "OLDEST_PYTHON", "RULES", "Rule", "Status"]

RULES = (
    *SYSTEM_RULES,
    *NVIDIA_RULES,
    *NUMPY_RULES,
    *RUNTIME_RULES,
    *OPENCV_RULES,
    *CAMERA_RULES,
    *CONDITION_RULES,
)
"""In the order of the answer."""
