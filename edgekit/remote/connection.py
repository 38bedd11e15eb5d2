"""The client's end of a connection to a board: one ssh process, and requests that go through it.

In: the board's name for ssh, files, commands to run there. Out: answers of the agent on the board.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import queue
import re
import shlex
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, NamedTuple

from edgekit.errors import BoardError, SettingsError
from edgekit.remote import agent
from edgekit.remote.agent import HEARTBEAT_S

CONNECT_S = 15
"""How long ssh may take to reach the board and to log in."""
_HELLO_S = 45
"""How long the login and the start of Python may take there: seconds on a busy Zero."""
_SILENCE_S = 30.0
_WATCH_S = 0.2
_GRACE_S = 10.0
_NOISE_BYTES = 1 << 20
"""How much a login may print before the agent answers."""
_BLOCK_BYTES = 1 << 18
_MOST_BYTES = 64 << 20
"""The longest answer, a record, takes a few MB; what is longer is not an answer."""
_KEPT_LINES = 200
_HELLO = b"edgekit-agent "
_OLDEST_PYTHON = (3, 10)
_OPTIONS = {
    "BatchMode": "yes",  # keys, never a question: several boards would ask at once
    "ConnectTimeout": str(CONNECT_S),
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "4",
    "RemoteCommand": "none",  # the user's own, for when they log in
}
_FIXES = (
    ("IDENTIFICATION HAS CHANGED", "its host key is not the known one: if it was installed again,"
     " {forget}, then ssh {host} once"),
    ("Host key verification failed", "its host key is not known yet: ssh {host} once and look at"
     " the key"),
    ("Permission denied", "it lets none of your keys in: ssh-copy-id {host}, or ssh-add for a key"
     " that has a passphrase"),
    ("Could not resolve hostname", "there is no such name: look at the spelling, or give the"
     " address; a port is spelled ssh://pi@board:2222"),
    ("hostname contains invalid characters", "that is not the name of a host: expected one as in"
     " ssh pi@board"),
    ("Connection refused", "no ssh server answers there: switch ssh on (sudo raspi-config, or sudo"
     " systemctl enable --now ssh)"),
    ("timed out", "nothing answers there: look whether it has power and network"),
    ("No route to host", "nothing answers there: look whether it has power and network"),
)  # fmt: skip
"""What ssh says before it is connected → what to do."""

OnLine = Callable[[str, str], None]


class Finished(NamedTuple):
    """How a program on the board ended, and the last lines that it wrote to each stream."""

    code: int
    out: Sequence[str]
    err: Sequence[str]


class Connection:
    """A connection to one board. When this context manager ends, nothing is left on the board.

    Once `cancelled` is set, the connection ends. Every method raises BoardError, whose message
    does not name the board.
    """

    def __init__(self, host: str, cancelled: threading.Event) -> None:
        self._host = host
        self._cancelled = cancelled
        self._said: list[str] = []
        self._answers: queue.Queue[tuple[dict[str, Any], bytes] | None] = queue.Queue()
        self._sending = threading.Lock()
        self._closed = threading.Event()
        self._greeted = False
        self._silent: float | None = None
        """After how many seconds of silence the connection was ended."""
        source = Path(agent.__file__).read_bytes()
        command = _spell_ssh(host, _bootstrap(len(source)))
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
            for work in (self._receive, self._read_errors, self._keep_alive, self._watch)
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

    def ask(self, kind: str, **fields: Any) -> tuple[dict[str, Any], bytes]:
        """Send a request and wait for its answer."""
        self._send(_spell_request(kind, **fields))
        return self._next()

    def put(self, name: str, content: bytes) -> None:
        """Write a file in the connection's folder."""
        self._put(name, io.BytesIO(content))

    def put_file(self, name: str, path: Path) -> None:
        """Send a local file, block by block."""
        try:
            with path.open("rb") as stream:
                self._put(name, stream)
        except OSError as error:
            raise BoardError(f"cannot read {path} here: {error.strerror}") from error

    def _put(self, name: str, stream: BinaryIO) -> None:
        digest = hashlib.sha256()
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
        size = stream.tell()
        stream.seek(0)
        request = _spell_request("put", name=name, size=size, sha256=digest.hexdigest())
        with self._sending:  # no heartbeat in between
            self._write(request)
            while block := stream.read(_BLOCK_BYTES):
                self._write(block)
        self._next()

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
        on_line: OnLine = lambda stream, text: None,
        *,
        limit_s: float,
        longest_s: float,
    ) -> Finished:
        """Run a program in the connection's folder.

        Args:
            arguments: The program and its arguments.
            variables: Environment variables to set for it.
            on_line: Is called with the stream (`out` or `err`) and the text of each line.
            limit_s: How long it may write nothing.
            longest_s: How long it may take.

        Returns:
            Its exit code and the last lines of each stream.

        Raises:
            BoardError: The connection ended, or the program took too long.
        """
        lines = {name: deque[str](maxlen=_KEPT_LINES) for name in ("out", "err")}
        began_s = heard_s = time.monotonic()
        self._send(_spell_request("run", arguments=list(arguments), variables=dict(variables)))
        while (answer := self._next(running=True)[0])["kind"] != "ended":
            if answer["kind"] == "line":
                heard_s = time.monotonic()
                lines[answer["to"]].append(answer["text"])
                on_line(answer["to"], answer["text"])
            elif time.monotonic() - heard_s > limit_s:
                raise BoardError(
                    f"{Path(arguments[0]).name} hangs there, nothing was heard of it for"
                    f" {limit_s:.0f} s: restart the board"
                )
            if time.monotonic() - began_s > longest_s:
                raise BoardError(
                    f"{Path(arguments[0]).name} does not end there, after {longest_s:.0f} s: look"
                    " what it does, or restart the board"
                )
        return Finished(answer["code"], lines["out"], lines["err"])

    def _next(self, *, running: bool = False) -> tuple[dict[str, Any], bytes]:
        """Wait for the next answer; while a program is `running`, also for a line or a heartbeat.

        `_watch` ends the connection when neither comes.
        """
        while True:
            message = self._answers.get()
            if message is None:
                raise BoardError(self._explain_end())
            kind = message[0]["kind"]
            if kind == "refused":
                raise BoardError(message[0]["reason"])
            if running or kind not in ("heartbeat", "line"):
                return message

    def _send(self, content: bytes) -> None:
        with self._sending:
            self._write(content)

    def _write(self, content: bytes) -> None:
        assert self._process.stdin is not None
        # That the connection ended is reported when no answer comes.
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(content)
            self._process.stdin.flush()

    def _receive(self) -> None:
        """Put answers into the queue, and None when the connection ends."""
        assert self._process.stdout is not None
        stream = self._process.stdout
        try:
            hello = _find_hello(stream)
            if hello is not None:
                self._greeted = True
                self._limit_s, self._heard_s = _SILENCE_S, time.monotonic()
                self._answers.put(({"kind": "hello", "python": hello}, b""))
                while line := stream.readline(_MOST_BYTES):
                    self._heard_s = time.monotonic()
                    answer = _read_answer(line)
                    if answer is None:  # a program of the login's writes in between
                        continue
                    content = stream.read(answer["size"])
                    if len(content) < answer["size"]:
                        break
                    self._answers.put((answer, content))
        except (OSError, ValueError):  # closed by us
            pass
        finally:
            self._answers.put(None)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(OSError, ValueError):
            for line in self._process.stderr:
                self._said.append(line.decode(errors="replace").strip())

    def _keep_alive(self) -> None:
        while not self._closed.wait(HEARTBEAT_S):
            self._send(_spell_request("heartbeat"))

    def _watch(self) -> None:
        """End the connection when the board sends nothing, not even a heartbeat, for too long."""
        while not self._closed.wait(_WATCH_S):
            if self._cancelled.is_set():
                break
            if time.monotonic() - self._heard_s > self._limit_s:
                self._silent = self._limit_s
                break
        else:
            return
        self._signal(signal.SIGTERM)
        if not self._closed.wait(_GRACE_S):
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        """Send a signal to ssh and to what it started, such as a proxy command."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _explain_end(self) -> str:
        """Why ssh ended, by what it wrote."""
        if self._silent is not None:
            return (
                f"it is connected, but said nothing for {self._silent:.0f} s: look whether it"
                " hangs, or restart it"
            )
        try:
            code = self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            return "the connection ended, but ssh did not: look what it waits for"
        self._threads[1].join(1)
        said = "\n".join(self._said)
        last = next((line for line in reversed(self._said) if line), f"ssh ended with {code}")
        if self._greeted:
            return f"the connection ended ({last}): look whether it still has power and network"
        if code == 127:
            return "it has no python3: sudo apt install python3"
        for words, fix in _FIXES:
            if words in said:
                return fix.format(host=self._host, forget=spell_key_removal(said, self._host))
        return f"ssh cannot connect ({last}): try ssh {self._host}"

    def close(self) -> None:
        """End the connection. The agent clears up when its input ends."""
        process = self._process
        with contextlib.suppress(OSError, ValueError):
            assert process.stdin is not None
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(_GRACE_S)
        self._closed.set()
        self._signal(signal.SIGKILL)  # itself, and a child that holds its pipes
        process.wait()
        for thread in self._threads:
            thread.join(_GRACE_S)
        if not any(thread.is_alive() for thread in self._threads):  # else it has their locks
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


def read_ssh_command() -> list[str]:
    """`$EDGEKIT_SSH`, else `ssh`. Raises SettingsError when that cannot be read as a command."""
    text = os.environ.get("EDGEKIT_SSH") or "ssh"
    try:
        return shlex.split(text)
    except ValueError as error:
        raise SettingsError(
            f"EDGEKIT_SSH is {text!r}, which is not a command ({error}): expected one as in"
            " EDGEKIT_SSH='ssh -F config'"
        ) from error


def _spell_ssh(host: str, command: str) -> list[str]:
    options = (f"-o{name}={value}" for name, value in _OPTIONS.items())
    return [*read_ssh_command(), "-T", *options, "--", host, command]


def _spell_request(kind: str, **fields: Any) -> bytes:
    return json.dumps({"kind": kind, **fields}).encode() + b"\n"


def _read_answer(line: bytes) -> dict[str, Any] | None:
    """Read an answer of the agent; None for any other line."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(answer, dict) or not isinstance(answer.get("kind"), str):
        return None
    size = answer.get("size")
    return answer if isinstance(size, int) and 0 <= size <= _MOST_BYTES else None


def spell_key_removal(said: str, host: str) -> str:
    """The command that removes a host's old key, under the name that ssh has it."""
    if hint := re.search(r"ssh-keygen -f .*", said):  # Debian's ssh says all of it
        return hint[0].strip()
    known = re.search(r"Host key for (\S+) has changed", said)
    return f"ssh-keygen -R {shlex.quote(known[1] if known else host)}"


def _bootstrap(size: int) -> str:
    """A shell command for the board that prints Python's version and then runs what it is sent."""
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
