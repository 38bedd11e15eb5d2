"""`edgekit.toml`: the values of options that the command line does not give.

One table a command, its keys the option names: `[run]`, below it `bundle = "digits.edgekit"`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import click

from edgekit.errors import SettingsError

SETTINGS_FILE = "edgekit.toml"


def load_settings(
    commands: Collection[str], folder: Path | None = None
) -> dict[str, dict[str, Any]]:
    """Read `edgekit.toml` of `folder` (the working folder) as click's default map, else {}.

    Raises SettingsError for a table that is not named after one of `commands`.
    """
    try:
        path = (folder or _settings_folder()) / SETTINGS_FILE
        if not path.is_file():
            return {}
    except OSError:  # the working folder was deleted, or may not be read
        return {}
    from edgekit.toml import TOMLDecodeError, read_toml

    try:
        tables = read_toml(path)
    except (TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path.name} is not valid TOML: {error}") from error
    settings = {}
    for name, table in tables.items():
        if name not in commands or not isinstance(table, dict):
            raise SettingsError(
                f"{path.name} has {name!r} at its top: expected one table a command,"
                f" [{'], ['.join(commands)}]"
            )
        settings[name] = {key.replace("-", "_"): value for key, value in table.items()}
    return settings


def _settings_folder() -> Path:
    """The working folder, or where systemd puts a service's credentials."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(credentials) if credentials else Path.cwd()


def fit_settings(name: str, command: click.Command, table: Mapping[str, Any]) -> dict[str, Any]:
    """The values of one table as a command's defaults, spelled as on a command line.

    Args:
        name: the command's name, for error messages.
        command: the command.
        table: the values by the names of its options.

    Returns:
        The values by the names of the command's parameters.

    Raises:
        SettingsError: a key is not an option of the command, or a value is a table.
    """
    parameters = {
        spelling: parameter for parameter in command.params for spelling in _spellings(parameter)
    }
    fitted: dict[str, Any] = {}
    for key, value in table.items():
        if key not in parameters:
            known = ", ".join(sorted(parameters))
            raise SettingsError(f"{SETTINGS_FILE} has {key!r} in [{name}]: expected one of {known}")
        parameter = parameters[key]
        takes_several = parameter.multiple or parameter.nargs != 1
        values = value if isinstance(value, list) and takes_several else [value]
        for item in values:
            _check_kind(f"{key!r} in [{name}]", parameter, item, takes_several=takes_several)
        spelled = [item if isinstance(item, bool) else str(item) for item in values]
        fitted[str(parameter.name)] = spelled if takes_several else spelled[0]
    return fitted


def _check_kind(place: str, parameter: click.Parameter, item: Any, *, takes_several: bool) -> None:
    """Raise SettingsError for a value of the wrong kind; the value itself may be a secret."""
    is_switch = isinstance(parameter.type, click.types.BoolParamType)
    if isinstance(item, (dict, list)) or (isinstance(item, bool) and not is_switch):
        is_list = isinstance(item, list)
        kind = "a table" if isinstance(item, dict) else "a list" if is_list else str(item).lower()
        expected = "true or false" if is_switch else "text or a number"
        more = ", or a list of them" if takes_several else ""
        raise SettingsError(f"{SETTINGS_FILE} has {kind} for {place}: expected {expected}{more}")


def _spellings(parameter: click.Parameter) -> set[str]:
    """The names of a parameter in the file: its long option, with `_` for `-`."""
    names = {name.lstrip("-").replace("-", "_") for name in parameter.opts}
    return {name for name in names if len(name) > 1}
