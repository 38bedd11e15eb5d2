"""Outputs that are slow, fail, come back or hang: the loop never waits, and all is counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from edgekit.errors import OutputError
from edgekit.outputs import delivery as module
from edgekit.outputs.base import NumberedResult, Output
from edgekit.outputs.delivery import Delivery, OutputsSink
from tests.outputs.results import make_numbered, make_result, wait_until
from tests.sources.video_files import wait_for_threads


class Collector(Output):
    """Keeps what it gets; fails while `reason` is set, waits while `gate` is closed."""

    name = "collector"

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.reason: str | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.closed = False
        self.pixels: list[bool] = []

    def write(self, results: Sequence[NumberedResult]) -> None:
        self.gate.wait()
        if self.reason:
            raise OutputError(self.reason)
        self.seen += [numbered.id for numbered in results]
        self.pixels += [numbered.result.pixels is not None for numbered in results]

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "RETRY_S", (0.02,))
    monkeypatch.setattr(module, "CLOSE_S", 0.5)
    yield
    assert wait_for_threads("edgekit-") == []


def finish(*deliveries: Delivery) -> None:
    for delivery in deliveries:
        delivery.begin_end()
        delivery.end(time.monotonic() + 1)


def test_results_arrive_in_order() -> None:
    output = Collector()
    told: list[str] = []
    delivery = Delivery(output, told.append)
    for numbered in make_numbered(500):
        delivery.put(numbered)
    finish(delivery)
    assert output.seen == [f"run-{index}" for index in range(500)]
    assert output.closed and told == []
    assert delivery.counts == (500, 0, 0, "works")


def test_an_output_that_fails_is_told_once_and_gets_the_same_again() -> None:
    output = Collector()
    told: list[str] = []
    output.reason = "the disk is full"
    delivery = Delivery(output, told.append)
    for numbered in make_numbered(10):
        delivery.put(numbered)
    wait_until(lambda: delivery.counts.failures > 3)
    assert delivery.counts.state == "fails"
    output.reason = None
    wait_until(lambda: len(output.seen) == 10)
    finish(delivery)
    assert output.seen == [f"run-{index}" for index in range(10)]
    assert told == [
        "output collector fails: the disk is full",
        "output collector works again, 0 results dropped",
    ]


def test_the_oldest_are_dropped_and_counted() -> None:
    output = Collector()
    told: list[str] = []
    output.reason = "away"
    delivery = Delivery(output, told.append, waiting=20)
    for numbered in make_numbered(100):
        delivery.put(numbered)
        time.sleep(0.001)
    time.sleep(0.1)
    output.reason = None
    wait_until(lambda: bool(output.seen))
    finish(delivery)
    assert output.seen == [f"run-{index}" for index in range(100 - len(output.seen), 100)]
    assert 20 <= len(output.seen) <= 40
    assert delivery.counts.dropped == 100 - len(output.seen)


def test_an_output_that_blocks_does_not_hold_up_the_loop() -> None:
    output = Collector()
    told: list[str] = []
    output.gate.clear()
    deliveries = OutputsSink([output], told.append)
    began = time.monotonic()
    for index in range(5000):
        deliveries.write(make_result(index))
    assert time.monotonic() - began < 0.5
    deliveries.close()
    assert time.monotonic() - began < 2
    assert "did not finish" in told[-1]
    output.gate.set()


def test_what_fails_to_the_end_is_counted() -> None:
    output = Collector()
    told: list[str] = []
    output.reason = "away"
    delivery = Delivery(output, told.append)
    for numbered in make_numbered(7):
        delivery.put(numbered)
    wait_until(lambda: delivery.counts.failures > 0)
    finish(delivery)
    assert (delivery.counts.written, delivery.counts.dropped) == (0, 7)
    assert output.closed


def test_frames_go_only_where_they_are_wanted() -> None:
    plain, pictures = Collector(), Collector()
    pictures.wants_pixels = True
    deliveries = OutputsSink([plain, pictures], lambda text: None)
    for index in range(4):
        deliveries.write(make_result(index, np.zeros((4, 4, 3), np.uint8)))
    deliveries.close()
    assert plain.pixels == [False] * 4
    assert pictures.pixels == [True] * 4
    assert plain.seen == pictures.seen
    assert len(set(plain.seen)) == 4


def test_a_fault_of_an_output_is_told_and_does_not_end_it() -> None:
    class Faulty(Collector):
        def write(self, results: Sequence[NumberedResult]) -> None:
            if self.reason:
                raise ZeroDivisionError(self.reason)
            super().write(results)

    output = Faulty()
    told: list[str] = []
    output.reason = "by zero"
    delivery = Delivery(output, told.append)
    delivery.put(make_numbered(1)[0])
    wait_until(lambda: delivery.counts.dropped == 1)
    output.reason = None
    delivery.put(make_numbered(1, first=1)[0])
    wait_until(lambda: output.seen == ["run-1"])
    finish(delivery)
    assert told[0] == "output collector fails: ZeroDivisionError: by zero"
    assert "works again" in told[1]
