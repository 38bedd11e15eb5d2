"""Makes the tables of one measured model: latency, threads, start, layers, energy, engine."""

from __future__ import annotations

from collections.abc import Iterator

from edgekit.board.machine import UNKNOWN
from edgekit.profile.record import LayerTime, MeasuredModel, ModelResult
from edgekit.profile.statistics import Distribution
from edgekit.report.table import Row, Table
from edgekit.report.wording import spell_bytes, spell_count, spell_energy, spell_layer, spell_ms
from edgekit.runtime.stage_clock import StageSummary

_LISTED_LAYERS = 10


def model_tables(result: ModelResult) -> Iterator[Table]:
    """The tables of one model, those without content left out."""
    yield _latency_table(result)
    if result.threads:
        yield _threads_table(result)
    if result.cold_start is not None:
        yield _start_table(result)
    if result.layers is not None:
        yield _layers_table(result)
    if result.model_power or result.frame_power:
        yield _power_table(result)
    yield _model_table(result)


def _latency_table(result: ModelResult) -> Table:
    rows = [_latency_row("model alone", result.model_ms, "")]
    whole = result.frame_ms.mean
    rows += [
        _latency_row(name, stage, f"{stage.mean / whole:.0%}")
        for name, stage in result.stages_ms.items()
    ]
    rows.append(_latency_row("whole frame", result.frame_ms, "100%"))
    return Table(
        title="Latency in ms",
        columns=("stage", "p50", "p90", "p95", "p99", "mean", "runs", "share"),
        rows=tuple(rows),
        note=(
            f"Longest run of the model alone {spell_ms(result.model_ms.max)} ms, longest frame"
            f" {spell_ms(result.frame_ms.max)} ms. Share: of the mean frame."
            f"{_spell_intervals(result)}"
        ),
    )


def _latency_row(name: str, latency: StageSummary | Distribution, share: str) -> Row:
    figures = (latency.p50, latency.p90, latency.p95, latency.p99, latency.mean)
    spoken = (UNKNOWN if value is None else spell_ms(value) for value in figures)
    return (name, *spoken, f"{latency.count:,}", share)


def _spell_intervals(result: ModelResult) -> str:
    """The 95 % intervals of the two medians, where the record holds them."""
    model, frame = result.model_p50_interval_ms, result.frame_p50_interval_ms
    if model is None or frame is None:
        return ""
    return (
        f" With 95 % confidence the model's median is in {spell_ms(model.low)} to"
        f" {spell_ms(model.high)} ms, the frame's in {spell_ms(frame.low)} to"
        f" {spell_ms(frame.high)} ms."
    )


def _start_table(result: ModelResult) -> Table:
    start = result.cold_start
    assert start is not None
    parts = (
        ("process and imports", start.process_s),
        ("model read, checked, made ready", start.load_s),
        ("source opened", start.source_s),
        ("first frame to first result", start.first_result_s),
    )
    whole = sum(seconds for _, seconds in parts)
    return Table(
        title="Cold start in s",
        columns=("part", "time", "share"),
        rows=tuple((name, f"{seconds:.3f}", f"{seconds / whole:.0%}") for name, seconds in parts),
        note=f"The start that took the median of {len(result.cold_starts_s)}.",
    )


def _layers_table(result: ModelResult) -> Table:
    layers = result.layers
    assert layers is not None
    longest = sorted(layers.parts, key=lambda part: -part.p50_ms)[:_LISTED_LAYERS]
    counted = any(part.multiply_adds is not None for part in longest)
    rows = []
    for part in longest:
        share = f"{part.p50_ms / layers.whole_ms:.0%}"
        adds = _spell_adds(part) if counted else ()
        rows.append((spell_layer(part.name), spell_ms(part.p50_ms), share, *adds))
    what = "of one invoke" if counted else "of the profiled inference"
    more = "; +n: and n more operators" if counted else ""
    surplus = f" ({layers.surplus:+.0%} of the whole)" if layers.surplus else ""
    warning = "" if layers.believable else " That is too much: do not rely on these parts."
    return Table(
        title="Time by layer" if len(longest) == len(layers.parts) else "The longest layers",
        columns=("layer", "ms", "share", *(("M adds", "GMAC/s") if counted else ())),
        rows=tuple(rows),
        note=(
            f"{spell_count(len(layers.parts), 'part')} that add up to the {layers.whole_ms:.3f} ms"
            f" {what}, medians of {layers.rounds:,} rounds{more}."
            f" How: {layers.method}{surplus}.{warning}"
        ),
    )


