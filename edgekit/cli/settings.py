"""`edgekit.toml`: what a command takes when the command line does not say.

One table a command, its keys the option names: `[run]`, below it `bundle = "digits.edgekit"`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekit.errors import SettingsError
from edgekit.toml import TOMLDecodeError, read_toml

SETTINGS_FILE = "edgekit.toml"


def load_settings(folder: Path | None = None) -> dict[str, dict[str, Any]]:
    """Read `edgekit.toml` of `folder` (the working folder) as click's default map, else {}."""
    from edgekit.cli import COMMANDS

    path = (folder or Path.cwd()) / SETTINGS_FILE
    if not path.is_file():
        return {}
    try:
        tables = read_toml(path)
    except (TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path.name} is not valid TOML: {error}") from error
    settings = {}
    for name, table in tables.items():
        if name not in COMMANDS or not isinstance(table, dict):
            raise SettingsError(
                f"{path.name} has {name!r} at its top: expected one table a command,"
                f" [{'], ['.join(COMMANDS)}]"
            )
        settings[name] = {key.replace("-", "_"): value for key, value in table.items()}
    return settings
