"""`edgekit build`: the TensorRT engine of a Jetson bundle, on the board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import interrupt_on_sigterm, json_option, origin, print_json, say
from edgekit.spec import TARGETS, Record

if TYPE_CHECKING:
    from edgekit.bundle import Bundle
    from edgekit.cli.progress import Steps
    from edgekit.engines.tensorrt.engine_provider import Candidate, Machine, Provided


@click.command("build")
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Build again even where the cache has the engine.")
@json_option
@click.pass_context
def command(ctx: click.Context, /, bundle: Path | None, force: bool, as_json: bool) -> None:
    """Build the TensorRT engine of BUNDLE for this board's GPU, and keep it.

    `edgekit run` finds it there, or builds it on its first start. Without BUNDLE the built-in
    demo's engine is built. Where there is no GPU, TensorRT-RTX builds for all GPUs that it knows.
    """
    from edgekit.cli.progress import Steps

    if bundle is None:
        from edgekit.resources import demo_jetson_bundle

        bundle = demo_jetson_bundle()
    opened = _open(bundle)
    if not as_json:
        say(f"bundle {bundle} ({origin(ctx, 'bundle')})")
    from edgekit.engines.tensorrt.engine_provider import find_machine

    with Steps(quiet=as_json) as steps, interrupt_on_sigterm():
        machine = find_machine()
        candidate = _choose(machine, opened, steps, force=force)
        provided = _provide(machine, candidate, steps, force=force)
    built = _describe(bundle, provided)
    if as_json:
        print_json(built)
    else:
        _print(built)


def _open(path: Path) -> Bundle:
    from edgekit.bundle import open_bundle
    from edgekit.errors import BundleError
    from edgekit.runtime.load_model import is_bundle

    if path.is_file() and not is_bundle(path):
        raise BundleError(
            f"{path} is not a bundle: engines and plain models cannot be built from; expected a"
            " .edgekit file that edgekit convert --target jetson wrote"
        )
    bundle = open_bundle(path)
    facts = TARGETS[bundle.manifest.target]
    if not facts.builds_engine:
        builders = " or ".join(name for name, other in TARGETS.items() if other.builds_engine)
        raise BundleError(
            f"{path} is for a {facts.board}, which needs no engine: run it with edgekit run, or"
            f" convert the checkpoint with --target {builders}"
        )
    return bundle


def _choose(machine: Machine, bundle: Bundle, steps: Steps, *, force: bool) -> Candidate:
    """What to build: of `best` the precision that wins on this GPU, without one int8."""
    from edgekit.engines.tensorrt.engine_provider import Candidate, choose

    precision = bundle.manifest.precision
    if precision != "best":
        return Candidate(bundle.model, precision)
    int8 = Candidate(bundle.model, "int8")
    if machine.gpu is None:
        steps.note("precision best: int8 for now, the board chooses once there is a GPU")
        return int8
    return choose(
        machine, int8, bundle.fp16_model, bundle.golden(), str(bundle.path), steps, force=force
    )


def _provide(machine: Machine, candidate: Candidate, steps: Steps, *, force: bool) -> Provided:
    from edgekit.engines.tensorrt.engine_provider import provide_engine

    return provide_engine(
        machine,
        candidate,
        progress=steps,
        force=force,
        must_store=True,
    )


class BuiltEngine(Record, frozen=True, kw_only=True):
    """The JSON document of `edgekit build --json`."""

    bundle: str
    engine: str
    precision: str
    library: str
    version: str
    gpu: str | None
    compute_capability: tuple[str, ...]
    power_mode: str | None
    size_bytes: int
    layers: int
    weighted_layers: int
    int8_layers: int
    seconds: float
    cached: bool


def _describe(bundle: Path, provided: Provided) -> BuiltEngine:
    stored, key = provided.stored, provided.stored.key
    return BuiltEngine(
        bundle=str(bundle),
        engine=str(provided.path),
        precision=key.precision,
        library=key.library,
        version=key.version,
        gpu=key.gpu,
        compute_capability=tuple(key.capabilities),
        power_mode=key.power_mode,
        size_bytes=len(provided.plan),
        layers=stored.layers,
        weighted_layers=stored.weighted_layers,
        int8_layers=stored.int8_layers,
        seconds=stored.build_s,
        cached=provided.cached,
    )


def _print(built: BuiltEngine) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("engine", f"[bold]{escape(built.engine)}[/]  {built.size_bytes / 1e6:.2f} MB")
    table.add_row("built by", f"{built.library} {built.version}")
    gpu = built.gpu or "none here"
    table.add_row("GPU", escape(f"{gpu}; for {', '.join(built.compute_capability)}"))
    if built.weighted_layers:
        table.add_row(
            "layers",
            f"{built.layers} after fusion; {built.int8_layers} of {built.weighted_layers} with"
            " weights in int8",
        )
    else:
        table.add_row("layers", "this TensorRT lists none that edgekit can read")
    state = "from the cache, built in" if built.cached else "built in"
    table.add_row("time", f"{state} {built.seconds:.1f} s")
    Console(highlight=False).print(table, soft_wrap=True)
