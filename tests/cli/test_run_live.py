"""`edgekit run` on sources that are lost and come back, and its options for live sources."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import pytest

from edgekit.runtime import live_loop
from tests.cli.test_run import (
    assert_one_line,
    command,
    edgekit,
    environment,
    read_lines,
    send_and_measure,
    start_and_wait_for_a_line,
)
from tests.environments import skip_or_fail
from tests.packaging.conftest import SYSTEM_PYTHON
from tests.sources.video_files import (
    DEMO,
    VIDEO,
    VIDEO_FPS,
    VIDEO_FRAMES,
    demo_model,
    serve_mjpeg,
)

RTSP_SERVER = Path(__file__).parents[1] / "sources/rtsp_server.py"


@pytest.fixture
def model() -> Path:
    return demo_model()


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def rtsp_server(port: int, *account: str) -> Iterator[str]:
    """An RTSP camera of 30 frames/s; stopped as by a power cut."""
    needed = "import gi; gi.require_version('GstRtspServer', '1.0')"
    if subprocess.run([SYSTEM_PYTHON, "-c", needed], capture_output=True).returncode:
        skip_or_fail("the system's Python has no GStreamer RTSP server: run `make system-deps`")
    server = subprocess.Popen(
        [SYSTEM_PYTHON, str(RTSP_SERVER), str(port), "30", *account],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None and server.stdout.readline() == "ready\n"
        yield f"rtsp://127.0.0.1:{port}/live"
    finally:
        server.kill()
        server.communicate()


@pytest.mark.slow
def test_an_rtsp_server_that_restarts(model: Path) -> None:
    port = find_port()
    with rtsp_server(port, "viewer", "hunter2") as url:
        secret = url.replace("rtsp://", "rtsp://viewer:hunter2@")
        process = start_and_wait_for_a_line("run", model, "--source", secret, "--json")
    assert process.stdout is not None
    time.sleep(1)
    with rtsp_server(port, "viewer", "hunter2"):
        lost_at, line = time.monotonic(), ""
        os.set_blocking(process.stdout.fileno(), True)
        seen: list[str] = []
        while time.monotonic() - lost_at < 20 and len(seen) < 60:
            line = process.stdout.readline()
            seen.append(line)
        seconds, told = send_and_measure(process, signal.SIGTERM)
    lines = read_lines("".join(seen))
    assert process.returncode == 0
    assert seconds < 2
    assert len(lines) == 60
    assert told.count("source lost: rtsp://***@127.0.0.1") == 1
    assert told.count("source live: ") == 1
    assert "source lost 1 time" in told
    assert "hunter2" not in told + "".join(seen)
    frames = [line["frame"] for line in lines]
    assert frames == sorted(set(frames))


@pytest.mark.slow
def test_a_camera_that_is_lost_and_comes_back_over_http(model: Path) -> None:
    with serve_mjpeg(frames=20, interval_s=0.02) as url:
        result = edgekit("run", model, "--source", url, "--json", "--frames", 45)
    assert result.returncode == 0, result.stderr
    assert len(read_lines(result.stdout)) == 45
    assert "stopped delivering after 20 frames" in result.stderr
    assert "source live: " in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_waiting_for_a_camera(model: Path) -> None:
    port = find_port()
    process = subprocess.Popen(
        command(
            *("run", model, "--source", f"http://127.0.0.1:{port}/camera.mjpg"),
            *("--json", "--wait", "--frames", 3),
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    time.sleep(2)
    assert process.poll() is None
    with serve_mjpeg(frames=1000, interval_s=0.02, port=port):
        output, told = process.communicate(timeout=30)
    assert process.returncode == 0, told
    assert len(read_lines(output)) == 3
    assert told.count("source lost: cannot reach") == 1
    assert told.count("opened after ") == 1


@pytest.mark.slow
def test_a_frozen_camera_is_told(model: Path) -> None:
    with serve_mjpeg(frames=10_000, interval_s=0.02, changing=5) as url:
        process = start_and_wait_for_a_line("run", model, "--source", url, "--json")
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        output, told = process.communicate(timeout=10)
    assert len(output.splitlines()) < 5
    assert told.count("source frozen: http://127.0.0.1") == 1
    assert "repeats the same picture" in told
    assert " repeated" in told.partition("frames/s")[2]


@pytest.mark.slow
def test_policies_on_a_file(model: Path) -> None:
    arguments = ("run", model, "--source", VIDEO, "--json")
    skipped = read_lines(edgekit(*arguments, "--policy", "skip 9").stdout)
    assert [line["frame"] for line in skipped] == list(range(0, VIDEO_FRAMES, 10))
    seldom = read_lines(edgekit(*arguments, "--every", "4").stdout)
    assert [line["frame"] for line in seldom] == list(range(0, VIDEO_FRAMES, 4 * VIDEO_FPS))


@pytest.mark.alone
def test_a_video_played_in_time(model: Path) -> None:
    arguments = ("--policy", "latest", "--frames", 13, "--json")
    result = edgekit("run", model, "--source", VIDEO, *arguments)
    lines = read_lines(result.stdout)
    assert [line["frame"] for line in lines] == list(range(13))
    assert lines[-1]["captured_at"] - lines[0]["captured_at"] == pytest.approx(
        12 / VIDEO_FPS, abs=0.1
    )


@pytest.mark.slow
def test_smoothing_and_least_scores(model: Path) -> None:
    arguments = ("run", model, "--source", VIDEO, "--json")
    plain = read_lines(edgekit(*arguments).stdout)
    smooth = read_lines(edgekit(*arguments, "--smooth", "0.1").stdout)
    assert len(smooth) == len(plain) == VIDEO_FRAMES
    assert smooth[0]["top"] == plain[0]["top"]
    assert count_changes(smooth) < count_changes(plain) / 2
    sure = edgekit(*arguments, "--min-score", "0.5")
    expected = [line["frame"] for line in plain if line["score"] >= 0.5]
    assert [line["frame"] for line in read_lines(sure.stdout)] == expected
    assert f"{VIDEO_FRAMES - len(expected)} not reported" in sure.stderr


def count_changes(lines: list[dict[str, object]]) -> int:
    classes = [line["class"] for line in lines]
    return sum(first != second for first, second in pairwise(classes))


def test_a_region_is_what_is_classified(model: Path, tmp_path: Path) -> None:
    import cv2

    _, photo = cv2.VideoCapture(str(VIDEO)).read()
    cv2.imwrite(str(tmp_path / "cut.png"), photo[100:440, 50:350])
    cv2.imwrite(str(tmp_path / "whole.png"), photo)
    run = ("run", model, "--json", "--source")
    (cut,) = read_lines(edgekit(*run, tmp_path / "cut.png").stdout)
    (seen,) = read_lines(edgekit(*run, tmp_path / "whole.png", "--roi", "50,100,300,340").stdout)
    assert seen["top"] == cut["top"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--policy", "some"], "--policy is 'some': expected latest, every, or 'skip N'"),
        (["--roi", "1,2,3"], "--roi is '1,2,3': expected x,y,w,h"),
        (["--roi", "700,0,100,100"], "leaves the frame, which has 640x480 pixels"),
        (["--size", "big"], "--size is 'big': expected WxH"),
        (["--wait"], "--wait is for cameras and streams"),
        (["--once"], "--once is for cameras and streams"),
        (["--max-age", "50"], "--max-age is for cameras and streams"),
        (["--size", "640x480"], "--size is for cameras, and "),
        (["--fps", "30"], "--fps is for cameras, and "),
    ],
)
def test_options_that_will_not_do(model: Path, options: list[str], told: str) -> None:
    result = edgekit("run", model, "--source", VIDEO, "--json", *options)
    assert result.returncode == 1
    assert told in result.stderr.splitlines()[-1]
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_images_have_no_speed_of_their_own(model: Path) -> None:
    result = edgekit("run", model, "--source", DEMO / "test", "--policy", "latest")
    assert_one_line(result, "--policy latest is for what has a speed of its own", "images")


@pytest.fixture
def film_url() -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(VIDEO.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{VIDEO.name}"
        server.shutdown()


@pytest.mark.parametrize("options", [["--policy", "latest"], ["--max-age", "50"]])
def test_a_film_behind_a_url_is_no_stream(film_url: str, model: Path, options: list[str]) -> None:
    result = edgekit("run", model, "--source", film_url, *options)
    assert_one_line(result, f"{film_url} is a film: leave --policy latest and --max-age out")


def test_every_frame_of_a_film_behind_a_url(film_url: str, model: Path) -> None:
    result = edgekit("run", model, "--source", film_url, "--json")
    assert result.returncode == 0, result.stderr
    assert [line["frame"] for line in read_lines(result.stdout)] == [*range(VIDEO_FRAMES)]


@pytest.mark.slow
def test_a_program_that_was_stopped_itself(model: Path) -> None:
    """As by a freezer of the system: nothing of the camera is lost."""
    with subprocess.Popen(
        command("run", model, "--source", "test://?fps=5", "--json"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        time.sleep(live_loop.STALL_S + 1)
        process.send_signal(signal.SIGCONT)
        for _ in range(5):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "lost" not in told
