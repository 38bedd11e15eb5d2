"""The graphs that edgekit writes beside litert-torch's own: latency, operators and exactness.

    python benchmarks/deployment_graphs.py [FAMILY ...] [--runs 1500] [--seconds 3] [--rounds 10]
        [--recipe fast] [--details] [--json FILE]

Each family's network (width 1, 1000 classes, the family's own input size) is newly initialised
from a fixed seed, its batch norms with random statistics: latency does not depend on the values.
It is written in five ways: by litert-torch alone, in float and with its own static int8 quantizer
(normalized NCHW input); by edgekit in float on a normalized NHWC input, in float as a bundle holds
it (8-bit pixels, normalization in the graph), and in int8 (8-bit pixels, calibrated on 64
photographs). LiteRT runs all five in this process with one thread, in rounds that take turns: up
to --runs invokes of each, within --seconds.

Prints Markdown tables: latencies (median, and the best in brackets) with the ratios of medians;
what each graph holds; and how far rewriting moves the logits on random images. Exit 1 when it
moves them by more than 1e-12 in float64.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from deployment_variants import (
    EDGEKIT_FLOAT,
    EDGEKIT_INT8,
    PLAIN_FLOAT,
    PLAIN_INT8,
    VARIANTS,
    write_variants,
)
from results import make_parser, save_result
from tables import tabulate_deployment

from edgekit.conversion.convert import limit_threads
from edgekit.engines import tflite_graph
from edgekit.engines.tflite_graph import list_operators, open_interpreter
from edgekit.models import FAMILIES, find_family
from edgekit.models.cost import count_family
from edgekit.quantize.recipe import load_recipe
from edgekit.report.wording import spell_count

LIMIT = 1e-12
CALIBRATION_IMAGES = 64
WARM_UP = 0.1
"""Share of a block's runs and seconds that is run before it and not counted."""
RATIOS = {
    "float_plain_to_edgekit": (PLAIN_FLOAT, EDGEKIT_FLOAT),
    "int8_plain_to_edgekit": (PLAIN_INT8, EDGEKIT_INT8),
    "edgekit_float_to_int8": (EDGEKIT_FLOAT, EDGEKIT_INT8),
}


class Graph(NamedTuple):
    """What a flatbuffer holds. `partitions` counts the delegate's parts of the graph, `outside` the
    operators that it did not take."""

    size_bytes: int
    operators: dict[str, int]
    partitions: int
    outside: dict[str, int]

    @property
    def counts(self) -> dict[str, int]:
        """The operators that only move or recode values."""
        groups = {
            "TRANSPOSE": ("TRANSPOSE",),
            "GATHER": ("GATHER", "GATHER_ND"),
            "QUANTIZE": ("QUANTIZE", "DEQUANTIZE"),
        }
        return {
            group: sum(self.operators.get(name, 0) for name in names)
            for group, names in groups.items()
        }


class Measured(NamedTuple):
    """One variant of one network."""

    best_ms: float
    p50_ms: float
    runs: int
    graph: Graph


class Network(NamedTuple):
    """One row of the tables."""

    name: str
    input_size: int
    multiply_adds: int
    variants: dict[str, Measured]
    differences: dict[str, float]
    left_float: tuple[str, ...]

    @property
    def ratios(self) -> dict[str, float]:
        """How many times as long the first takes, by the medians."""
        return {
            title: self.variants[first].p50_ms / self.variants[second].p50_ms
            for title, (first, second) in RATIOS.items()
        }


def measure_network(name: str, options: argparse.Namespace) -> Network:
    """Write all variants, then time them with nothing else running here."""
    family = FAMILIES[name]
    photographs = options.data / "images" / "calibration"
    recipe = load_recipe(options.recipe)
    written = write_variants(name, photographs, CALIBRATION_IMAGES, recipe)
    interpreters = {variant: open_ready(model) for variant, model in written.models.items()}
    laps = time_interleaved(interpreters, options.runs, options.rounds, options.seconds)
    return Network(
        name=name,
        input_size=family.input_size,
        multiply_adds=count_family(family, 1.0, family.input_size).multiply_adds,
        variants={
            variant: Measured(
                best_ms=min(laps[variant]) / 1e6,
                p50_ms=float(np.median(laps[variant])) / 1e6,
                runs=len(laps[variant]),
                graph=read_graph(interpreter, len(written.models[variant])),
            )
            for variant, interpreter in interpreters.items()
        },
        differences=written.differences,
        left_float=written.left_float,
    )


def open_ready(model: bytes) -> Any:
    """An interpreter with one thread and a random input."""
    interpreter = open_interpreter("ai-edge-litert", model, threads=1)
    (source,) = interpreter.get_input_details()
    generator = np.random.default_rng(0)
    if source["dtype"] == np.int8:
        image = generator.integers(-128, 128, source["shape"], np.int8)
    else:
        image = generator.standard_normal(source["shape"], np.float32)
    interpreter.set_tensor(source["index"], image)
    return interpreter


