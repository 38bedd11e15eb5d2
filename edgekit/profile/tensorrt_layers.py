"""Converts the figures of TensorRT's profiler to the layer times of a benchmark report."""

from __future__ import annotations

import numpy as np

from edgekit.engines.base import LayerProfile
from edgekit.profile.record import LayerTime, LayerTimes

METHOD = (
    "TensorRT's profiler, which waits for every layer; medians of each layer, as fused by TensorRT;"
    " the whole is their sum"
)


def summarize_layers(profile: LayerProfile) -> LayerTimes:
    """Compute the median time of each layer; the first run warms up and is left out."""
    parts = tuple(
        LayerTime(
            name=f"{index} {name}",
            operators=1,
            multiply_adds=None,
            delegated_multiply_adds=None,
            p50_ms=round(float(np.median(times[1:] or times)), 6),
        )
        for index, (name, times) in enumerate(profile.layers)
    )
    return LayerTimes(
        method=METHOD,
        rounds=max(1, profile.runs - 1),
        whole_ms=round(sum(part.p50_ms for part in parts), 6),
        surplus=0.0,
        parts=parts,
    )
