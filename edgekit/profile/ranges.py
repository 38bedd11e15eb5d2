"""The ranges of a record's numbers: what lies beyond them was never measured."""

from __future__ import annotations

from typing import Annotated

import msgspec

_MOST = 1e15
_MOST_COUNTED = 10**18

Positive = Annotated[float, msgspec.Meta(ge=1e-9, le=_MOST)]
NotNegative = Annotated[float, msgspec.Meta(ge=0, le=_MOST)]
Bounded = Annotated[float, msgspec.Meta(ge=-_MOST, le=_MOST)]
PositiveCount = Annotated[int, msgspec.Meta(ge=1, le=_MOST_COUNTED)]
Count = Annotated[int, msgspec.Meta(ge=0, le=_MOST_COUNTED)]
Share = Annotated[float, msgspec.Meta(ge=-1, le=_MOST)]
"""A change of something positive: it cannot lose more than all of itself."""
Percentage = Annotated[float, msgspec.Meta(ge=0, le=100)]
