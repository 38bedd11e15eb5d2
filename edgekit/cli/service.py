"""`edgekit service`: `edgekit run` from the board's start on, restarted by systemd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.options import say

if TYPE_CHECKING:
    from edgekit.service import Setting

NAME = "camera"


@click.group("service")
def command() -> None:
    """Run as a systemd service, from the board's start on."""


@command.command("install", context_settings={"ignore_unknown_options": True})
@click.option("--name", default=NAME, show_default=True, help="The service is called edgekit-NAME.")
@click.option("--dry-run", is_flag=True, help="Print the unit and the settings instead.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[BUNDLE] [RUN OPTIONS…]")
def install_command(words: Sequence[str], name: str, dry_run: bool) -> None:
    """Start `edgekit run` now and at every start of the board.

    BUNDLE and the options are those of edgekit run: my.edgekit --camera 0 --metrics 9400
    --output mqtt://…. It waits for its source, so --wait is not needed.
    """
    from edgekit import service

    options = read_run_options(words)
    named = options.pop("bundle", None)
    bundle = Path(str(named)) if named is not None else None
    executable = service.find_executable()
    if bundle is not None:
        from edgekit.runtime.load_model import read_model_file

        read_model_file(bundle)  # raises what a service would stumble over
    if dry_run:
        files = service.find_files(name)
        shown = options if bundle is None else {"bundle": str(files.bundle), **options}
        unit = service.write_unit(name, executable, files.settings, service.find_groups())
        settings = service.write_settings(hide_secrets(shown))
        click.echo(f"# {files.unit}\n{unit}\n# {files.settings}\n{settings}", nl=False)
        return
    service.check_root()
    service.check_executable(executable)
    service.run_systemctl("--version")
    files = service.install(name, bundle, options, executable=executable)
    service.run_systemctl("daemon-reload")
    service.run_systemctl("enable", files.unit.name)
    service.run_systemctl("restart", files.unit.name)
    say(
        f"{files.unit.name} is installed and started; see it: edgekit service status --name {name},"
        f" journalctl -u {files.unit.name}"
    )


@command.command("status")
@click.option("--name", default=NAME, show_default=True)
def status_command(name: str) -> int:
    """Show what the service does; exit 1 when it does not run."""
    from edgekit import service

    unit = service.find_files(name).unit.name
    done = service.run_systemctl("status", "--no-pager", unit)
    click.echo(done.stdout or done.stderr, nl=False)
    return 1 if done.returncode else 0


@command.command("remove")
@click.option("--name", default=NAME, show_default=True)
def remove_command(name: str) -> None:
    """Stop the service and delete its unit, settings and bundle; its results stay."""
    from edgekit import service
    from edgekit.errors import SettingsError

    files = service.find_files(name)
    if not any(path.exists() for path in files):
        raise SettingsError(f"there is no service {name}: expected {files.unit}")
    service.check_root()
    service.run_systemctl("disable", "--now", files.unit.name)
    removed = service.remove(name)
    service.run_systemctl("daemon-reload")
    say(f"removed {', '.join(map(str, removed))}")


NOT_FOR_A_SERVICE = {
    "show": "has no screen",
    "frames": "does not end",
    "once": "does not end",
    "as_json": "prints no results: use --output",
}
"""Options of `edgekit run`, and what a service is that they do not go with."""


def read_run_options(words: Sequence[str]) -> dict[str, Setting]:
    """The options of `edgekit run` in `words`, as its settings file names them.

    Raises SettingsError for what cannot be a service, and click's usage errors.
    """
    from edgekit.cli.run import command as run
    from edgekit.errors import SettingsError

    options: dict[str, Setting] = {}
    with run.make_context("edgekit run", list(words)) as ctx:
        for parameter in run.params:
            name = str(parameter.name)
            if ctx.get_parameter_source(name) is not click.core.ParameterSource.COMMANDLINE:
                continue
            spelled = max(parameter.opts, key=len).lstrip("-").replace("-", "_")
            value = ctx.params[name]
            if name in NOT_FOR_A_SERVICE and value:
                raise SettingsError(
                    f"--{spelled} is not for a service, which {NOT_FOR_A_SERVICE[name]}:"
                    " leave it out"
                )
            options[spelled] = _spell(value)
    _check_outputs(options.get("output", []))
    _check_source(options.get("source"))
    return options | {"wait": True}


def _spell(value: object) -> Setting:
    """A value as a settings file spells it: a path from the root, several values as a list."""
    if isinstance(value, tuple):
        return [str(item) for item in value]
    if isinstance(value, Path):
        return str(value.resolve())
    assert isinstance(value, str | int | float | bool)
    return value


def _check_outputs(targets: Setting) -> None:
    from edgekit.errors import SettingsError

    assert isinstance(targets, list)
    for target in targets:
        if "://" not in target and not target.startswith("/"):
            raise SettingsError(
                f"--output {target} has no folder of its own in a service: expected an absolute"
                f" path, such as /var/lib/edgekit/{NAME}/{target}"
            )


def _check_source(source: Setting | None) -> None:
    from edgekit.errors import SettingsError
    from edgekit.sources.open_source import make_source

    if source is not None and not make_source(str(source)).is_live:
        raise SettingsError(
            f"--source {source} is a file, which ends: expected a camera or a stream for a service"
        )


def hide_secrets(options: Mapping[str, Setting]) -> dict[str, Setting]:
    """The same options without the passwords of their addresses, fit for a terminal."""
    from edgekit.text import hide_credentials

    def hide(text: str) -> str:
        return hide_credentials(text) if "://" in text else text

    hidden: dict[str, Setting] = {}
    for name, value in options.items():
        match value:
            case str():
                hidden[name] = hide(value)
            case list():
                hidden[name] = [hide(item) for item in value]
            case _:
                hidden[name] = value
    return hidden