def time_interleaved(
    interpreters: Mapping[str, Any], runs: int, rounds: int, seconds: float
) -> dict[str, list[int]]:
    """The laps of each in ns, up to `runs` in `seconds`; at least one a round."""
    laps: dict[str, list[int]] = {variant: [] for variant in interpreters}
    count, limit_ns = -(-runs // rounds), seconds / rounds * 1e9
    for _ in range(rounds):
        for variant, interpreter in interpreters.items():
            time_block(interpreter, int(count * WARM_UP), limit_ns * WARM_UP)
            laps[variant] += time_block(interpreter, count, limit_ns)
    return laps


def time_block(interpreter: Any, count: int, limit_ns: float) -> list[int]:
    """Up to `count` laps in ns, no more once `limit_ns` are over; at least one."""
    invoke, clock = interpreter.invoke, time.perf_counter_ns
    laps: list[int] = []
    end = clock() + limit_ns
    while not laps or (len(laps) < count and clock() < end):
        began = clock()
        invoke()
        laps.append(clock() - began)
    return laps


def read_graph(interpreter: Any, size_bytes: int) -> Graph:
    operators = list_operators(interpreter, "XNNPACK")
    return Graph(
        size_bytes=size_bytes,
        operators=dict(Counter(op.name for op in operators).most_common()),
        partitions=len(tflite_graph.read_graph(interpreter).delegates),
        outside=dict(Counter(op.name for op in operators if op.delegate is None).most_common()),
    )


def describe_graph(graph: Graph) -> str:
    """`79` for a graph that one delegate partition takes whole and that moves nothing; else what
    there is."""
    notes = [f"{count} {group}" for group, count in graph.counts.items() if count]
    if graph.partitions != 1:
        notes.append(spell_count(graph.partitions, "partition"))
    if graph.outside:
        notes.append(f"{sum(graph.outside.values())} outside")
    return ": ".join([str(sum(graph.operators.values())), *([", ".join(notes)] if notes else [])])


def print_header(columns: Sequence[str]) -> None:
    print(f"| {' | '.join(columns)} |")
    print("|---|" + "--:|" * (len(columns) - 1))


def print_row(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def print_graphs(networks: Sequence[Network]) -> None:
    print("\nOperators; in one delegate partition, none of them moving or recoding, but for:\n")
    print_header(["network", *VARIANTS])
    for network in networks:
        print_row(network.name, *(describe_graph(one.graph) for one in network.variants.values()))
    for network in networks:
        if network.left_float:
            print(f"\n{network.name} in int8: left in float: {', '.join(network.left_float)}")


def print_differences(networks: Sequence[Network]) -> None:
    print("\nRelative difference of the logits from the module's own in float64, random images:\n")
    print_header(["network", *networks[0].differences])
    for network in networks:
        print_row(network.name, *(f"{value:.1e}" for value in network.differences.values()))


def print_details(networks: Sequence[Network]) -> None:
    print("\nOperators by kind:\n")
    for network in networks:
        for variant, measured in network.variants.items():
            kinds = ", ".join(f"{n} {name}" for name, n in measured.graph.operators.items())
            print(f"- {network.name}, {variant}: {kinds}")
            if measured.graph.outside:
                outside = ", ".join(f"{n} {name}" for name, n in measured.graph.outside.items())
                print(f"  - outside the delegate: {outside}")


def describe_network(network: Network) -> dict[str, Any]:
    """The record of one network."""
    variants = {
        variant: measured._asdict() | {"graph": measured.graph._asdict() | measured.graph.counts}
        for variant, measured in network.variants.items()
    }
    changed = {"title": FAMILIES[network.name].title, "variants": variants}
    return network._asdict() | changed | {"ratios": network.ratios}


def describe_run(options: argparse.Namespace, networks: Sequence[Network]) -> dict[str, Any]:
    """The figures of the result."""
    return {
        "runs": options.runs,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "recipe": options.recipe,
        "threads": 1,
        "networks": {network.name: describe_network(network) for network in networks},
    }


def read_options() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help="default: all of them")
    parser.add_argument("--runs", type=int, default=1500, help="invokes of each variant, at most")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each variant, at most")
    parser.add_argument("--rounds", type=int, default=10, help="turns that the runs are cut into")
    parser.add_argument("--recipe", default="fast", help="of edgekit's int8")
    parser.add_argument("--details", action="store_true", help="operators by kind")
    options = parser.parse_args()
    options.families = [find_family(name).name for name in options.families] or list(FAMILIES)
    return options


def main() -> None:
    options = read_options()
    limit_threads()
    print(f"ms a run, median (best), one thread; load {os.getloadavg()[0]:.1f}\n")
    networks: list[Network] = []
    for name in options.families:
        networks.append(measure_network(name, options))
        ratios = ", ".join(f"{key} {ratio:.2f}" for key, ratio in networks[-1].ratios.items())
        print(f"{name}: {ratios}", file=sys.stderr, flush=True)
        figures = describe_run(options, networks)
        save_result(options.json, figures)
    print(tabulate_deployment(figures))
    print_graphs(networks)
    print_differences(networks)
    if options.details:
        print_details(networks)
    compared = ("float passes, float64", "int8 passes, float64")
    sys.exit(any(network.differences[run] > LIMIT for network in networks for run in compared))


if __name__ == "__main__":
    main()
