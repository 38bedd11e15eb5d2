"""Engines on disk: found, altered, too many, built twice at once, killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from edgekit.engines.tensorrt.cuda import Gpu
from edgekit.engines.tensorrt.engine_cache import (
    KEPT_ENGINES,
    EngineCache,
    EngineKey,
    StoredEngine,
    cache_folder,
    sha256,
)
from edgekit.engines.tensorrt.engine_provider import (
    Candidate,
    Machine,
    Provided,
    make_key,
    provide_engine,
)
from edgekit.errors import EngineError, OutputError
from edgekit.progress import SILENT, Lines
from tests.engines.tensorrt.networks import builder, make_network
from tests.environments import REPOSITORY


def machine(version: str | None = None) -> Machine:
    library = builder()
    if version is not None:
        library = library._replace(version=version)
    return Machine(library, None, None, "none in this test", None)


def provide(cache: EngineCache, *, version: str | None = None, channels: int = 8) -> Provided:
    candidate = Candidate(make_network(channels=channels), "int8")
    return provide_engine(machine(version), candidate, cache=cache)


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path)


def test_the_second_time_it_is_found(cache: EngineCache) -> None:
    first, second = provide(cache), provide(cache)
    assert (first.cached, second.cached) == (False, True)
    assert first.plan == second.plan
    assert first.path == second.path
    assert second.path is not None
    assert second.path.read_bytes() == first.plan
    assert second.stored.int8_layers == 2


def test_force_builds_again(cache: EngineCache) -> None:
    provide(cache)
    candidate = Candidate(make_network(), "int8")
    assert not provide_engine(machine(), candidate, cache=cache, force=True).cached


def damage_first_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        damage_first_byte,
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
        lambda path: path.with_suffix(".json").write_text("{"),
        lambda path: path.with_suffix(".json").unlink(),
    ],
    ids=["a bit", "cut", "empty", "gone", "sidecar", "no sidecar"],
)
def test_a_damaged_engine_is_built_again(cache: EngineCache, damage: object) -> None:
    path = provide(cache).path
    damage(path)  # type: ignore[operator]
    again = provide(cache)
    assert not again.cached
    assert provide(cache).cached


def test_another_key_under_the_same_name_is_not_taken(cache: EngineCache) -> None:
    """Someone else's engine, renamed."""
    mine, foreign = provide(cache), provide(cache, channels=16)
    assert mine.path is not None and foreign.path is not None
    mine.path.write_bytes(foreign.path.read_bytes())
    mine.path.with_suffix(".json").write_bytes(foreign.path.with_suffix(".json").read_bytes())
    assert not provide(cache).cached


def test_another_version_of_tensorrt_builds_its_own(cache: EngineCache) -> None:
    provide(cache)
    assert not provide(cache, version="99.0").cached
    assert provide(cache).cached


def key(**changes: object) -> EngineKey:
    base = EngineKey(
        model_sha256="0",
        library="tensorrt",
        version="10.3.0",
        gpu="Orin",
        capabilities=("SM87",),
        precision="int8",
        power_mode="15W",
        rules=1,
    )
    return msgspec.structs.replace(base, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"model_sha256": "1"},
        {"library": "tensorrt-rtx"},
        {"version": "10.3.1"},
        {"gpu": "Thor"},
        {"capabilities": ("SM110",)},
        {"precision": "fp16"},
        {"power_mode": "MAXN"},
        {"rules": 2},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_everything_that_shapes_an_engine_is_in_its_key(changes: dict[str, object]) -> None:
    assert key().digest() != key(**changes).digest()


def test_the_key_of_a_gpu_names_it() -> None:
    gpu = Gpu("RTX 4090", 8, 9, 1, 1)
    made = make_key(machine()._replace(gpu=gpu, power_mode="15W"), Candidate(b"x", "fp16"))
    assert (made.gpu, made.capabilities, made.power_mode) == ("RTX 4090", ("SM89",), "15W")
    assert made.model_sha256 == sha256(b"x")


def test_old_engines_are_dropped(cache: EngineCache) -> None:
    for index in range(KEPT_ENGINES + 3):
        stored = StoredEngine(
            key=key(model_sha256=str(index)),
            plan_sha256=sha256(b"plan"),
            layers=0,
            weighted_layers=0,
            int8_layers=0,
            build_s=0,
        )
        os.utime(cache.write(b"plan", stored), (index, index))
    kept = sorted(cache.folder.glob("*.engine"))
    assert len(kept) == KEPT_ENGINES
    assert cache.path(key(model_sha256="0")) not in kept
    assert not list(cache.folder.glob(".*"))


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("EDGEKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "edgekit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "edgekit"


def test_a_cache_that_cannot_be_made_is_gone_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = EngineCache(tmp_path / "file")
    said: list[str] = []
    candidate = Candidate(make_network(), "int8")
    provided = provide_engine(machine(), candidate, cache=cache, progress=Lines(said.append))
    assert provided.path is None
    assert provided.plan
    assert any("warning: the engine is used but not kept" in line for line in said)
    with pytest.raises(OutputError, match="cannot write"):
        provide_engine(machine(), candidate, cache=cache, must_store=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=True)
    try:
        cache = EngineCache(tmp_path)
        candidate = Candidate(make_network(), "int8")
        with pytest.raises(OutputError, match="no space left"):
            provide_engine(machine(), candidate, cache=cache, must_store=True)
        assert not list(cache.folder.glob("*.engine"))
        assert not list(cache.folder.glob(".*"))
    finally:
        subprocess.run(["umount", tmp_path], check=True)


PROVIDE = """
import sys
sys.path.insert(0, {repository!r})
from pathlib import Path
from tests.engines.tensorrt.test_engine_cache import EngineCache, provide
provided = provide(EngineCache(Path({folder!r})), channels=64)
print(provided.cached)
"""


def start(folder: Path) -> subprocess.Popen[str]:
    program = PROVIDE.format(repository=str(REPOSITORY), folder=str(folder))
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


def test_two_builds_at_once_build_once(tmp_path: Path) -> None:
    builder()
    both = [start(tmp_path) for _ in range(2)]
    answers = sorted(process.communicate(timeout=120)[0] for process in both)
    assert answers == ["False\n", "True\n"]


def test_a_waiting_build_says_so(cache: EngineCache) -> None:
    said: list[str] = []
    candidate = Candidate(make_network(), "int8")
    wanted = make_key(machine(), candidate)
    with cache.lock(wanted, SILENT):
        thread = threading.Thread(
            target=lambda: provide_engine(
                machine(), candidate, cache=cache, progress=Lines(said.append)
            )
        )
        thread.start()
        deadline = time.monotonic() + 30
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
    thread.join(60)
    assert said[0] == "another process builds the same engine: waiting for it"


@pytest.mark.slow
def test_a_killed_build_leaves_the_next_start_whole(tmp_path: Path) -> None:
    builder()
    for delay in (0.3, 0.6, 0.9, 1.2):
        process = start(tmp_path)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    for path in EngineCache(tmp_path).folder.glob("*.engine"):
        assert path.with_suffix(".json").exists() or path.stat().st_size
    assert provide(EngineCache(tmp_path), channels=64).plan
    assert provide(EngineCache(tmp_path), channels=64).cached


def test_a_gpu_without_int8_is_told_so(cache: EngineCache) -> None:
    gpu = Gpu("V100", 7, 0, 1, 1)
    with pytest.raises(EngineError, match=r"V100 .*7\.0\) has no int8.*--precision fp16"):
        provide_engine(machine()._replace(gpu=gpu), Candidate(b"", "int8"), cache=cache)
