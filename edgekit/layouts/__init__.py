"""Lists the names that other implementations give to a family's layers: one table a layout.

A layout names layers only. `subset` compares the paths first and `widths` the shapes afterwards,
because several families and widths share a set of paths. So a table must name every layer, and no
layer twice: a missing one makes all checkpoints of the layout unknown.
"""

from __future__ import annotations

from edgekit.layouts.base import Layout
from edgekit.layouts.micronet_names import MICRONET_LAYOUTS
from edgekit.layouts.v1_names import V1_LAYOUTS
from edgekit.layouts.v2_names import V2_LAYOUTS
from edgekit.layouts.v3_names import V3_LAYOUTS
from edgekit.layouts.v4_names import V4_LAYOUTS

LAYOUTS: tuple[Layout, ...] = (
    *V1_LAYOUTS,
    *V2_LAYOUTS,
    *V3_LAYOUTS,
    *V4_LAYOUTS,
    *MICRONET_LAYOUTS,
)
"""The layouts of other implementations. `networks.own_layout` reads edgekit's own names from its
modules."""

__all__ = ["LAYOUTS", "Layout"]
