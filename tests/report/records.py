"""Made-up records: what a Pi 4 with a slow camera might have given."""

from __future__ import annotations

import msgspec
import numpy as np

from edgekit.board.conditions import CpuShare, Snapshot
from edgekit.board.machine import Device, Timer
from edgekit.board.power import energy_per_run
from edgekit.engines.base import EngineDescription, LayerProfile
from edgekit.profile import tensorrt_layers
from edgekit.profile.layer_timing import METHOD
from edgekit.profile.record import (
    Chunk,
    ColdStart,
    Conditions,
    GraphCost,
    LayerTime,
    LayerTimes,
    MeasuredModel,
    ModelResult,
    Report,
    Settings,
    ThreadPoint,
    WarmUp,
)
from edgekit.profile.statistics import median_interval, summarize_latencies
from edgekit.runtime.stage_clock import StageSummary
from edgekit.spec import Accuracy

DEVICE = Device(
    board="Raspberry Pi 4 Model B Rev 1.4",
    cpu="Cortex-A72",
    architecture="aarch64",
    cores=4,
    memory_bytes=3_977_551_872,
    os="Debian GNU/Linux 12 (bookworm)",
    kernel="6.12.25+rpt-rpi-v8",
    python="3.11.2",
    edgekit="0.1.0",
    packages={"ai-edge-litert": "2.3.0", "numpy": "1.24.2", "opencv": "4.6.0"},
)
STAGES = {"capture": 2.1, "preprocess": 0.9, "inference": 1.0, "postprocess": 0.2, "output": 0.05}


def make_result(name: str = "digits", median_ms: float = 18.0, seed: int = 0) -> ModelResult:
    """Latencies around `median_ms` with a tail, in four turns of 2 s."""
    generator = np.random.default_rng(seed)
    turns = [median_ms * (0.98 + generator.gamma(1.2, 0.016, 110)) for _ in range(4)]
    turns[2][40] = 3.1 * median_ms
    model_ms = summarize_latencies(np.concatenate(turns))
    frames = [turn + 4.2 for turn in turns]
    stages = {
        stage: (latency if stage != "inference" else median_ms) for stage, latency in STAGES.items()
    }
    return ModelResult(
        model=MeasuredModel(
            name=name,
            file=f"{name}.edgekit",
            sha256="7a" * 32,
            size_bytes=3_610_798,
            input_height=224,
            input_width=224,
            classes=10,
            family="mobilenet_v2",
            precision="int8",
            multiply_adds=300_774_272,
        ),
        engine=EngineDescription(
            runtime="ai-edge-litert",
            version="2.3.0",
            threads=1,
            delegate="XNNPACK",
            delegated_partitions=2,
            operators_outside={"AVERAGE_POOL_2D": 1},
        ),
        warmup=WarmUp(rule="until stable", runs=25, seconds=0.5, stable=True),
        model_ms=model_ms,
        model_drift=0.004,
        model_samples=make_chunks(turns, 0.0),
        stages_ms={
            stage: StageSummary(
                p50=ms, p90=ms * 1.1, p95=ms * 1.2, p99=ms * 1.5, mean=ms * 1.02, count=440
            )
            for stage, ms in stages.items()
        },
        frame_ms=summarize_latencies(np.concatenate(frames)),
        frame_samples=make_chunks(frames, 2.0),
        throughput_fps=1000 / (median_ms + 4.2),
        cold_start_s=1.31,
        cold_starts_s=(1.62, 1.31, 1.29),
        memory_peak_bytes=81_000_000,
        threads=tuple(
            ThreadPoint(threads=count, latency_ms=summarize_latencies(turns[0] / count**0.8))
            for count in (1, 2, 3, 4)
        ),
        multiply_adds_per_s=300_774_272 / model_ms.p50 * 1e3,
        multiply_adds_peak_per_s=57.6e9,
        model_p50_interval_ms=median_interval(np.concatenate(turns)),
        frame_p50_interval_ms=median_interval(np.concatenate(frames)),
        cold_start=ColdStart(process_s=0.9, load_s=0.3, source_s=0.06, first_result_s=0.05),
        graph=GraphCost(multiply_adds=300_774_272, delegated=300_000_000),
        layers=make_layers(median_ms),
        model_power=energy_per_run(make_conditions().during, [(5.0, 7.0), (9.0, 11.0)], 220),
        frame_power=energy_per_run(make_conditions().during, [(7.0, 9.0), (11.0, 13.0)], 180),
    )


