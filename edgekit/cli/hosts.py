"""`edgekit benchmark --host`: measures on boards over ssh, and writes one report over all."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from edgekit.cli.host_progress import HostProgress
from edgekit.cli.options import interrupt_on_sigterm, print_json, say
from edgekit.errors import ModelFileError, OutputError
from edgekit.profile.record import BoardEntry, BoardsReport, Report, folder_name, to_document
from edgekit.remote.connection import read_ssh_command
from edgekit.remote.many_boards import measure_boards
from edgekit.remote.one_board import Wanted
from edgekit.remote.wheel import pack_wheel
from edgekit.report.rendering import render
from edgekit.report.wording import spell_board
from edgekit.report.write import PAGE_NAME, check_folder, write_report
from edgekit.runtime.load_model import read_model_file

if TYPE_CHECKING:
    from edgekit.cli.benchmark import BenchmarkOptions


def measure_hosts(options: BenchmarkOptions) -> int:
    """Measure on boards; each record is written as it comes, one over all at the end.

    Returns the exit code: 1 when a board gave no record.
    """
    hosts = options.hosts
    _check_hosts(hosts)
    read_ssh_command()
    folders = _folders(hosts, options.output)
    for folder in folders.values():
        check_folder(folder)
    _check_models(options.bundle)
    wanted = Wanted(
        models=options.bundle,
        source=options.source,
        duration_s=options.duration_s,
        threads=options.threads,
        keep=options.keep,
        wheel=pack_wheel(),
        scores=options.scores,
    )
    unwritten: list[str] = []
    with HostProgress(hosts, quiet=options.as_json) as progress, interrupt_on_sigterm():

        def keep_entry(entry: BoardEntry) -> None:
            if entry.report is None:
                progress.end(entry.host, entry.error or "", good=False)
                return
            try:
                write_report(entry.report, folders[entry.host])
            except OutputError as error:  # the other boards go on, and it is in the common report
                unwritten.append(str(error))
            trusted = "trusted" if entry.report.trusted else "not trusted"
            progress.end(entry.host, f"{trusted}, {spell_board(entry.report)}", good=True)

        entries = measure_boards(hosts, wanted, progress.of_host, keep_entry)
    _print_notes(entries, also_errors=options.as_json)
    if any(entry.report for entry in entries):
        _print_report(entries, options)
        if len(entries) > 1 or not unwritten:
            say(f"report: {options.output / PAGE_NAME}")
    for error in unwritten:
        say(f"edgekit: {error}")
    return int(bool(unwritten) or any(entry.report is None for entry in entries))


def _print_report(entries: list[BoardEntry], options: BenchmarkOptions) -> None:
    """Print a single board's report as of a local run; of several, one over all, also written."""
    report: Report | BoardsReport | None = entries[0].report
    if len(entries) > 1:
        created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        report = BoardsReport(created=created, boards=tuple(entries))
        write_report(report, options.output)
    assert report is not None
    if options.as_json:
        print_json(to_document(report))
    else:
        render(report).show(Console())


def _check_hosts(hosts: tuple[str, ...]) -> None:
    for host in hosts:
        if not host.strip() or not host.isprintable():
            raise click.UsageError(f"--host is {host!r}: expected a name for ssh, as in pi@board")


def _folders(hosts: tuple[str, ...], output: Path) -> dict[str, Path]:
    """Where each board's own report goes: that of a single board, to the folder itself."""
    if len(hosts) == 1:
        return {hosts[0]: output}
    folders = {host: output / folder_name(host) for host in hosts}
    if len(set(folders.values())) < len(hosts):
        raise click.UsageError(f"--host names a board twice: {', '.join(hosts)}")
    return folders


def _check_models(models: tuple[Path, ...]) -> None:
    """Check the models before anything is connected. Raises the EdgekitError of an unfit file."""
    for path in models:
        if not path.is_file():
            raise ModelFileError(f"there is no file {path}: give a bundle or a .tflite file")
        read_model_file(path)


def _print_notes(entries: list[BoardEntry], *, also_errors: bool) -> None:
    """Print the doctors' warnings; with `--json`, also the errors, which nothing else prints."""
    for entry in entries:
        for note in entry.notes:
            say(f"{entry.host}: warning: {note}")
        if also_errors and entry.error:
            say(f"edgekit: {entry.host}: {entry.error}")
