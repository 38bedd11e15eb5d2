"""`edgekit run` and `edgekit cameras` as a user starts them."""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import IO, Any

import cv2
import msgspec
import numpy as np
import pytest

from edgekit.bundle import open_bundle
from edgekit.profile.tflite_slicing import ModelCutter
from tests.environments import REPOSITORY
from tests.sources.video_files import (
    DEMO,
    LABELS,
    THIRD_PARTY_LABELS,
    THIRD_PARTY_MODEL,
    VIDEO,
    VIDEO_FPS,
    VIDEO_FRAMES,
    demo_model,
    make_demo_golden,
    numbered_frame,
    serve_mjpeg,
    write_demo_bundle,
    write_third_party_bundle,
    write_video,
)

KEYS = ["frame", "time_s", "label", "class", "score", "top", "stages_ms", "age_ms", "dropped"]
KEYS += ["captured_at"]
STAGES = ["capture", "preprocess", "inference", "postprocess"]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "edgekit", *(str(argument) for argument in arguments)]


def environment(**variables: str) -> dict[str, str]:
    screenless = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return {**screenless, "PYTHONPATH": str(REPOSITORY), **variables}


def edgekit(
    *arguments: object, folder: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        env=environment(**variables),
    )


def read_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def assert_one_line(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """It failed with exit 1 and one line on standard error that holds `words`."""
    assert result.returncode == 1, result.stderr
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("edgekit: ")
    for word in words:
        assert word in result.stderr


@pytest.fixture
def model() -> Path:
    return demo_model()


@pytest.fixture
def labels() -> Path:
    return LABELS


def test_json_has_one_line_a_frame(model: Path, labels: Path) -> None:
    result = edgekit("run", model, "--source", VIDEO, "--class-names", labels, "--json", "--top", 3)
    assert result.returncode == 0, result.stderr
    lines = read_lines(result.stdout)
    assert [line["frame"] for line in lines] == list(range(VIDEO_FRAMES))
    names = labels.read_text().splitlines()
    for line in lines:
        assert list(line) == KEYS
        assert list(line["stages_ms"]) == STAGES
        assert len(line["top"]) == 3
        best = line["top"][0]
        assert best == {key: line[key] for key in ("label", "class", "score")}
        assert names[line["class"]] == line["label"]
        assert line["time_s"] == pytest.approx(line["frame"] / VIDEO_FPS, abs=1e-6)
        assert line["age_ms"] > sum(line["stages_ms"].values()) - line["stages_ms"]["capture"] - 1
        assert line["dropped"] == 0
    assert f"{VIDEO_FRAMES} frames in" in result.stderr and "all decoded" in result.stderr
    assert "inference" in result.stderr and "p99 ms" in result.stderr
    assert "INFO" not in result.stderr


def test_plain_lines_and_frames_limit(model: Path, labels: Path) -> None:
    source = VIDEO
    result = edgekit(
        "run", model, "--source", source, "--class-names", labels, "--frames", 4, "--threads", 1
    )
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 4
    assert "0.080 s" in result.stdout and " %" not in result.stdout.splitlines()[0][:12]
    assert "workers: 1, threads: 1" in result.stderr
    assert "4 frames in" in result.stderr and "decoded" not in result.stderr


def test_bundle_gives_the_same_answers_as_its_model(test_data: Path, tmp_path: Path) -> None:
    model, labels = test_data / THIRD_PARTY_MODEL, test_data / THIRD_PARTY_LABELS
    bundle = write_third_party_bundle(tmp_path / "m.edgekit", test_data)
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("grace_hopper.bmp", "parrot.jpg"):
        shutil.copy(test_data / "photos" / name, photos)
    from_bundle = edgekit("run", bundle, "--source", photos, "--json")
    plain = edgekit(
        "run", model, "--source", photos, "--class-names", labels, "--resize", "stretch", "--json"
    )
    assert from_bundle.returncode == plain.returncode == 0, from_bundle.stderr + plain.stderr
    first, second = read_lines(from_bundle.stdout), read_lines(plain.stdout)
    assert [line["label"] for line in first] == [line["label"] for line in second]
    assert len(first) == 2


def test_bundle_that_answers_otherwise_is_refused_before_the_camera(tmp_path: Path) -> None:
    golden = make_demo_golden()
    wrong = msgspec.structs.replace(golden, logits=np.roll(golden.logits, 1))
    bundle = write_demo_bundle(tmp_path / "m.edgekit", [wrong])
    assert_one_line(edgekit("run", bundle, "--camera", 97), "wrong answers here", "golden logits")


def test_bundle_says_itself_how_it_is_fed() -> None:
    bundle = DEMO / "digits-pi.edgekit"
    assert_one_line(edgekit("run", bundle, "--resize", "crop"), "--resize is for plain .tflite")


def test_settings_file_names_model_and_source(model: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "numbers.avi", 3)
    (tmp_path / "edgekit.toml").write_text(f'[run]\nbundle = "{model}"\nsource = "numbers.avi"\n')
    result = edgekit("run", "--json", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert len(read_lines(result.stdout)) == 3
    assert "(edgekit.toml)" in result.stderr
    other = write_video(tmp_path / "other.avi", 2)
    result = edgekit("run", "--json", "--source", other, folder=tmp_path)
    assert len(read_lines(result.stdout)) == 2
    assert_one_line(edgekit("run", "--camera", 97, folder=tmp_path), "no camera /dev/video97")


def test_camera_and_source_together_are_a_usage_error(model: Path) -> None:
    result = edgekit("run", model, "--camera", 0, "--source", "x.mp4")
    assert result.returncode == 2
    assert "--camera and --source were both given" in result.stderr


def test_missing_camera(model: Path) -> None:
    assert_one_line(edgekit("run", model, "--camera", 97), "/dev/video97", "edgekit cameras")


def test_missing_model(tmp_path: Path) -> None:
    result = edgekit("run", tmp_path / "no.tflite", "--source", tmp_path)
    assert_one_line(result, "cannot read model", "No such file")


def test_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "no.tflite").write_text("not a model at all")
    result = edgekit("run", tmp_path / "no.tflite", "--source", tmp_path)
    assert_one_line(result, "is not a TFLite or ONNX model")


def test_class_names_that_do_not_fit(model: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    result = edgekit("run", model, "--source", tmp_path, "--class-names", tmp_path / "names.txt")
    assert_one_line(result, "2 class names do not fit the 10 classes")


def test_video_cut_short_is_told_and_exit_1(model: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(VIDEO.read_bytes()[:300_000])
    result = edgekit("run", model, "--source", cut, "--json")
    assert result.returncode == 1, result.stderr
    count = len(result.stdout.splitlines())
    assert 0 < count < VIDEO_FRAMES
    assert (
        f"cut.mp4 is damaged or cut short: decoded {count} of {VIDEO_FRAMES} frames"
        in result.stderr
    )


def test_video_without_a_decodable_frame(model: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    whole = VIDEO.read_bytes()
    cut.write_bytes(whole[: whole.index(b"mdat") + 100])
    result = edgekit("run", model, "--source", cut)
    assert result.returncode == 1
    assert "none of its frames can be decoded" in result.stderr
    assert "moov" not in result.stderr and "Traceback" not in result.stderr


def test_damaged_image_is_named(model: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), numbered_frame(3))
    (tmp_path / "b.png").write_bytes(b"broken")
    for strict, code in ((), 0), (("--strict",), 1):
        result = edgekit("run", model, "--source", tmp_path, "--json", *strict)
        assert result.returncode == code
        assert len(result.stdout.splitlines()) == 1
        assert "b.png (6 bytes) cannot be decoded" in result.stderr.splitlines()[-1]


def test_on_change_leaves_out_repeated_classes(model: Path) -> None:
    arguments = ("run", model, "--source", VIDEO, "--json", "--frames", 100)
    every = [line["class"] for line in read_lines(edgekit(*arguments).stdout)]
    changes = [line["class"] for line in read_lines(edgekit(*arguments, "--on-change").stdout)]
    assert changes == [c for i, c in enumerate(every) if i == 0 or c != every[i - 1]]
    assert len(changes) < len(every)


def test_reader_that_goes_away(model: Path) -> None:
    process = subprocess.Popen(
        command("run", model, "--source", VIDEO, "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    told = process.stderr.read()
    process.stderr.close()
    assert process.wait(20) == 0
    assert "Traceback" not in told and "BrokenPipe" not in told


def test_full_disk(model: Path) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            command("run", model, "--source", VIDEO, "--json"),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            env=environment(),
        )
    assert result.returncode == 1
    assert "cannot be written to standard output (No space left" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_live_stream_with_a_summary(model: Path, number: signal.Signals) -> None:
    with serve_mjpeg(frames=10_000, interval_s=0.01) as url:
        process = start_and_wait_for_a_line("run", model, "--source", url, "--json")
        seconds, told = send_and_measure(process, number)
    assert process.returncode == 0
    assert seconds < 2
    assert "frames/s" in told and "p99 ms" in told and "Traceback" not in told


def test_ctrl_c_ends_a_silent_stream(model: Path) -> None:
    with serve_mjpeg(frames=5, interval_s=0.01, hold=True) as url:
        process = start_and_wait_for_a_line("run", model, "--source", url, "--json")
        time.sleep(0.5)
        seconds, told = send_and_measure(process, signal.SIGINT)
    assert process.returncode == 0
    assert seconds < 2
    assert "frames/s" in told and "Traceback" not in told


def test_ctrl_c_ends_a_file_behind_a_whole_line(model: Path) -> None:
    video = VIDEO
    process = start_and_wait_for_a_line("run", model, "--source", video, "--json", "--threads", 1)
    assert process.stdout is not None
    process.send_signal(signal.SIGINT)
    lines = read_lines(process.stdout.read())
    process.communicate(timeout=5)
    assert process.returncode == 0
    assert [line["frame"] for line in lines] == list(range(1, len(lines) + 1))


def start_and_wait_for_a_line(*arguments: object) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(PYTHONUNBUFFERED="1"),
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith('{"frame":')
    return process


def send_and_measure(process: subprocess.Popen[str], number: signal.Signals) -> tuple[float, str]:
    """How long the process lived after the signal, and what it wrote to standard error."""
    began = time.monotonic()
    process.send_signal(number)
    _, told = process.communicate(timeout=20)
    return time.monotonic() - began, told


def test_server_that_dies(model: Path) -> None:
    with serve_mjpeg(frames=30, interval_s=0.02) as url:
        result = edgekit("run", model, "--source", url, "--json", "--once")
    assert result.returncode == 1
    lines = read_lines(result.stdout)
    assert lines
    assert lines[-1]["frame"] + 1 == len(lines) + sum(line["dropped"] for line in lines)
    assert lines == sorted(lines, key=lambda line: line["time_s"])
    told = result.stderr.splitlines()
    assert "frames/s" in result.stderr
    assert told[-1].startswith(f"edgekit: {url} stopped delivering after")


@pytest.mark.parametrize(
    "url",
    ["rtsp://admin:hunter2@127.0.0.1:9/live", "http://127.0.0.1:9/cgi?user=admin&pwd=hunter2"],
)
def test_password_never_shows(model: Path, url: str) -> None:
    result = edgekit("run", model, "--source", url, "--json")
    assert_one_line(result, "cannot reach", "***", "Connection refused")
    assert "hunter2" not in result.stderr


def test_password_never_shows_while_it_works(model: Path) -> None:
    with serve_mjpeg(frames=10, interval_s=0.02) as url:
        secret = url.replace("http://", "http://admin:hunter2@") + "?token=hunter2"
        result = edgekit("run", model, "--source", secret, "--json", "--frames", 2)
    assert result.returncode == 0, result.stderr
    assert "***@127.0.0.1" in result.stderr
    assert "hunter2" not in result.stderr + result.stdout


def test_show_without_a_screen(model: Path) -> None:
    result = edgekit("run", model, "--source", VIDEO, "--show")
    assert_one_line(result, "--show needs a screen", "DISPLAY")


def test_show_on_a_screen_that_is_not_there(model: Path) -> None:
    result = edgekit("run", model, "--source", VIDEO, "--show", DISPLAY=":97")
    assert_one_line(result, "--show")


def test_cameras_json_is_one_document() -> None:
    result = edgekit("cameras", "--json")
    assert result.returncode == 0
    (document,) = read_lines(result.stdout)
    assert [camera["path"] for camera in document["cameras"]] == [
        f"/dev/{path.name}" for path in sorted(Path("/dev").glob("video*"))
    ]


def test_panel_on_a_terminal(model: Path, labels: Path) -> None:
    text = run_on_a_terminal(
        "run", model, "--source", VIDEO, "--class-names", labels, "--frames", 40
    )
    assert "frames/s" in text and "dropped" in text and "%" in text
    assert "Traceback" not in text


def test_an_error_leaves_the_terminal_its_cursor(model: Path) -> None:
    text = run_on_a_terminal("run", model, "--source", "test://", "--metrics", 99999)
    assert "--metrics is '99999'" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h")


def test_a_terminal_that_knows_few_letters(model: Path, labels: Path) -> None:
    words = ["--class-names", labels, "--frames", 40]
    text = run_on_a_terminal("run", model, "--source", VIDEO, *words, PYTHONIOENCODING="ascii")
    assert "#" in text and "frames/s" in text
    assert "Traceback" not in text


def run_on_a_terminal(*arguments: Any, **variables: str) -> str:
    """What a command writes to a pseudo terminal."""
    words = command(*arguments)
    pid, descriptor = pty.fork()
    if pid == 0:
        os.execve(words[0], words, environment(**variables))
    written = b""
    try:
        while piece := os.read(descriptor, 4096):
            written += piece
    except OSError:
        pass  # how a terminal says that its last process has ended
    os.waitpid(pid, 0)
    return written.decode(errors="replace")


def test_a_model_that_fails_while_the_video_opens(tmp_path: Path) -> None:
    """The opening returns from native code while Python ends, which would abort the process."""
    video, slow = tmp_path / "video.mp4", tmp_path / "slow"
    os.mkfifo(video)
    slow.mkdir()
    (slow / "sitecustomize.py").write_text(
        "import os, time\n"
        "class Last:\n"
        "    def __del__(self, write=os.write, sleep=time.sleep):\n"
        "        write(2, b'ending\\n')\n"
        "        sleep(3)\n"
        "last = Last()\n"
    )
    model = tmp_path / "bad.tflite"
    model.write_bytes(b"xxxxTFL3" + bytes(100))
    with subprocess.Popen(
        command("run", model, "--source", video),
        env=environment(PYTHONPATH=f"{slow}:{REPOSITORY}"),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line == "ending\n":
                break
        with contextlib.suppress(OSError):  # nobody has it open any more
            os.close(os.open(video, os.O_WRONLY | os.O_NONBLOCK))
        process.wait(20)
    assert process.returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_nobody_reads(model: Path, number: signal.Signals) -> None:
    """The pipe is full; the stream ends all the same, and says what is lost."""
    with subprocess.Popen(
        command("run", model, "--source", "test://?fps=200", "--json"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stderr.readline()
        wait_until_full(process.stdout)
        process.send_signal(number)
        began = time.monotonic()
        assert process.wait(10) == 1
        assert time.monotonic() - began < 2
        told = process.stderr.read()
    assert "frames/s" in told
    assert told.splitlines()[-1].startswith("edgekit: nobody reads the results on standard output")


def wait_until_full(pipe: IO[str]) -> None:
    """Until nothing more goes into a pipe that nobody reads."""
    held, end_s = -1, time.monotonic() + 30
    while time.monotonic() < end_s:
        count = array.array("i", [0])
        fcntl.ioctl(pipe, termios.FIONREAD, count)
        if count[0] == held > 0:
            return
        held = count[0]
        time.sleep(1)
    raise AssertionError(f"the pipe never filled: {held} bytes")


@pytest.mark.parametrize(
    ("closed", "code", "told"),
    [("2>&-", 0, ""), ("<&-", 0, "all decoded"), (">&-", 1, "standard output is closed")],
)
def test_standard_streams_that_are_closed(model: Path, closed: str, code: int, told: str) -> None:
    words = shlex.join(command("run", model, "--source", VIDEO, "--json"))
    result = subprocess.run(
        ["sh", "-c", f"{words} {closed}"], capture_output=True, text=True, env=environment()
    )
    assert result.returncode == code
    assert told in result.stderr and "Traceback" not in result.stderr
    assert len(read_lines(result.stdout)) == (0 if code else VIDEO_FRAMES)


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("option", ["--smooth", "--every", "--min-score", "--max-age", "--rotate"])
def test_numbers_that_are_none(model: Path, option: str, value: str) -> None:
    result = edgekit("run", model, "--source", "test://", option, value)
    assert result.returncode == 2
    assert "is not" in result.stderr and "Traceback" not in result.stderr


def test_a_file_of_less_than_a_byte_still_takes_results(model: Path, tmp_path: Path) -> None:
    words = ["--output", tmp_path / "r.jsonl", "--rotate", "1e-9", "--frames", "3"]
    result = edgekit("run", model, "--source", VIDEO, *words)
    assert result.returncode == 0, result.stderr
    lines = [file.read_text().splitlines() for file in tmp_path.glob("r*")]
    assert sum(map(len, lines)) == 3


def test_a_name_with_a_line_in_it_stays_one_line(model: Path, tmp_path: Path) -> None:
    (tmp_path / "junk\nname.mp4").write_text("no video")
    result = edgekit("run", model, "--source", tmp_path / "junk\nname.mp4")
    assert_one_line(result, "junk name.mp4", "cannot be opened as a video")


def test_an_output_whose_name_is_no_utf8(model: Path, tmp_path: Path) -> None:
    target = os.fsdecode(os.fsencode(tmp_path) + b"/o\xff.mp4")
    result = edgekit("run", model, "--source", VIDEO, "--output", target)
    assert_one_line(result, "is not UTF-8: choose another")


def test_a_network_that_gives_a_picture(tmp_path: Path) -> None:
    """As one that finds areas does: the demo's own, cut behind its first convolutions."""
    bundle = open_bundle(REPOSITORY / "calibration/demo/digits-pi.edgekit")
    cutter = ModelCutter(bundle.model)
    piece = next(iter(cutter.cut(cutter.find_cuts())))
    (tmp_path / "areas.tflite").write_bytes(piece.model)
    result = edgekit("run", tmp_path / "areas.tflite", "--source", "test://")
    assert_one_line(result, "1 outputs, the first of shape (1, ", "expected one, class scores")