def make_layers(whole_ms: float, count: int = 27) -> LayerTimes:
    """A network whose later layers take less, one of them outside the delegate."""
    weights = np.linspace(3, 1, count)
    times = whole_ms * weights / weights.sum()
    return LayerTimes(
        method=METHOD,
        rounds=64,
        whole_ms=whole_ms,
        surplus=0.06,
        parts=tuple(
            LayerTime(
                name=f"{index} {'DEPTHWISE_' if index % 2 else ''}CONV_2D 56×56×{8 * index + 16}",
                operators=1,
                multiply_adds=9_000_000,
                delegated_multiply_adds=0 if index == 20 else 9_000_000,
                p50_ms=round(float(time_ms), 6),
            )
            for index, time_ms in enumerate(times)
        ),
    )


def on_gpu(result: ModelResult, gpu: str = "NVIDIA H200 (SM90)") -> ModelResult:
    """`result` as TensorRT gives it, with names of layers that TensorRT 8.6 gave on an H200."""
    layers = {
        "{ForeignNode[node__to_copy]}": [0.0057] * 3,
        "PWN(val_0 + (Unnamed Layer* 2) [Shuffle], node_sub)": [0.005] * 3,
        "program._frozen_param0_value + node_dequantize_per_channel_quantize + node_conv2d"
        " + node_relu": [0.0055] * 3,
        "program._frozen_param23_value + node_dequantize_per_channel_23_quantize"
        " + node_conv2d_23": [0.0101] * 3,
    }
    engine = EngineDescription(
        runtime="tensorrt",
        version="8.6.0",
        threads=1,
        delegate=gpu,
        delegated_partitions=1,
        operators_outside={},
        build_s=37.2,
    )
    return msgspec.structs.replace(
        result,
        engine=engine,
        graph=None,
        layers=tensorrt_layers.summarize_layers(LayerProfile(list(layers.items()), 3)),
    )


def with_accuracy(result: ModelResult, top1: float) -> ModelResult:
    """`result` with an accuracy on 1,000 images."""
    accuracy = Accuracy(top1=top1, top5=95.0, images=1000, agreement=93.5, sqnr_db=24.1)
    return msgspec.structs.replace(result, accuracy=accuracy)


def make_chunks(turns: list[np.ndarray], offset_s: float) -> tuple[Chunk, ...]:
    return tuple(
        Chunk(
            start_s=5.0 + offset_s + 4 * index,
            duration_s=2.0,
            stride=1,
            latency_ms=tuple(turn.round(4).tolist()),
        )
        for index, turn in enumerate(turns)
    )


def make_conditions(warming_c: float = 6.0) -> Conditions:
    readings = [
        Snapshot(
            time_s=0.5 * index,
            temperature_c=round(52.0 + warming_c * (1 - 0.9**index), 1),
            clocks_mhz=(1800, 600, 600, 600),
            clock_limit_mhz=1800,
            governor="ondemand",
            throttled=0,
            memory_available_bytes=3_200_000_000,
            swap_used_bytes=0,
            swapped_pages=76,
            load_1min=0.4,
            power_w={"VDD_IN": round(4.1 + 0.2 * (index % 3), 2)},
        )
        for index in range(44)
    ]
    return Conditions(
        before=msgspec.structs.replace(readings[0], clocks_mhz=(600,) * 4),
        during=tuple(readings[1:-1]),
        after=readings[-1],
        cpu=CpuShare(elapsed_s=16.4, own=1.01, others=0.03, steal=0.0, waiting=0.002),
    )


def make_report(
    *results: ModelResult, device: Device = DEVICE, reasons: tuple[str, ...] = ()
) -> Report:
    """A record of `results`, trusted unless there are `reasons` against it."""
    return Report(
        created="2025-01-01T12:00:00+00:00",
        device=device,
        conditions=make_conditions(),
        settings=Settings(
            duration_s=8.0,
            threads=1,
            rounds=4,
            source="video digits.mp4 (640x480, 30 fps, 240 frames)",
            timer=Timer(name="clock_gettime(CLOCK_MONOTONIC)", step_ns=37, read_ns=111),
        ),
        results=results or (make_result(),),
        trusted=not reasons,
        reasons=reasons,
    )
