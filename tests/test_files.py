"""A file is written whole or not at all, and what cannot be written is told before work begins."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.errors import OutputError
from edgekit.files import check_destination, make_folder, write_atomic


def test_missing_and_unfit_places(tmp_path: Path) -> None:
    places = {
        tmp_path / "no" / "x.edgekit": "the folder .*no does not exist: create it first",
        tmp_path: "Is a directory: choose another place with -o",
        tmp_path / ("x" * 300): "File name too long",
    }
    (tmp_path / "file").touch()
    places[tmp_path / "file" / "x.edgekit"] = "Not a directory"
    for path, words in places.items():
        with pytest.raises(OutputError, match=f"cannot write .*{words}"):
            write_atomic(path, b"content")
    for path in (tmp_path, tmp_path / "no" / "x.edgekit", tmp_path / "file" / "x.edgekit"):
        with pytest.raises(OutputError, match="cannot write"):
            check_destination(path)
    with pytest.raises(OutputError, match=r"cannot write .*file"):
        make_folder(tmp_path / "file" / "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_check_destination_leaves_nothing(tmp_path: Path) -> None:
    check_destination(tmp_path / "x.edgekit")
    write_atomic(tmp_path / "old.edgekit", b"content")
    check_destination(tmp_path / "old.edgekit")
    assert [path.name for path in tmp_path.iterdir()] == ["old.edgekit"]
    assert (tmp_path / "old.edgekit").read_bytes() == b"content"


def test_a_folder_without_write_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    user = os.geteuid()
    if user == 0:  # root may write anywhere
        os.seteuid(65534)
    try:
        with pytest.raises(OutputError, match="Permission denied: choose another place"):
            write_atomic(tmp_path / "x.edgekit", b"content")
    finally:
        os.seteuid(user)


def test_new_files_have_usual_permissions(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        write_atomic(tmp_path / "x", b"content")
    finally:
        os.umask(umask)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here: run as root, outside a restricted container")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_keeps_the_old_file_and_leaves_no_other_file(tiny_disk: Path) -> None:
    old = tiny_disk / "old.edgekit"
    write_atomic(old, b"old")
    for path in (old, tiny_disk / "new.edgekit"):
        with pytest.raises(OutputError, match=r"no space left \(.* bytes needed, .* free\): free"):
            write_atomic(path, bytes(100_000))
    assert [path.name for path in tiny_disk.iterdir()] == ["old.edgekit"]
    assert old.read_bytes() == b"old"


def test_a_file_size_limit_keeps_the_old_file(tmp_path: Path) -> None:
    old = tmp_path / "old.edgekit"
    write_atomic(old, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*: File too large"):
            write_atomic(old, bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["old.edgekit"]
    assert old.read_bytes() == b"old"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target.edgekit", tmp_path / "link.edgekit"
    link.symlink_to(target)
    write_atomic(link, b"content")
    assert link.is_symlink()
    assert target.read_bytes() == b"content"
