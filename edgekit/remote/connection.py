"""The desk's end of the wire: ssh, started once a board, and the requests that go through it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

from edgekit.errors import BoardError
from edgekit.remote import agent
from edgekit.remote.agent import BEAT_S

CONNECT_S = 15
"""For ssh to reach the board and be let in."""
_HELLO_S = 45
"""For the login and for Python to start there: seconds on a Zero with a busy card."""
_SILENCE_S = 30.0
_WATCH_S = 0.2
_GRACE_S = 10.0
_NOISE_BYTES = 1 << 20
"""What a login may print before the agent speaks."""
_HELLO = b"edgekit-agent "
_OLDEST_PYTHON = (3, 10)
_OPTIONS = {
    "BatchMode": "yes",  # keys, never a question: several boards would ask at once
    "ConnectTimeout": str(CONNECT_S),
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "4",
}
_MENDS = (
    ("IDENTIFICATION HAS CHANGED", "its host key is not the known one: if it was installed anew,"
     " ssh-keygen -R {name}, then ssh {host} once"),
    ("Host key verification failed", "its host key is not known yet: ssh {host} once and look at"
     " the key"),
    ("Permission denied", "it lets none of your keys in: ssh-copy-id {host}"),
    ("Could not resolve hostname", "there is no such name: look at the spelling, or give the"
     " address"),
    ("Connection refused", "no ssh server answers there: switch ssh on (sudo raspi-config, or sudo"
     " systemctl enable --now ssh)"),
    ("timed out", "nothing answers there: look whether it has power and network"),
    ("No route to host", "nothing answers there: look whether it has power and network"),
)  # fmt: skip
"""What ssh says → what to do."""

Line = Callable[[str, str], None]


class Finished(NamedTuple):
    """How a program on the board ended, and the last lines that it wrote, by stream."""

    code: int
    out: list[str]
    err: list[str]


class Connection:
    """One board. A context manager: at its end nothing of it is left on the board.

    Once `cancelled` is set, it ends by itself. Every method raises BoardError, whose message lacks
    the board's name.
    """

    def __init__(self, host: str, cancelled: threading.Event) -> None:
        self._host = host
        self._cancelled = cancelled
        self._said: list[str] = []
        self._answers: queue.Queue[tuple[dict[str, Any], bytes] | None] = queue.Queue()
        self._sending = threading.Lock()
        self._closed = threading.Event()
        self._silent: float | None = None
        """The silence, in seconds, after which it was given up."""
        source = Path(agent.__file__).read_bytes()
        command = [*_ssh_command(), "--", host, _bootstrap(len(source))]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C reaches us alone, who then end it in order
            )
        except OSError as error:
            raise BoardError(
                f"{command[0]} cannot be started ({error.strerror}): sudo apt install"
                " openssh-client, or name another with EDGEKIT_SSH"
            ) from error
        self._limit_s: float = _HELLO_S
        self._heard_s = time.monotonic()
        self._threads = [
            threading.Thread(target=work, daemon=True)
            for work in (self._receive, self._overhear, self._keep_alive, self._watch)
        ]
        for thread in self._threads:
            thread.start()
        try:
            self._greet(source)
        except BaseException:
            self.close()
            raise

    def _greet(self, source: bytes) -> None:
        hello, _ = self._next()
        version = tuple(hello["python"])
        if version < _OLDEST_PYTHON:
            raise BoardError(
                f"its python3 is {'.'.join(map(str, version))}, edgekit needs"
                f" {'.'.join(map(str, _OLDEST_PYTHON))} or newer: install a system that has it, as"
                " Raspberry Pi OS Bookworm or JetPack 6"
            )
        self._send(source)

    def ask(self, kind: str, content: bytes = b"", **fields: Any) -> tuple[dict[str, Any], bytes]:
        """Send a request and wait for its answer."""
        self._send(json.dumps({"kind": kind, **fields}).encode() + b"\n" + content)
        return self._next()

    def put(self, name: str, content: bytes) -> None:
        """Write a file in the connection's folder."""
        digest = hashlib.sha256(content).hexdigest()
        self.ask("put", content, name=name, size=len(content), sha256=digest)

    def get(self, name: str) -> bytes:
        """Read a file of the connection's folder."""
        answer, content = self.ask("get", name=name)
        if hashlib.sha256(content).hexdigest() != answer["sha256"]:
            raise BoardError(f"{name} arrived damaged: try again")
        return content

    def run(
        self,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        hear: Line = lambda stream, text: None,
        *,
        limit_s: float,
    ) -> Finished:
        """Run a program in the connection's folder; `hear` gets the stream and text of each line.

        `limit_s` is how long it may be silent.
        """
        lines: dict[str, list[str]] = {"out": [], "err": []}
        heard_s = time.monotonic()
        answer, _ = self.ask("run", arguments=list(arguments), variables=dict(variables))
        while answer["kind"] != "ended":
            if answer["kind"] == "line":
                heard_s = time.monotonic()
                lines[answer["to"]].append(answer["text"])
                hear(answer["to"], answer["text"])
            elif time.monotonic() - heard_s > limit_s:
                raise BoardError(
                    f"{Path(arguments[0]).name} hangs there, nothing was heard of it for"
                    f" {limit_s:.0f} s: restart the board"
                )
            answer, _ = self._next(beats=True)
        return Finished(answer["code"], lines["out"], lines["err"])

    def _next(self, *, beats: bool = False) -> tuple[dict[str, Any], bytes]:
        """The next answer; `_watch` sees to it that this ends."""
        while True:
            message = self._answers.get()
            if message is None:
                raise BoardError(self._explain_end())
            if message[0]["kind"] == "refused":
                raise BoardError(message[0]["reason"])
            if beats or message[0]["kind"] != "beat":
                return message

    def _send(self, content: bytes) -> None:
        assert self._process.stdin is not None
        # An end of the connection is told by the answer that does not come.
        with self._sending, contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(content)
            self._process.stdin.flush()

    def _receive(self) -> None:
        """Put answers into the queue, and None when the connection ends."""
        assert self._process.stdout is not None
        stream = self._process.stdout
        try:
            hello = _find_hello(stream)
            if hello is not None:
                self._limit_s, self._heard_s = _SILENCE_S, time.monotonic()
                self._answers.put(({"kind": "hello", "python": hello}, b""))
                while line := stream.readline():
                    self._heard_s = time.monotonic()
                    answer = json.loads(line)
                    content = stream.read(answer["size"])
                    if len(content) < answer["size"]:
                        break
                    self._answers.put((answer, content))
        except (OSError, ValueError):  # cut in the middle of a line, or closed by us
            pass
        self._answers.put(None)

    def _overhear(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(OSError, ValueError):
            for line in self._process.stderr:
                self._said.append(line.decode(errors="replace").strip())

    def _keep_alive(self) -> None:
        while not self._closed.wait(BEAT_S):
            self._send(b'{"kind": "beat"}\n')

    def _watch(self) -> None:
        """The board says something every few seconds, a beat if nothing else; else it is left."""
        while not self._closed.wait(_WATCH_S):
            if self._cancelled.is_set():
                self._process.terminate()
                return
            if time.monotonic() - self._heard_s > self._limit_s:
                self._silent = self._limit_s
                self._process.kill()
                return

    def _explain_end(self) -> str:
        """Why ssh ended, by what it said."""
        code = self._process.wait()
        if self._silent is not None:
            return (
                f"it is connected, but said nothing for {self._silent:.0f} s: look whether it"
                " hangs, or restart it"
            )
        self._threads[1].join(1)
        said = "\n".join(self._said)
        if code == 127:
            return "it has no python3: sudo apt install python3"
        names = {"host": self._host, "name": self._host.rpartition("@")[2]}
        for words, mend in _MENDS:
            if words in said:
                return mend.format(**names)
        last = next((line for line in reversed(self._said) if line), f"ssh ended with {code}")
        return f"the connection ended ({last}): look whether it still has power and network"

    def close(self) -> None:
        """End the connection. The agent, finding its input ended, clears up."""
        self._closed.set()
        process = self._process
        with contextlib.suppress(OSError, ValueError):
            assert process.stdin is not None
            process.stdin.close()
        try:
            process.wait(_GRACE_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.wait()
        for thread in self._threads:
            thread.join(_GRACE_S)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _ssh_command() -> list[str]:
    """`$EDGEKIT_SSH`, else `ssh`, with the options that a machine needs who cannot answer it."""
    command = shlex.split(os.environ.get("EDGEKIT_SSH", "ssh"))
    return [*command, "-T", *(f"-o{name}={value}" for name, value in _OPTIONS.items())]


def _bootstrap(size: int) -> str:
    """A shell command for the board that tells Python's version and then runs what it is sent."""
    program = (
        "import sys; v = sys.version_info[:3];"
        f" sys.stdout.write('{_HELLO.decode()}%d.%d.%d\\n' % v); sys.stdout.flush();"
        f" v >= {_OLDEST_PYTHON} and exec(compile(sys.stdin.buffer.read({size}), 'agent', 'exec'))"
    )
    return f"exec python3 -c {shlex.quote(program)}"


def _find_hello(stream: IO[bytes]) -> list[int] | None:
    """Python's version; what a login prints before it is skipped."""
    seen = 0
    while seen < _NOISE_BYTES and (line := stream.readline(_NOISE_BYTES)):
        seen += len(line)
        match = re.search(re.escape(_HELLO) + rb"(\d+)\.(\d+)\.(\d+)", line)
        if match:
            return [int(part) for part in match.groups()]
    return None
