"""What edgekit makes of every classifier of torchvision and timm below 30 M parameters.

    python benchmarks/zoo.py [--first | --rest] [--parts pi,jetson,int8,pt2] [--only TEXT,…]
        [--failed] [--minutes M] [--record FILE] [--json FILE]

Each network gets random weights and the batch norm statistics that belong to them, is saved as its
library's training script does, and goes through the command line: `inspect`, and `convert
--precision fp32` for both targets, the parts `pi` and `jetson`. The smallest network of each family
is also converted to int8 for both, and goes through the same as a `torch.export` program. A file is
opened by itself where edgekit recognises it, else with `--arch` and the library's own code. What
was loaded is compared with the library's network, and `convert` compares the artifact with what was
loaded.

Results are lines of --record, one a step, which is kept with the results. What is there is not run
again; --failed runs what failed and nothing else. --first runs one network of each family, --rest
the others, --parts some of the steps. At the end, with --minutes 0 at once, --json writes the
figures of the whole record. The libraries are installed into an environment of their own below
`build`.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from results import REPOSITORY, make_parser, read_commit, save_result
from tool_environments import FOLDER, list_versions, make_environment
from zoo_figures import (
    TARGETS,
    Kind,
    Step,
    find_part,
    is_failure,
    summarize,
    tabulate_refusals,
    tabulate_zoo,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

PACKAGES = ("torch==2.13.0", "torchvision==0.28.0", "timm==1.0.31")
LARGEST = 30_000_000
RECORD = REPOSITORY / "benchmarks" / "results" / "zoo.jsonl"
LIMIT_S = 300
"""How long one command may take."""
PHOTOGRAPHS = 32
"""How many `convert` gets; a fifth of them are compared on."""
SETTLING, COMPARED = 64, 3
"""How many photographs the batch norms' statistics are taken from, and on how many of them what was
loaded is compared."""
FAITHFUL_DB, ROUNDING_DB = 60.0, 12.0
"""SQNR of what was loaded, and of a float artifact, against the library's network; less is another
network. Of one that amplifies rounding, on some images more than on others, it may be as much less
than its own SQNR in float32 against float64."""
FLOAT = tuple(TARGETS)
PARTS = (*FLOAT, "int8", "pt2")
"""What follows the opening of a file; all networks go through the float parts."""
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class Record:
    """The file with a JSON line a step. What was written last about a step counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self.steps = [Step(**json.loads(line)) for line in lines]

    def add(self, step: Step) -> None:
        """Append one step, here and in the file."""
        self.steps.append(step)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(step), ensure_ascii=False) + "\n")

    def latest(self) -> list[Step]:
        """The last line about each step of each network; that it was not built, only if it is the
        last of all."""
        last = {step.network: step for step in self.steps}
        found = {(step.network, step.way, step.step): step for step in self.steps}
        return [one for one in found.values() if one.way != "own" or one is last[one.network]]


class Original(NamedTuple):
    """Images, `(N, 3, H, W)`, and what the library's network makes of them, `(N, classes)`."""

    images: torch.Tensor
    logits: torch.Tensor


class Trial:
    """One network on its way through the commands, in a process of its own."""

    def __init__(self, kind: Kind, size: int, folder: Path, add: Callable[[Step], None]) -> None:
        self.kind, self.size, self.folder, self._add = kind, size, folder, add
        self.commit = read_commit()
        self.faithful_db = FAITHFUL_DB

    def add(self, way: str, step: str, outcome: str, **found: Any) -> bool:
        """Record a step. Returns whether it is ok."""
        kind = self.kind
        words = (kind.name, kind.family, kind.parameters, self.size, way, step, outcome)
        self._add(Step(*words, commit=self.commit, **found))
        return outcome == "ok"

    def open(self, way: str, flags: Mapping[str, Any], file: Path, original: Original) -> bool:
        """`inspect`, and the loaded network beside the library's own."""
        words = [w for name, value in flags.items() for w in (f"--{name}", str(value))]
        if not self.run(way, "inspect", ["inspect", str(file), "--json", *words]):
            return False
        return self.compare(way, flags, file, original)

    def run(self, way: str, step: str, words: Sequence[str]) -> bool:
        """Run one command. Returns whether it is ok."""
        from forked_commands import TIMED_OUT, run_command

        ended = run_command(words, self.folder, LIMIT_S)
        message = ended.errors.strip().splitlines() or [""]
        if ended.status == 0:
            parity = json.loads(ended.output).get("parity") or {}
            sqnr, agreement = parity.get("sqnr_db"), parity.get("agreement")
            found = {"sqnr_db": sqnr, "agreement_percent": agreement}
            is_other = step.startswith("fp32") and sqnr is not None and sqnr < self.faithful_db
            outcome = "wrong" if is_other else "ok"
            return self.add(way, step, outcome, seconds=ended.seconds, **found)
        refused = ended.status == 1 and message[-1].startswith("edgekit: ")
        if "Traceback (most recent call last)" in ended.errors:
            refused = False
        outcome = "time" if ended.status == TIMED_OUT else "refused" if refused else "crash"
        line = message[-1] if refused else "\n".join(message[-6:])
        for folder in (REPOSITORY, self.folder):
            line = line.replace(f"{folder}/", "")
        return self.add(way, step, outcome, line=line, seconds=ended.seconds)

    def compare(self, way: str, flags: Mapping[str, Any], file: Path, original: Original) -> bool:
        """Compare what edgekit loads with the library's network."""
        from forked_commands import run_forked

        def work() -> int:
            import torch

            from edgekit.checkpoint import load_checkpoint
            from edgekit.metrics import compare_logits
            from edgekit.spec import CheckpointFlags

            words = {name.replace("-", "_"): value for name, value in flags.items()}
            loaded = load_checkpoint(file, CheckpointFlags(**words)).module
            with torch.inference_mode():
                seen = torch.cat([loaded(image[None]) for image in original.images])
            print(compare_logits(original.logits.numpy(), seen.numpy()))
            return 0

        ended = run_forked(work, self.folder, LIMIT_S)
        if ended.status != 0:
            return self.add(way, "load", "crash", line=ended.errors[-600:])
        sqnr = float(ended.output)
        outcome = "ok" if sqnr >= self.faithful_db else "wrong"
        return self.add(way, "load", outcome, sqnr_db=sqnr)

    def convert(
        self,
        way: str,
        precision: str,
        flags: Mapping[str, Any],
        file: Path,
        targets: Sequence[str] = tuple(TARGETS),
    ) -> None:
        """`convert` for several targets."""
        words = [w for name, value in flags.items() for w in (f"--{name}", str(value))]
        for target in targets:
            command = ["convert", str(file), "--target", target, "--precision", precision]
            command += ["--calibration", str(self.folder / "photographs"), "--json", *words]
            command += ["--no-reference"] if precision == "int8" else []
            command += ["-o", str(self.folder / f"{way}-{precision}-{target}.edgekit")]
            self.run(way, f"{precision} {target}", command)


