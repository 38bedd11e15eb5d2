"""How results become the tables and plots of the documentation, for `fill_tables.py`.

In: the figures of all results, by the results' names (`benchmarks/results/NAME.json`). Out:
Markdown, or an SVG document, as text. The benchmarks print the same tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree

import deployment_plot
import int8_plot
from markdown_table import make_table
from results import Result
from zoo_figures import tabulate_refusals, tabulate_zoo

from edgekit.report.wording import spell_ms

Figures = Mapping[str, Any]
"""What `Result.figures` holds."""
V1_025 = "mobilenet_v1_0.25_224_imagenet.pth.tar"
V1_05 = "mobilenet_v1_0.5_160_tfsame.pth"
V2 = "mobilenet_v2_1.0_224_tfsame.pth"
CHECKPOINTS = {
    V1_025: ("MobileNetV1 0.25, 224 px", "as trained"),
    V1_05: ("MobileNetV1 0.5, 160 px, TensorFlow padding", "recovered from 8 bits"),
    V2: ("MobileNetV2 1.0, 224 px, TensorFlow padding", "recovered from 8 bits"),
}
"""Title, and where the weights are from."""
SHORT_NAMES = {V1_025: "v1_0.25", V1_05: "v1_0.5", V2: "v2"}
DEPLOYMENT_SERIES = {
    "plain float": "ring blue",
    "edgekit float": "dot blue",
    "plain int8": "ring orange",
    "edgekit int8": "dot orange",
}


DEPLOYMENT_RATIOS = {
    "float_plain_to_edgekit": "float: plain / edgekit",
    "int8_plain_to_edgekit": "int8: plain / edgekit",
    "edgekit_float_to_int8": "edgekit: float / int8",
}
"""How many times as long the first takes, by the medians."""


def derive_figures(results: Mapping[str, Result]) -> dict[str, Any]:
    """The figures of the results, and what pages say of several of them together.

    `best_other/CHECKPOINT/TARGET` has the other tool's row with the highest SQNR of
    `int8_accuracy`, `own/CHECKPOINT/TARGET/RECIPE` edgekit's, `accurate_gain/CHECKPOINT/TARGET`
    what recipe `accurate` adds to `balanced`. `provenance/NAME` is a result's command, and where it
    was measured.
    """
    figures: dict[str, Any] = {name: result.figures for name, result in results.items()}
    figures["provenance"] = {
        name: (f"`{result.command}`", describe_place(result)) for name, result in results.items()
    }
    best: dict[str, dict[str, Any]] = {}
    own: dict[str, dict[str, dict[str, Any]]] = {}
    for name, found in figures.get("int8_accuracy", {}).items():
        rows = [int8_plot.Row(**row) for row in found["rows"]]
        short = SHORT_NAMES[name]
        best[short] = {row.target: row._asdict() for row in int8_plot.find_best_others(rows)}
        own[short] = {"pi": {}, "jetson": {}}
        for row in rows:
            if row.is_own:
                own[short][row.target][row.title.removeprefix("edgekit ")] = row._asdict()
    gain = {
        short: {target: subtract(**recipes) for target, recipes in targets.items()}
        for short, targets in own.items()
    }
    return figures | {"best_other": best, "own": own, "accurate_gain": gain}


def subtract(*, accurate: Figures, balanced: Figures) -> dict[str, float]:
    """`accurate` less `balanced`."""
    keys = ("agreement_percent", "sqnr_db")
    return {key: accurate[key] - balanced[key] for key in keys}


def describe_place(result: Result) -> str:
    """On which machine a result was measured, when and at which commit."""
    machine = result.machine
    names = ("gpu", "processor") if "processor" in machine else ("gpu", "architecture")
    found = [machine[name] for name in names if name in machine]
    if "cores" in machine:
        found.append(f"{machine['cores']} cores")
    if "python" in machine:
        found.append(f"Python {machine['python']}")
    place = ", ".join(found) or "a machine that the page does not name"
    commit = f"commit {result.commit[:9]}, {result.date}"
    return f"{place}; {'transcribed from the page of ' if result.transcribed else ''}{commit}"


def tabulate_accuracy(found: Figures) -> str:
    """Result of `bundle_accuracy.py`."""
    rows = [
        (
            *CHECKPOINTS[name],
            f"{one['float_top1_percent']:.1f} %",
            f"{one['int8_top1_percent']:.1f} %",
            f"{one['agreement_percent']:.1f} %",
            f"{one['sqnr_db']:.1f} dB",
        )
        for name, one in found.items()
    ]
    return make_table(
        "checkpoint | weights | float top-1 | int8 top-1 | agreement with float"
        " | SQNR of the logits",
        rows,
    )


def tabulate_int8(found: Figures) -> str:
    """Result of `int8_accuracy.py`: a table for each checkpoint."""
    return "\n\n".join(
        int8_plot.make_table(name, one["float_top1_percent"], [int8_plot.Row(**r) for r in rows])
        for name, one in found.items()
        if (rows := one["rows"])
    )


def tabulate_speed(figures: Figures) -> str:
    """The table of times, from several results."""
    rows = [*list_run_rows(figures), *list_conversion_rows(figures)]
    table = make_table(" | edgekit | beside it, in the same run | ", rows)
    names = ("stream_loop", "live_loop", "first_result", "start_up")
    sources = name_sources(figures, *names, "conversion_time", "calibration_time")
    return f"{table}\n\n{sources}"


def list_run_rows(figures: Figures) -> list[tuple[str, str, str, str]]:
    """How fast `edgekit run` is and starts."""
    loops, live = figures["stream_loop"]["contenders"], figures["live_loop"]["test_picture_30"]
    ours, mediapipe = loops["edgekit"], loops["mediapipe"]
    one, two = loops["plain_1_thread"], loops["plain_2_threads"]
    first, start = figures["first_result"], figures["start_up"]
    return [
        (
            "camera loop, 768×432 video, third-party MobileNetV2 int8 (`stream_loop.py`)",
            f"{ours['frames_per_s']:.0f} frames/s, {ours['peak_mb']:.0f} MB",
            f"plain OpenCV + LiteRT loop: {one['frames_per_s']:.0f} (1 thread),"
            f" {two['frames_per_s']:.0f} (2 threads), {one['peak_mb']:.0f} MB;"
            f" MediaPipe {mediapipe['frames_per_s']:.0f}, {mediapipe['peak_mb']:.0f} MB",
            f"{ours['ratio_to_best_plain']:.2f} × the better plain loop",
        ),
        (
            "age of an answer, test picture at 30 frames/s (`live_loop.py`)",
            f"{live['age_p50_ms']:.1f} ms",
            f"inference alone: {live['inference_p50_ms']:.1f} ms",
            f"{live['dropped']} of {live['frames'] + live['dropped']} frames dropped",
        ),
        (
            "start of the process to the first result (`first_result.py`)",
            f"{first['edgekit']['first_result_ms']:.0f} ms",
            f"minimal OpenCV + LiteRT script: {first['script']['first_result_ms']:.0f} ms",
            f"{first['ratio']:.2f} ×",
        ),
        (
            "`edgekit --help` (`start_up.py`)",
            f"{start['help_ms'] / 1e3:.2f} s",
            f"`python -c pass`: {start['bare_ms'] / 1e3:.2f} s",
            f"heavy packages imported: {', '.join(start['heavy_packages']) or 'none'}",
        ),
    ]


def list_conversion_rows(figures: Figures) -> list[tuple[str, str, str, str]]:
    """How fast `edgekit convert` is."""
    conversion, calibration = figures["conversion_time"], figures["calibration_time"]
    memory = calibration["memory_mb"].values()
    return [
        (
            "int8 conversion of MobileNetV1 0.5 with 200 images, float reference and parity"
            " included (`conversion_time.py`)",
            f"{conversion['edgekit_s']:.1f} s",
            f"plain float conversion by litert-torch: {conversion['plain_s']:.1f} s",
            f"{conversion['ratio']:.1f} ×",
        ),
        (
            "calibration of 500 images at 224 px, any range method (`calibration_time.py`)",
            f"{calibration['total_min_s']:.1f} to {calibration['total_max_s']:.1f} s",
            f"the float forward alone: {calibration['forward_s']:.1f} s",
            f"memory does not grow: {min(memory):.0f} to {max(memory):.0f} MB"
            " from 50 to 500 images",
        ),
    ]


def name_sources(figures: Figures, *names: str) -> str:
    """The commands of results, by the places where they were measured."""
    commands: dict[str, list[str]] = {}
    for command, place in (figures["provenance"][name] for name in names):
        commands.setdefault(place, []).append(command)
    return "\n\n".join(f"{', '.join(words)} on {place}." for place, words in commands.items())


def tabulate_stream(found: Figures) -> str:
    """Result of `stream_loop.py`."""
    rows = []
    for name, loop in found["contenders"].items():
        bold = "**" if name == "edgekit" else ""
        rows.append(
            (
                f"{bold}{loop['title']}{bold}",
                f"{bold}{loop['frames_per_s']:.0f}{bold}",
                f"{bold}{loop['ratio_to_best_plain']:.2f}{bold}",
                f"{bold}{loop['ratio_to_bound']:.2f}{bold}",
                f"{loop['cpu_ms_per_frame']:.1f} ms",
                f"{loop['peak_mb']:.0f} MB",
            )
        )
    return make_table(
        " | frames/s> | × best plain loop> | of the bound> | CPU a frame> | peak memory>", rows
    )


def tabulate_live(found: Figures) -> str:
    """Result of `live_loop.py`."""
    rows = [
        (
            case["title"],
            f"{case['age_p50_ms']:.1f} ms",
            f"{case['age_p99_ms']:.1f} ms",
            f"{case['inference_p50_ms']:.1f} ms",
            f"{case['dropped']} of {case['frames'] + case['dropped']}",
        )
        for case in found.values()
    ]
    return make_table("source and model | age p50> | p99> | inference p50> | frames dropped>", rows)


def tabulate_outputs(found: Figures) -> str:
    """Result of `outputs_cost.py`."""
    rows = [
        (name, f"{one['frames_per_s']:.0f}", f"{one['share_percent']:.1f} %")
        for name, one in found["outputs"].items()
    ]
    return make_table("output | frames/s> | of the run without>", rows)


def tabulate_hostile(found: Figures) -> str:
    """Result of `hostile_networks.py`: four tables."""
    titles = {"pi": "asymmetric, for the Pi", "jetson": "symmetric, for the Jetson"}
    kinds = {"programs": "PyTorch", "artifacts": "artifacts"}
    tables = []
    for kind, run_by in kinds.items():
        for target, title in titles.items():
            methods = found[kind].get(target)
            if not methods:
                continue
            networks = list(next(iter(methods.values())))
            rows = [
                (method, *(spell_parity(cells[network]) for network in networks))
                for method, cells in methods.items()
            ]
            tables.append(make_table(" | ".join([f"{run_by}, {title}", *networks]), rows))
    return "\n\n".join(tables)


def tabulate_structure(found: Figures) -> str:
    """Result of `structure_check.py`."""
    rows = [
        (
            network,
            what,
            spell_distance(one["first"]),
            spell_distance(one["median"]),
            f"{spell_distance(one['largest'])}, {one['layer']}",
            one["warning"] or "–",
        )
        for network, cases in found.items()
        for what, one in cases.items()
    ]
    return make_table(
        "network | run as, or on | first layer> | median> | largest | reported to fit", rows
    )


def spell_distance(distance: float) -> str:
    return f"{distance:.4f}"


def spell_parity(cell: Figures) -> str:
    """Agreement in percent / SQNR in dB."""
    return f"{cell['agreement_percent']:.1f} / {cell['sqnr_db']:.1f}"


def tabulate_digits(found: Figures) -> str:
    """Result of `digit_networks.py`."""
    rows = [
        (
            one["title"],
            f"{one['float_top1_percent']:.2f} %",
            *(
                cell
                for target in ("pi", "jetson")
                for cell in (
                    f"{one[target]['top1_percent']:.2f} %",
                    f"{one[target]['agreement_percent']:.2f} %",
                    f"{one[target]['sqnr_db']:.1f} dB",
                )
            ),
        )
        for one in found.values()
    ]
    return make_table(
        "network | float | Pi int8 | agreement | SQNR | Jetson int8 | agreement | SQNR", rows
    )


def tabulate_deployment(found: Figures) -> str:
    """Result of `deployment_graphs.py`: latencies."""
    networks = found["networks"]
    one = next(iter(networks.values()))
    variants = list(one["variants"])
    rows = [
        (
            name,
            f"{network['input_size']}",
            f"{network['multiply_adds'] / 1e6:,.1f} M",
            *(
                f"{spell_ms(measured['p50_ms'])} ({spell_ms(measured['best_ms'])})"
                for measured in network["variants"].values()
            ),
            *(f"{network['ratios'][ratio]:.2f}" for ratio in DEPLOYMENT_RATIOS),
        )
        for name, network in networks.items()
    ]
    titles = DEPLOYMENT_RATIOS.values()
    columns = [f"{title}>" for title in ("input", "multiply-adds", *variants, *titles)]
    return make_table(" | ".join(["network", *columns]), rows)


def tabulate_buffers(found: Figures) -> str:
    """Result of `device_buffers.py`."""
    packages = list(found["packages"])
    rows = []
    for copies in found["packages"][packages[0]]:
        cells = (found["packages"][package].get(copies) for package in packages)
        rows.append((copies, *(spell_copies(cell) if cell else "no graphs" for cell in cells)))
    return make_table(
        " | ".join(["copies, p50 µs (p99)", *(f"{name}>" for name in packages)]), rows
    )


def spell_copies(cell: Figures) -> str:
    decimals = 0 if cell["p50_us"] >= 1000 else 1
    shown = f"{cell['p50_us']:,.{decimals}f}"
    return f"{shown} ({cell['p99_us']:,.{decimals}f})" if "p99_us" in cell else shown


def draw_int8(figures: Figures) -> str:
    """`docs/images/int8-accuracy.svg`."""
    return write_svg(int8_plot.draw_checkpoints(figures["int8_accuracy"]))


def draw_deployment(figures: Figures) -> str:
    """`docs/images/deployment-graphs.svg`."""
    columns = [
        deployment_plot.Column(
            network["title"],
            network["multiply_adds"],
            {series: network["variants"][series]["p50_ms"] for series in DEPLOYMENT_SERIES},
        )
        for network in figures["deployment_graphs"]["networks"].values()
    ]
    return write_svg(deployment_plot.draw_latencies(columns, DEPLOYMENT_SERIES))


def write_svg(root: ElementTree.Element) -> str:
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def of_result(name: str, tabulate: Callable[[Figures], str]) -> Callable[[Figures], str]:
    """A table of one result among all, and where it is from."""
    return lambda figures: f"{tabulate(figures[name])}\n\n{name_sources(figures, name)}"


TABLES: dict[str, Callable[[Figures], str]] = {
    "speed": tabulate_speed,
    "bundle_accuracy_pi": of_result("bundle_accuracy_pi", tabulate_accuracy),
    "bundle_accuracy_jetson": of_result("bundle_accuracy_jetson", tabulate_accuracy),
    "int8_accuracy": of_result("int8_accuracy", tabulate_int8),
    "stream_loop": of_result("stream_loop", tabulate_stream),
    "live_loop": of_result("live_loop", tabulate_live),
    "outputs_cost": of_result("outputs_cost", tabulate_outputs),
    "hostile_networks": of_result("hostile_networks", tabulate_hostile),
    "deployment_graphs": of_result("deployment_graphs", tabulate_deployment),
    "deployment_graphs_rewritten": of_result("deployment_graphs_rewritten", tabulate_deployment),
    "structure_check": of_result("structure_check", tabulate_structure),
    "digit_networks": of_result("digit_networks", tabulate_digits),
    "device_buffers": of_result("device_buffers", tabulate_buffers),
    "zoo": of_result("zoo", tabulate_zoo),
    "zoo_refusals": of_result("zoo", tabulate_refusals),
}
"""The tables that pages may ask for."""
PLOTS: dict[str, Callable[[Figures], str]] = {
    "docs/images/int8-accuracy.svg": draw_int8,
    "docs/images/deployment-graphs.svg": draw_deployment,
}
