"""The agent on a board: it stores files and runs programs for one client, and leaves nothing.

Its source is sent over ssh and run by the board's own Python, so it uses the standard library alone
and imports nothing of edgekit. Requests come on standard input and answers go to standard output,
each a JSON object on a line of its own, followed by as many raw bytes as its `size` says.

The client sends something every few seconds. When the input ends, or nothing came for `SILENCE_S`,
the connection is lost: programs are ended, files deleted. One thread reads requests and takes
files, one does what else is asked, one sends heartbeats (and may block on a full pipe), and one
watches the clock and does nothing that could block.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import platform
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

SILENCE_S = 30.0
HEARTBEAT_S = 5.0
_GRACE_S = 3.0
_TRIES = 20
_LINE_BYTES = 1 << 16
_COMPLETE = "complete"
"""The file in an environment's folder that says that it was installed to its end."""
_INTERPRETERS = ("edgekit/bin/python", "/opt/edgekit/bin/python", "/usr/bin/python3")
"""Where edgekit may be: below the home by the install scripts, the service's, the system's."""

Message = dict[str, Any]


class Refusal(Exception):  # noqa: N818 - an answer, not a fault
    """A request that cannot be done, with the reason in words."""


class Agent:
    """Serves one connection: one folder of its own, at most one program at a time."""

    def __init__(self, requests: IO[bytes], answers: IO[bytes]) -> None:
        self._requests, self._answers = requests, answers
        self._asked: queue.Queue[tuple[str, Message]] = queue.Queue()
        self._sending = threading.Lock()
        self._cleaning = threading.RLock()  # a signal may come while it is held
        self._program: subprocess.Popen[bytes] | None = None
        self._starting = self._signalled = False
        self._arranging: int | None = None
        """The thread that makes or deletes folders."""
        self._made: list[Path] = []
        self._base: Path | None = None
        self._folder: Path | None = None
        self._environment: Path | None = None
        self._lock: IO[bytes] | None = None
        self._heard_s = time.monotonic()

    def serve(self) -> None:
        """Answer until the end is asked for or the connection is gone."""
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, self._on_signal)
        for work in (self._listen, self._watch, self._send_heartbeats):
            threading.Thread(target=work, daemon=True).start()
        handlers: dict[str, Callable[..., None]] = {
            "open": self._open,
            "run": self._run,
            "get": self._get,
            "finish_environment": self._finish_environment,
            "end": self._end,
        }
        try:
            while True:
                kind, request = self._asked.get()
                self._try(handlers[kind], request)
        finally:
            self._leave()

    def _on_signal(self, *_: object) -> None:
        """Leave; where this came in the midst of a program's start, once it can be ended."""
        if self._starting:
            self._signalled = True
        else:
            self._leave()

    def _listen(self) -> None:
        """Read requests to the end; files are taken here, since they follow their requests."""
        try:
            while (line := self._requests.readline()).endswith(b"\n"):
                self._heard_s = time.monotonic()
                request = json.loads(line)
                kind = request.pop("kind")
                if kind == "put":
                    self._try(self._put, request)
                elif kind != "heartbeat":
                    self._asked.put((kind, request))
        finally:
            self._leave()

    def _try(self, handler: Callable[..., None], request: Message) -> None:
        try:
            handler(**request)
        except Refusal as refusal:
            self._send("refused", reason=str(refusal))
        except OSError as error:
            self._send("refused", reason=self._explain(error))
        except Exception as error:  # noqa: BLE001 - it is reported to the client, whatever it is
            self._send("refused", reason=f"{type(error).__name__} there: {error}")

    def _send(self, kind: str, content: bytes = b"", **fields: Any) -> None:
        line = json.dumps({"kind": kind, "size": len(content), **fields}).encode()
        # A reader that is gone is noticed at the other pipe.
        with self._sending, contextlib.suppress(OSError, ValueError):
            self._answers.write(line + b"\n" + content)
            self._answers.flush()

    def _send_heartbeats(self) -> None:
        while True:
            time.sleep(HEARTBEAT_S)
            self._send("heartbeat")

    def _watch(self) -> None:
        while time.monotonic() - self._heard_s < SILENCE_S:
            time.sleep(1)
        self._leave()

    def _open(self, environment: str) -> None:
        """Make this connection's folder; `environment` names the one that edgekit may be put in."""
        home = Path.home()
        os.environ.setdefault("HOME", str(home))
        cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
        base = self._base = cache / "edgekit" / "benchmark"
        with self._alone():
            self._take_lock(base)
        for abandoned in base.glob("run-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        for other in base.glob("edgekit-*"):
            if not (other / _COMPLETE).exists():
                shutil.rmtree(other, ignore_errors=True)
        self._folder = Path(tempfile.mkdtemp(prefix="run-", dir=base))
        kept = base / environment
        complete = kept.exists() and _find_edgekit(str(kept / "bin/python")) is not None
        if not complete:  # absent, or its Python has gone with an update of the system
            shutil.rmtree(kept, ignore_errors=True)
            self._environment = kept
        self._send(
            "opened",
            folder=str(self._folder),
            environment=str(kept),
            complete=complete,
            installed=[found for path in _INTERPRETERS if (found := _find_edgekit(path))],
            free_bytes=shutil.disk_usage(base).free,
            jetson=Path("/etc/nv_tegra_release").exists(),
            machine=platform.machine(),
        )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One agent at a time makes and deletes folders: else one that is refused may have made
        what the other works in, and neither could delete it. Waits no longer than `_GRACE_S`, and
        not where a home cannot be locked (NFS)."""
        nested = self._arranging == threading.get_ident()  # a signal came in the midst of it
        with contextlib.ExitStack() as held:
            if not nested:
                with contextlib.suppress(OSError):
                    home = os.open(Path.home(), os.O_RDONLY)
                    held.callback(os.close, home)
                    _wait_for_lock(home)
                self._arranging = threading.get_ident()
            try:
                yield
            finally:
                if not nested:
                    self._arranging = None

    def _take_lock(self, base: Path) -> None:
        """Make `base` and hold its lock: for as long as this process lives, the kernel sees to it.

        Another agent may delete both at its end while this one begins, so what is held is compared
        with what is there.
        """
        for _ in range(_TRIES):
            try:
                for folder in reversed((base, *base.parents)):
                    with contextlib.suppress(FileExistsError):
                        folder.mkdir()
                        self._made.append(folder)
                lock = (base / "lock").open("wb")
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                raise Refusal(
                    "another benchmark runs there: wait for it, since each would disturb the other"
                ) from None
            with contextlib.suppress(FileNotFoundError):
                if (base / "lock").stat().st_ino == os.fstat(lock.fileno()).st_ino:
                    self._lock = lock
                    self._made.append(base / "lock")
                    return
            lock.close()
        raise Refusal(f"{base} comes and goes there: try again")

    def _put(self, name: str, size: int, sha256: str) -> None:
        """Take a file; it has its name only once it is whole."""
        assert self._folder is not None
        path = self._folder / name
        part = path.with_name(path.name + ".part")
        left, digest, trouble = size, hashlib.sha256(), None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stream: IO[bytes] | None = part.open("wb")
        except OSError as error:
            stream, trouble = None, error
        while left:  # to the end even after a fault: what comes then is the next request
            block = self._requests.read(min(left, 1 << 16))
            if not block:
                return  # `_listen` finds the end too
            self._heard_s = time.monotonic()
            left -= len(block)
            digest.update(block)
            if stream is not None and trouble is None:
                try:
                    stream.write(block)
                except OSError as error:
                    trouble = error
        if stream is not None:
            try:
                stream.close()
            except OSError as error:
                trouble = trouble or error
        if trouble is not None:
            reason = self._explain(trouble)  # while the part still takes its space
            part.unlink(missing_ok=True)
            raise Refusal(reason)
        if digest.hexdigest() != sha256:
            part.unlink()
            raise Refusal(f"{path.name} arrived damaged: try again")
        part.rename(path)
        self._send("done")

    def _run(self, arguments: list[str], variables: dict[str, str]) -> None:
        """Start a program in the folder; its lines are sent as they come, then its end."""
        with self._cleaning:  # whoever leaves knows of it, or it is not begun
            self._starting = True
            try:
                self._program = program = subprocess.Popen(
                    arguments,
                    cwd=self._folder,
                    env={**os.environ, **variables},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
            finally:
                self._starting = False
            if self._signalled:
                self._leave()
        assert program.stdout is not None and program.stderr is not None
        streams = {"out": program.stdout, "err": program.stderr}
        readers = [
            threading.Thread(target=self._pass_on, args=(name, stream), daemon=True)
            for name, stream in streams.items()
        ]
        for reader in readers:
            reader.start()
        threading.Thread(target=self._await, args=(program, readers), daemon=True).start()

    def _pass_on(self, name: str, stream: IO[bytes]) -> None:
        with stream:
            while line := stream.readline(_LINE_BYTES):
                self._send("line", to=name, text=line.decode(errors="replace").rstrip("\n"))

    def _await(self, program: subprocess.Popen[bytes], readers: list[threading.Thread]) -> None:
        code = program.wait()
        self._end_program()  # what it started and left behind
        self._program = None
        for reader in readers:
            reader.join(_GRACE_S)
        self._send("ended", code=code)

    def _get(self, name: str) -> None:
        assert self._folder is not None
        content = (self._folder / name).read_bytes()
        self._send("file", content, sha256=hashlib.sha256(content).hexdigest())

    def _finish_environment(self) -> None:
        """The environment was installed whole, and is to be kept."""
        assert self._environment is not None and self._base is not None
        (self._environment / _COMPLETE).touch()
        for older in self._base.glob("edgekit-*"):
            if older != self._environment:
                shutil.rmtree(older, ignore_errors=True)
        self._environment = None
        self._send("done")

    def _end(self) -> None:
        self._clean()
        self._send("done")
        os._exit(0)

    def _leave(self) -> None:
        with self._cleaning:  # until the exit, so that no program begins after it
            self._clean()
            os._exit(1)

    def _clean(self) -> None:
        """End the program and delete every file and folder that was made here."""
        with self._cleaning:
            self._end_program()
            for folder in (self._folder, self._environment):
                if folder is not None:
                    shutil.rmtree(folder, ignore_errors=True)
            with self._alone():
                for path in reversed(self._made):
                    with contextlib.suppress(OSError):  # other programs may have used the folder
                        path.rmdir() if path.is_dir() else path.unlink()
                self._made.clear()

    def _end_program(self) -> None:
        """All of the program's process group, by request and then by force."""
        program = self._program
        if program is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(program.pid, number)
            except ProcessLookupError:
                return
            end_s = time.monotonic() + _GRACE_S
            while time.monotonic() < end_s and _group_lives(program):
                time.sleep(0.05)

    def _explain(self, error: OSError) -> str:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            place = self._folder or Path.home()
            while not place.exists():
                place = place.parent
            free = shutil.disk_usage(place).free
            return f"no space left there ({free:,} bytes free in {place}): free some space"
        return f"{error.strerror or error} there: {error.filename or self._folder}"


def _wait_for_lock(descriptor: int) -> None:
    """Raises OSError where it cannot be locked, or is not free in time."""
    end_s = time.monotonic() + _GRACE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.01)


def _group_lives(program: subprocess.Popen[bytes]) -> bool:
    program.poll()  # a dead leader that was not waited for would count
    try:
        os.killpg(program.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _find_edgekit(interpreter: str) -> list[str] | None:
    """A Python that has edgekit, and its version."""
    path = Path.home() / interpreter
    program = "from importlib.metadata import version; print(version('edgekit'))"
    try:
        answer = subprocess.run(
            [path, "-c", program],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return [str(path), answer.stdout.strip()] if answer.returncode == 0 else None


if __name__ == "__main__":
    Agent(sys.stdin.buffer, sys.stdout.buffer).serve()