def try_network(trial: Trial, images: Sequence[Path], parts: Sequence[str]) -> int:
    """Make a network and run the commands of some parts on it."""
    import torch
    import zoo_networks

    (trial.folder / "photographs").mkdir()
    for image in images[:PHOTOGRAPHS]:
        shutil.copy(image, trial.folder / "photographs")
    module = zoo_networks.build(trial.kind.name, trial.size)
    photographs = read_images(images, trial.size)
    zoo_networks.settle(module, photographs)
    compared = photographs[:COMPARED]
    with torch.no_grad():  # what a network keeps of a run is exported later
        original = Original(compared, torch.cat([module(image[None]) for image in compared]))
    rounding = measure_rounding(module, original)
    trial.faithful_db = min(FAITHFUL_DB, rounding - ROUNDING_DB)
    file = trial.folder / "weights.pth"
    torch.save(
        {"epoch": 3, "arch": trial.kind.name.partition(".")[2], "state_dict": module.state_dict()},
        file,
    )
    own: dict[str, Any] = {"input-size": trial.size}
    arch = own | {"arch": f"zoo_networks:{trial.kind.name}@{trial.size}"}
    ways = {"recognised": own, "arch": arch}
    for way, flags in ways.items():
        if trial.open(way, flags, file, original):
            trial.convert(way, "fp32", flags, file, [part for part in FLOAT if part in parts])
            if "int8" in parts:
                trial.convert(way, "int8", flags, file)
            break
    if "pt2" in parts:
        save_program(module, trial.size, trial.folder / "network.pt2")
        if trial.open("pt2", {}, trial.folder / "network.pt2", original):
            trial.convert("pt2", "fp32", {}, trial.folder / "network.pt2", ["jetson"])
    return 0


def measure_rounding(module: nn.Module, original: Original) -> float:
    """The SQNR of a network in float32 against float64, in dB; infinite where it has no float64."""
    import torch

    from edgekit.metrics import compare_logits

    try:
        with torch.no_grad():
            exact = copy.deepcopy(module).double()(original.images.double())
    except RuntimeError:  # its code makes float32 tensors
        return float("inf")
    return compare_logits(exact.numpy(), original.logits.numpy())


def save_program(module: nn.Module, size: int, file: Path) -> None:
    """Save a network as edgekit's documentation says."""
    import torch

    torch.export.save(torch.export.export(module, (torch.zeros(1, 3, size, size),)), file)


def read_images(images: Sequence[Path], size: int) -> torch.Tensor:
    """Photographs as normalized images, `(SETTLING, 3, size, size) float32`."""
    import cv2
    import numpy as np
    import torch

    def read(file: Path) -> torch.Tensor:
        pixels = cv2.cvtColor(cv2.resize(cv2.imread(str(file)), (size, size)), cv2.COLOR_BGR2RGB)
        values = (pixels - np.array(MEAN)) / np.array(STD)
        return torch.from_numpy(values).float().permute(2, 0, 1)

    return torch.stack([read(images[(i * 7) % len(images)]) for i in range(SETTLING)])


