"""The float networks of the workbench half, as PyTorch modules, by name of their family.

`FAMILIES["mobilenet_v2"].build(width=0.5, classes=10)` builds one, and `find_family` looks a family
up for a user. The layers of the separable and MicroNet networks are offered for own networks. A new
family is one file with a `Family` record and one line here. The import raises `MissingPackageError`
where PyTorch is not installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edgekit.errors import MissingPackageError, SettingsError

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingPackageError(
        "PyTorch is not installed, and checkpoints need it: pip install 'edgekit[convert]'"
    ) from error

from edgekit.models.family import Family, PublishedAccuracy
from edgekit.models.micro_layers import (
    DynamicShiftMax,
    MicroFactorizedDepthwise,
    MicroFactorizedPointwise,
)
from edgekit.models.micronet import MICRONET_M0, MICRONET_M1, MICRONET_M2, MICRONET_M3
from edgekit.models.micronet_preprint import (
    MICRONET_M0_PREPRINT,
    MicroBlockA,
    MicroBlockB,
    MicroBlockC,
)
from edgekit.models.mobilenet_v1 import CONV_MOBILENET, MOBILENET_V1, SHALLOW_MOBILENET
from edgekit.models.mobilenet_v2 import MOBILENET_V2
from edgekit.models.mobilenet_v3 import (
    MOBILENET_V3_LARGE,
    MOBILENET_V3_LARGE_MINIMAL,
    MOBILENET_V3_SMALL,
    MOBILENET_V3_SMALL_MINIMAL,
)
from edgekit.models.mobilenet_v4 import (
    MOBILENET_V4_CONV_LARGE,
    MOBILENET_V4_CONV_MEDIUM,
    MOBILENET_V4_CONV_SMALL,
)
from edgekit.models.separable import DepthwiseConv, PointwiseConv, SeparableConv

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.name: family
        for family in (
            MOBILENET_V1,
            CONV_MOBILENET,
            SHALLOW_MOBILENET,
            MOBILENET_V2,
            MOBILENET_V3_SMALL,
            MOBILENET_V3_LARGE,
            MOBILENET_V3_SMALL_MINIMAL,
            MOBILENET_V3_LARGE_MINIMAL,
            MOBILENET_V4_CONV_SMALL,
            MOBILENET_V4_CONV_MEDIUM,
            MOBILENET_V4_CONV_LARGE,
            MICRONET_M0,
            MICRONET_M1,
            MICRONET_M2,
            MICRONET_M3,
            MICRONET_M0_PREPRINT,
        )
    }
)


def find_family(name: str) -> Family:
    """The family called `name`. Raises SettingsError, which lists the names, for another one."""
    if name not in FAMILIES:
        raise SettingsError(f"no family is called {name!r}: expected one of {', '.join(FAMILIES)}")
    return FAMILIES[name]


__all__ = [
    "FAMILIES",
    "DepthwiseConv",
    "DynamicShiftMax",
    "Family",
    "MicroBlockA",
    "MicroBlockB",
    "MicroBlockC",
    "MicroFactorizedDepthwise",
    "MicroFactorizedPointwise",
    "PointwiseConv",
    "PublishedAccuracy",
    "SeparableConv",
    "find_family",
]