def _spell_adds(part: LayerTime) -> tuple[str, str]:
    """Million multiply-adds, and how many billions a second."""
    if part.multiply_adds is None:
        return UNKNOWN, UNKNOWN
    rate = f"{part.multiply_adds / part.p50_ms / 1e6:,.1f}" if part.p50_ms else UNKNOWN
    return f"{part.multiply_adds / 1e6:,.2f}", rate


def _power_table(result: ModelResult) -> Table:
    frames = {rail.rail: rail for rail in result.frame_power}
    models = {rail.rail: rail for rail in result.model_power}
    rows = []
    for name in dict.fromkeys([*models, *frames]):
        cells = [name]
        for rail in (models.get(name), frames.get(name)):
            cells.append(f"{rail.mean_w:.3f}" if rail else UNKNOWN)
            cells.append(spell_energy(rail.energy_mj) if rail else UNKNOWN)
        rows.append(tuple(cells))
    return Table(
        title="Power and energy",
        columns=("rail", "model, W", "an inference", "loop, W", "a frame"),
        rows=tuple(rows),
        note="What the board draws anyway is included. Rails may contain each other.",
    )


def _threads_table(result: ModelResult) -> Table:
    single = result.threads[0].latency_ms.p50
    return Table(
        title="Model alone by threads, in ms",
        columns=("threads", "p50", "p99", "runs", "speed-up"),
        rows=tuple(
            (
                str(point.threads),
                spell_ms(point.latency_ms.p50),
                spell_ms(point.latency_ms.p99),
                f"{point.latency_ms.count:,}",
                f"{single / point.latency_ms.p50:.2f}×",
            )
            for point in result.threads
        ),
    )


def _model_table(result: ModelResult) -> Table:
    model, engine = result.model, result.engine
    family = " ".join(part for part in (model.family, model.precision) if part)
    adds = UNKNOWN if model.multiply_adds is None else f"{model.multiply_adds / 1e6:,.1f} M"
    return Table(
        title="Model and engine",
        columns=("", ""),
        rows=(
            ("file", f"{model.file}, {spell_bytes(model.size_bytes)}"),
            ("family", family or UNKNOWN),
            ("input", _spell_input(model)),
            *([("output", model.reading)] if model.reading else []),
            ("multiply-adds", adds),
            ("sha256", f"{model.sha256[:16]}…"),
            ("runtime", f"{engine.runtime} {engine.version}"),
            *([("built on it in", f"{engine.build_s:.1f} s")] if engine.build_s else []),
            *_kernel_rows(result),
            *([("more threads", result.threads_unknown)] if result.threads_unknown else []),
            *([("time by layer", result.layers_unknown)] if result.layers_unknown else []),
        ),
        numeric=False,
    )


def _spell_input(model: MeasuredModel) -> str:
    """`320×64, 10 classes`; that images are RGB goes without saying."""
    color = ", grayscale" if model.input_channels == 1 else ""
    return f"{model.input_width}×{model.input_height}{color}, {model.classes:,} classes"


def _kernel_rows(result: ModelResult) -> list[tuple[str, str]]:
    """What computes: the GPU, or the delegate and what it leaves to the runtime's own kernels."""
    engine = result.engine
    if engine.gpu is not None:
        return [("GPU", engine.gpu)]
    outside = ", ".join(f"{count} {name}" for name, count in engine.operators_outside.items())
    partitions = spell_count(engine.delegated_partitions, "partition")
    return [
        ("delegate", f"{engine.delegate}, {partitions}" if engine.delegate else "none"),
        ("operators outside it", outside or "none"),
        ("multiply-adds by kernel", _spell_shares(result)),
    ]


def _spell_shares(result: ModelResult) -> str:
    """What share of the multiply-adds the delegate runs, and what the runtime's own kernels."""
    graph = result.graph
    if graph is None or not graph.multiply_adds:
        return UNKNOWN
    share = graph.delegated / graph.multiply_adds
    if result.engine.delegate is None:
        return "100% plain kernels"
    return f"{share:.1%} {result.engine.delegate}, {1 - share:.1%} plain kernels"