def list_kinds(cache: Path) -> list[Kind]:
    """All networks, from a file where they were listed before: that takes minutes."""
    from zoo_networks import list_networks

    if not cache.is_file():
        cache.write_text(json.dumps(list(list_networks(LARGEST))))
    return [Kind(*entry) for entry in json.loads(cache.read_text())]


def arrange(kinds: Sequence[Kind]) -> tuple[list[Kind], list[Kind]]:
    """The smallest of each family, and the others: torchvision's, then timm's family by family in
    turns."""
    families: dict[str, list[Kind]] = {}
    for kind in sorted(kinds, key=lambda kind: kind.parameters):
        families.setdefault(kind.family, []).append(kind)
    first = [group[0] for group in families.values()]
    others = [kind for kind in kinds if kind not in first and kind.name.startswith("torchvision")]
    rounds = zip_longest(*(g[1:] for name, g in families.items() if name.startswith("timm")))
    return first, others + [kind for kind in chain(*rounds) if kind is not None]


def choose(
    options: argparse.Namespace, kinds: Sequence[Kind], record: Record
) -> Iterator[tuple[Kind, list[str]]]:
    """Those that are to be run, with the parts that are left."""
    first, others = arrange(kinds)
    done: dict[str, dict[str, list[Step]]] = {}
    for step in record.latest():
        done.setdefault(step.network, {}).setdefault(find_part(step), []).append(step)
    for kind in first if options.first else others if options.rest else first + others:
        wanted = [p for p in options.parts.split(",") if p in FLOAT or kind in first]
        parts = done.get(kind.name, {})
        failed = {part for part, steps in parts.items() if any(map(is_failure, steps))}
        if options.failed:
            wanted = wanted if "open" in failed else [p for p in wanted if p in failed]
        elif "open" in failed:  # nothing follows
            continue
        else:
            wanted = [p for p in wanted if p not in parts]
        if wanted and any(text in kind.name for text in options.only.split(",")):
            yield kind, wanted


def run_network(kind: Kind, parts: Sequence[str], images: Sequence[Path], record: Record) -> None:
    """Run one network in a process of its own, and record what became of it."""
    import zoo_networks
    from forked_commands import run_forked

    with tempfile.TemporaryDirectory(prefix="zoo-") as name:
        folder = Path(name)

        def work() -> int:
            size = zoo_networks.choose_size(kind.name)
            lines = Record(folder / "steps.jsonl")
            return try_network(Trial(kind, size, folder, lines.add), images, parts)

        (folder / "log").mkdir()
        ended = run_forked(work, folder / "log", 8 * LIMIT_S)
        steps = Record(folder / "steps.jsonl").steps
    if ended.status != 0:
        reason = " ".join(ended.errors.strip().splitlines()[-1:])
        steps.append(Step(*kind, 0, "own", "build", "crash", reason, commit=read_commit()))
    for step in steps:
        record.add(step)
    text = ", ".join(f"{s.way} {s.step}: {spell(s)}" for s in steps)
    print(f"{kind.name} ({ended.seconds:.0f} s): {text}", file=sys.stderr, flush=True)


def spell(step: Step) -> str:
    figure = f"{step.sqnr_db:.0f} dB" if step.sqnr_db is not None else ""
    return (
        figure if step.outcome == "ok" and figure else f"{step.outcome} {step.line[:200]}".strip()
    )


def enter_environment() -> None:
    """Go on in the environment that has the libraries."""
    if importlib.util.find_spec("timm") and importlib.util.find_spec("torchvision"):
        return
    python = make_environment("zoo", [*PACKAGES, f"edgekit[convert] @ file://{REPOSITORY}"])
    os.environ["PYTHONPATH"] = str(REPOSITORY)
    os.execv(python, [str(python), *sys.argv])


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--only", default="", metavar="TEXT,…", help="those with one in name")
    parser.add_argument("--first", action="store_true", help="one network of each family")
    parser.add_argument("--rest", action="store_true", help="all but those")
    parser.add_argument("--parts", default=",".join(PARTS), metavar="PART,…")
    parser.add_argument("--failed", action="store_true", help="those that failed before")
    parser.add_argument("--minutes", type=float, default=1e9, help="start none after so long")
    parser.add_argument("--record", type=Path, default=RECORD, metavar="FILE")
    options = parser.parse_args()
    enter_environment()
    import zoo_networks
    from forked_commands import load_converters

    zoo_networks.load_libraries()
    until = time.monotonic() + 60 * options.minutes
    kinds = list_kinds(FOLDER / "zoo-networks.json")
    record = Record(options.record)
    images = sorted((options.data / "images" / "calibration").glob("*.jpg"))
    chosen = list(choose(options, kinds, record)) if options.minutes else []
    if chosen:
        load_converters()
    for kind, parts in chosen:
        if time.monotonic() < until:
            run_network(kind, parts, images, record)
    figures = summarize(kinds, record.latest())
    save_result(options.json, figures, list_versions(PACKAGES))
    print(tabulate_zoo(figures), tabulate_refusals(figures), sep="\n\n")


if __name__ == "__main__":
    main()
