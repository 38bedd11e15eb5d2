"""The command line: one thin module for each command, imported when the command is called.

`main` ends the process; `run_command_line` is the same without that. An
`EdgekitError` becomes one line on standard error and exit code 1; usage errors are 2 (click's own);
any other exception is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
import threading
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

import click

from edgekit._version import __version__
from edgekit.errors import EdgekitError

COMMANDS = {
    "models": "edgekit.cli.models",
    "inspect": "edgekit.cli.inspect",
    "convert": "edgekit.cli.convert",
    "calibrate": "edgekit.cli.calibrate",
    "evaluate": "edgekit.cli.evaluate",
    "build": "edgekit.cli.build",
    "run": "edgekit.cli.run",
    "benchmark": "edgekit.cli.benchmark",
    "report": "edgekit.cli.report",
    "cameras": "edgekit.cli.cameras",
    "service": "edgekit.cli.service",
    "doctor": "edgekit.cli.doctor",
}
"""Command name → module whose attribute `command` is the click command."""


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[name]).command
        gc.enable()
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgekit")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Take a PyTorch MobileNet or MicroNet to a Raspberry Pi or a Jetson in int8."""
    from edgekit.cli.settings import fit_settings, load_settings

    settings = load_settings(COMMANDS)
    name = ctx.invoked_subcommand
    command = cli.get_command(ctx, name) if name in settings else None
    if name is not None and command is not None:
        ctx.default_map = {name: fit_settings(name, command, settings[name])}


def main() -> NoReturn:
    """Run the command line, and end the process with its exit code."""
    _open_standard_streams()
    _escape_what_cannot_be_encoded()
    code = run_command_line()
    if "edgekit.background_thread" in sys.modules:
        _leave_hanging_threads(code)
    sys.exit(code)


def _open_standard_streams() -> None:
    """Open the null device for standard streams that are closed (`2>&-`), else a file that is
    opened later takes their number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _escape_what_cannot_be_encoded() -> None:
    """Write a character that the terminal's encoding lacks (Latin-1 has no ✓) as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def run_command_line() -> int:
    """Do what `sys.argv` asks for; returns 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        from edgekit.text import hide_in_text

        message = io.StringIO()
        error.show(message)
        click.echo(hide_in_text(message.getvalue()), err=True, nl=False)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("edgekit: interrupted", err=True)
        return 130
    except EdgekitError as error:
        click.echo(f"edgekit: {_clean_message(str(error))}", err=True)
        return 1
    except ImportError as error:
        from edgekit.native_libraries import find_numpy_fault

        fault = find_numpy_fault(error)
        if fault is None:
            raise
        click.echo(f"edgekit: {_clean_message(str(fault))}", err=True)
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EPIPE):
            raise
        from edgekit.cli.options import leave_output

        leave_output()
        if error.errno != errno.EPIPE:
            click.echo(f"edgekit: cannot write the output: {error.strerror}", err=True)
        return 1
    return code if isinstance(code, int) else 0


def _clean_message(message: str) -> str:
    """The message on one line, without the passwords of addresses."""
    from edgekit.text import hide_in_text, one_line

    return hide_in_text(one_line(message))


def _leave_hanging_threads(code: int) -> None:
    """Exit at once when a thread is still in native code (a video that opens, a stuck driver): it
    would wake while Python ends, which aborts the process."""
    from edgekit.background_thread import Background

    if any(isinstance(thread, Background) for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                with suppress(OSError):  # the reader has gone
                    stream.flush()
        os._exit(code)
