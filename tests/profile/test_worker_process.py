"""The measured process: what it says that it used, and how it ends."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.profile.worker_process import MeasuredProcess
from edgekit.profile.worker_protocol import (
    Load,
    Settle,
    TimeLoop,
    TimeModel,
    encode,
)
from edgekit.resources import resource


@pytest.fixture
def process() -> Iterator[MeasuredProcess]:
    load = Load(
        model=str(resource("calibration/demo/digits-pi.edgekit")),
        source=str(resource("calibration/demo/test")),
        threads=1,
    )
    with MeasuredProcess(load) as started:
        yield started


@pytest.mark.alone
@pytest.mark.parametrize("request_", [TimeModel(seconds=0.01), TimeLoop(seconds=0.01)])
def test_load_and_warm_up_are_not_booked_to_a_turn(
    process: MeasuredProcess, request_: TimeModel | TimeLoop
) -> None:
    assert process.used.cpu_s > 0.1  # Python, OpenCV, the model
    process.ask(Settle(limit_s=1.0))
    began_s = time.monotonic()
    process.ask(request_)
    elapsed_s = time.monotonic() - began_s
    assert 0 < process.used.cpu_s < elapsed_s + 0.02  # one thread
    assert process.used.waited_s <= elapsed_s


def test_an_interruption_while_it_ends_is_not_lost(process: MeasuredProcess) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    os.kill(process._process.pid, signal.SIGSTOP)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            process.close()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not Path(f"/proc/{process._process.pid}").exists()


def test_its_end_does_not_wait_for_an_answer_that_nobody_reads(process: MeasuredProcess) -> None:
    process._process.stdin.write(encode(TimeModel(seconds=1.0)) + b"\n")
    process._process.stdin.flush()
    select.select([process._process.stdout], [], [])
    began_s = time.monotonic()
    process.close()
    assert time.monotonic() - began_s < 3
    assert process._process.returncode != -signal.SIGKILL
