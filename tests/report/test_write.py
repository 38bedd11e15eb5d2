"""A report's files: all of them or none."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from edgekit.errors import OutputError
from edgekit.profile.record import Report, encode_report
from edgekit.report.rendering import render
from edgekit.report.write import check_folder, write_report
from tests.report.records import make_report, make_result


@pytest.fixture
def report() -> Report:
    """Its page is the largest of its files."""
    result = make_result()
    chunks = (
        msgspec.structs.replace(result.model_samples[0], latency_ms=(18.0, 18.1)),
        msgspec.structs.replace(result.frame_samples[0], latency_ms=(22.0, 22.1)),
    )
    few = msgspec.structs.replace(result, model_samples=chunks[:1], frame_samples=chunks[1:])
    made = make_report(few)
    return msgspec.structs.replace(
        made, conditions=msgspec.structs.replace(made.conditions, during=())
    )


@pytest.fixture
def full_disk(report: Report) -> Iterator[None]:
    """A file cannot become as large as the page."""
    size = len(render(report).html().encode())
    assert len(encode_report(report)) < size - 1
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_nothing(report: Report, full_disk: None, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*report\.html.*: File too large"):
        write_report(report, tmp_path / "deep" / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_older_report(
    report: Report, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    older = make_report(make_result("older"))
    write_report(older, tmp_path)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    request.getfixturevalue("full_disk")
    with pytest.raises(OutputError):
        write_report(report, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_a_link_stays(report: Report, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("old")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").symlink_to("../page.html")
    write_report(report, tmp_path / "out")
    assert (tmp_path / "out" / "report.html").is_symlink()
    assert (tmp_path / "page.html").read_text() == render(report).html()


def test_a_folder_that_exists_or_can_be_made_is_accepted(tmp_path: Path) -> None:
    check_folder(tmp_path)
    check_folder(tmp_path / "deep" / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    for folder in (tmp_path / "link", tmp_path / "link" / "out"):
        with pytest.raises(OutputError, match="link is a link to nothing: choose another with -o"):
            check_folder(folder)


@pytest.mark.parametrize("name", ["report.json", "report.md", "report.html"])
def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(OutputError, match=f"{name}: it is a folder"):
        check_folder(tmp_path)


@pytest.mark.parametrize("deep", ["", "absent/"])
def test_a_name_that_is_too_long_is_refused(tmp_path: Path, deep: str) -> None:
    with pytest.raises(OutputError, match="File name too long: choose another with -o"):
        check_folder(tmp_path / f"{deep}{'a' * 300}")
