"""What workers share is made once, and a test that wants the machine alone gets it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import workers
from tests.workers import machine_for, make_once


@pytest.fixture(autouse=True)
def run_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(workers.RUN_VARIABLE, str(tmp_path))


def test_the_first_who_asks_makes_it_and_the_others_wait() -> None:
    made: list[Path] = []

    def make(path: Path) -> None:
        made.append(path)
        time.sleep(0.1)
        path.write_text("whole")

    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: make_once("thing", make), range(4)))
        assert [path.read_text() for path in paths] == ["whole"] * 4
    assert len(made) == 1


def test_what_failed_is_made_again() -> None:
    def fail(folder: Path) -> None:
        folder.mkdir()
        raise ValueError("no network")

    with pytest.raises(ValueError, match="no network"):
        make_once("folder", fail)
    assert make_once("folder", Path.mkdir).is_dir()


def test_one_who_wants_the_machine_alone_is_next() -> None:
    """It waits for the test that runs, and the test that comes after it waits for it."""
    order: list[str] = []
    began = threading.Event()

    def run(name: str, *, alone: bool, seconds: float) -> None:
        with machine_for(alone=alone):
            order.append(f"{name} begins")
            began.set()
            time.sleep(seconds)
            order.append(f"{name} ends")

    threads = []
    for name, alone in (("first", False), ("alone", True), ("last", False)):
        thread = threading.Thread(target=run, args=(name,), kwargs={"alone": alone, "seconds": 0.3})
        thread.start()
        threads.append(thread)
        began.wait()
        time.sleep(0.1)  # the next asks while the first still runs
    for thread in threads:
        thread.join()
    assert [text.split()[0] for text in order] == ["first"] * 2 + ["alone"] * 2 + ["last"] * 2


def test_others_run_side_by_side() -> None:
    together = threading.Barrier(2, timeout=10)

    def run() -> None:
        with machine_for(alone=False):
            together.wait()

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(run) for _ in range(2)]:
            future.result()
