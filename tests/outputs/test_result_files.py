"""Result files: whole lines only, rotated by size, a full disk survived."""

from __future__ import annotations

import csv
import errno
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgekit.errors import OutputError, SettingsError
from edgekit.outputs.annotated_video import VideoOutput
from edgekit.outputs.base import NumberedResult
from edgekit.outputs.open_output import OutputContext, open_output
from edgekit.outputs.result_files import COLUMNS, FileOutput, RotatedFile
from tests.outputs.results import make_labels, make_numbered, make_result

CONTEXT = OutputContext(("a", "b"), "a board", 10.0, 100_000, 2)


def test_json_lines(tmp_path: Path) -> None:
    output = FileOutput(tmp_path / "r.jsonl")
    output.write(make_numbered(3))
    output.write([])
    output.write(make_numbered(2, first=3))
    output.close()
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [f"run-{index}" for index in range(5)]
    assert lines[0]["stages_ms"]["inference"] == 3.0


def test_csv_has_one_head(tmp_path: Path) -> None:
    for _ in range(2):
        output = FileOutput(tmp_path / "r.csv")
        output.write(make_numbered(3))
        output.close()
    with (tmp_path / "r.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 6
    assert tuple(rows[0]) == COLUMNS
    assert rows[1]["label"] == "class 1" and rows[1]["inference_ms"] == "3.0"


def test_several_labels_none_and_one(tmp_path: Path) -> None:
    """JSON lists them with their scores; CSV joins them as `edgekit evaluate` reads them."""
    results = [
        NumberedResult(str(number), result)
        for number, result in enumerate((make_labels(0, 3), make_labels(), make_result(2)))
    ]
    for name in ("r.jsonl", "r.csv"):
        output = FileOutput(tmp_path / name)
        output.write(results)
        output.close()
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert lines[0]["labels"] == [
        {"label": "class 0", "class": 0, "score": 0.9},
        {"label": "class 3", "class": 3, "score": 0.75},
    ]
    assert (lines[0]["label"], lines[0]["class"], lines[0]["score"]) == ("class 0; class 3", 0, 0.9)
    assert (lines[1]["label"], lines[1]["class"], lines[1]["labels"]) == ("none", None, [])
    assert lines[1]["score"] == 0.25 and len(lines[1]["top"]) == 5
    assert "labels" not in lines[2]
    with (tmp_path / "r.csv").open() as stream:
        rows = [(row["label"], row["class"], row["score"]) for row in csv.DictReader(stream)]
    assert rows == [("class 0;class 3", "0;3", "0.9;0.75"), ("", "", ""), ("class 2", "2", "0.75")]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_files_are_rotated_between_lines(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"r{suffix}"
    output = FileOutput(path, limit=2000, keep=3)
    for number in range(100):
        output.write(make_numbered(1, first=number))
    output.close()
    files = [path, *(path.with_name(f"{path.name}.{number}") for number in (1, 2, 3))]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    heads = 1 if suffix == ".csv" else 0
    ids = []
    for file in reversed(files):
        assert file.stat().st_size <= 2000
        lines = file.read_text().splitlines()[heads:]
        ids += [line.split(",")[0] if heads else json.loads(line)["id"] for line in lines]
    assert ids == [f"run-{index}" for index in range(100 - len(ids), 100)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_whole_lines_and_is_survived(small_disk: Path) -> None:
    output = FileOutput(small_disk / "r.jsonl")
    written, filler = 0, small_disk / "filler"
    with pytest.raises(OutputError, match=r"cannot write .*r\.jsonl \(No space left on device\)"):
        while True:
            output.write(make_numbered(20, first=written))
            written += 20
    lines = (small_disk / "r.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [f"run-{n}" for n in range(written)]
    with pytest.raises(OutputError):
        output.write(make_numbered(200, first=written))
    assert not filler.exists()
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    output.write(make_numbered(200, first=written))
    output.close()
    lines = (small_disk / "r.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [f"run-{n}" for n in range(written + 200)]


def test_an_annotated_video(tmp_path: Path) -> None:
    output = VideoOutput(tmp_path / "v.mp4", fps=10)
    frames = [np.full((48, 64, 3), 30 * index, np.uint8) for index in range(6)]
    output.write([NumberedResult(str(i), make_result(i, frame)) for i, frame in enumerate(frames)])
    output.close()
    reader = cv2.VideoCapture(str(tmp_path / "v.mp4"))
    assert int(reader.get(cv2.CAP_PROP_FRAME_COUNT)) == 6
    assert reader.read()[1].shape == (48, 64, 3)


def test_a_video_is_kept_when_another_begins(tmp_path: Path) -> None:
    for _ in range(2):
        output = VideoOutput(tmp_path / "v.avi", fps=10)
        output.write([NumberedResult("1", make_result(1, np.zeros((48, 64, 3), np.uint8)))])
        output.write([NumberedResult("2", make_result(2, np.zeros((24, 64, 3), np.uint8)))])
        output.close()
    assert len(list(tmp_path.glob("v.avi*"))) == 4


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("results.txt", "is not understood: expected FILE.jsonl"),
        ("ftp://host/x", "is not understood"),
        ("/nowhere/r.csv", "cannot write /nowhere/r.csv (No such file or directory)"),
        ("mqtt://", "names no host"),
        ("mqtt://user:hunter2@host", "has no topic after its host"),
        ("mqtt://user:hunter2@host/a/#", "a stray character"),
        ("mqtt://user:hunter2@host/a/+", "or one with + # or @"),
        ("mqtt://user:hunter2@host/a b", "a stray character"),
        ("mqtt://user:hunter2@host:x/a", "cannot be read"),
        ("mqtts://host/a?password=hunter2", "has settings, of which only ca=FILE"),
        ("mqtt://user:1883/hunter2@broker/t", "or one with + # or @"),
        ("mqtt:/user:hunter2@host/t", "is not understood"),
        ("http://host/a\x7f?token=hunter2", "a stray character"),
        ("http://user:hunter2@host/a b", "a stray character"),
        ("https://user:hunter2@:80/", "names no host"),
    ],
)
def test_targets_that_will_not_do(target: str, told: str) -> None:
    with pytest.raises((OutputError, SettingsError)) as caught:
        open_output(target, CONTEXT)
    assert told in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_half_written_pieces_are_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = RotatedFile(tmp_path / "f", limit=1000, keep=1)
    file.append(b"whole\n")
    assert file._file is not None
    original = file._file

    class Failing:
        def write(self, data: bytes) -> None:
            original.write(data[:3])
            original.flush()

        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        truncate, close = original.truncate, original.close

    file._file = Failing()  # type: ignore[assignment]
    with pytest.raises(OSError, match="No space"):
        file.append(b"broken\n")
    file.append(b"whole again\n")
    file.close()
    assert (tmp_path / "f").read_bytes() == b"whole\nwhole again\n"


def test_a_half_line_of_a_power_cut_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "r.JSONL"
    output = FileOutput(path)
    output.write(make_numbered(2))
    output.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    output = FileOutput(path)
    output.write(make_numbered(1, first=5))
    output.close()
    ids = [json.loads(line)["id"] for line in path.read_text().splitlines()]
    assert ids == ["run-0", "run-5"]
