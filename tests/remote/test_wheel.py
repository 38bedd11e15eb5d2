"""The wheel that is packed from the running edgekit is the one that a build makes."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from edgekit.remote.wheel import NAME, pack_wheel


def read(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_it_holds_what_a_built_one_holds(edgekit_wheel: Path) -> None:
    built, packed = read(edgekit_wheel.read_bytes()), read(pack_wheel())
    assert edgekit_wheel.name == NAME
    own = {name for name in built if ".dist-info/" in name}
    assert {name: packed.get(name) for name in built if name not in own} == {
        name: content for name, content in built.items() if name not in own
    }
    assert {name for name in packed if ".dist-info/" not in name} == built.keys() - own


def test_it_asks_for_what_a_built_one_asks_for(edgekit_wheel: Path) -> None:
    built, packed = read(edgekit_wheel.read_bytes()), read(pack_wheel())
    (metadata,) = (name for name in built if name.endswith("/METADATA"))
    # Below the first empty line stands the README of the day on which edgekit was installed.
    headers = [content[metadata].partition(b"\n\n")[0] for content in (built, packed)]
    assert headers[0] == headers[1]


def test_the_same_files_give_the_same_bytes() -> None:
    assert pack_wheel() == pack_wheel()
