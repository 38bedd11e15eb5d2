"""Results as files: JSON lines or CSV, in a new file when the last one is large enough."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import msgspec

from edgekit.errors import OutputError
from edgekit.images import LABEL_SEPARATOR
from edgekit.outputs.base import NumberedResult, Output
from edgekit.outputs.result_json import encode_line, make_line

COLUMNS = (
    *("id", "captured_at", "frame", "time_s", "label", "class", "score", "age_ms", "dropped"),
    *("capture_ms", "preprocess_ms", "inference_ms", "postprocess_ms"),
)
ROTATE_BYTES = 100_000_000
KEEP_FILES = 5
_LONGEST_LINE = 1_000_000


class RotatedFile:
    """Appends pieces to a file, each whole or not at all.

    Args:
        path: the newest file. When it is full it becomes `path.1`, that `path.2`, and so on.
        limit: a file is full at this size in bytes.
        keep: how many full files are kept.
        head: begins every file.
    """

    def __init__(self, path: Path, *, limit: int, keep: int, head: bytes = b"") -> None:
        self._path = path
        self._limit = limit
        self._keep = keep
        self._head = head
        self._file: IO[bytes] | None = None
        self._size = 0

    def append(self, piece: bytes) -> None:
        """Write `piece` whole, or raise OSError and leave the file as it was."""
        if self._file is None:
            self._file = self._path.open("ab")
            self._size = self._cut_half_line(self._file)
        if self._size and self._size + len(piece) > self._limit:
            self._rotate()
        data = piece if self._size else self._head + piece
        assert self._file is not None
        try:
            self._file.write(data)
            self._file.flush()
        except OSError:
            self._cut_half_piece()
            raise
        self._size += len(data)

    def _cut_half_line(self, file: IO[bytes]) -> int:
        """Cut off an incomplete last line, which a power cut leaves; returns the file's size."""
        size = file.tell()
        with self._path.open("rb") as reader:
            reader.seek(max(0, size - _LONGEST_LINE))
            tail = reader.read()
        half = len(tail) - (tail.rfind(b"\n") + 1)
        if half and (half < len(tail) or size == half):
            file.truncate(size - half)
            return size - half
        return size

    def _cut_half_piece(self) -> None:
        """Cut off a piece that was written in part; the next `append` opens the file again."""
        file, self._file = self._file, None
        assert file is not None
        try:
            file.truncate(self._size)
        finally:
            try:
                file.close()
            except OSError:  # it wrote its buffer once more
                with self._path.open("ab") as again:
                    again.truncate(self._size)

    def _rotate(self) -> None:
        assert self._file is not None
        self._file.close()
        self._file = None
        rotate(self._path, self._keep)
        self._file = self._path.open("ab")
        self._size = 0

    def close(self) -> None:
        """Close the file; the next `append` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None


def rotate(path: Path, keep: int) -> None:
    """`path` becomes `path.1`, that becomes `path.2`, up to `keep`; the last one is deleted."""
    for number in range(keep, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        newer = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
        if newer.exists():
            newer.replace(older)
    if keep == 0:
        path.unlink(missing_ok=True)


class FileOutput(Output):
    """Writes results as lines of a rotated file, all that wait in one piece.

    Args:
        path: the newest file; `.csv` chooses CSV, any other suffix JSON lines.
        limit: a file is full at this size in bytes.
        keep: how many full files are kept.
    """

    def __init__(self, path: Path, *, limit: int = ROTATE_BYTES, keep: int = KEEP_FILES) -> None:
        self.name = str(path)
        as_csv = path.suffix.lower() == ".csv"
        self._encode = encode_csv if as_csv else encode_json_lines
        head = encode_row(COLUMNS) if as_csv else b""
        self._file = RotatedFile(path, limit=limit, keep=keep, head=head)

    def write(self, results: Sequence[NumberedResult]) -> None:
        if not results:
            return
        try:
            self._file.append(self._encode(results))
        except OSError as error:
            raise OutputError(
                f"cannot write {self.name} ({error.strerror}): free some space there, or choose"
                " another place"
            ) from error

    def close(self) -> None:
        self._file.close()


def encode_json_lines(results: Sequence[NumberedResult]) -> bytes:
    """One JSON document a line, as `edgekit run --json` prints it, with an `id`."""
    return b"".join(encode_line(numbered) + b"\n" for numbered in results)


def encode_csv(results: Sequence[NumberedResult]) -> bytes:
    """One row a result, in the order of `COLUMNS`.

    The labels of a multi-label network are joined by `;`, as `edgekit evaluate` reads them, and so
    are their classes and scores; without a label the cells are empty.
    """
    rows = []
    for numbered in results:
        line: dict[str, Any] = msgspec.to_builtins(make_line(numbered.result, numbered.id))
        line |= {f"{stage}_ms": value for stage, value in line["stages_ms"].items()}
        if "labels" in line:
            for key in ("label", "class", "score"):
                line[key] = LABEL_SEPARATOR.join(str(place[key]) for place in line["labels"])
        rows.append(encode_row([line[column] for column in COLUMNS]))
    return b"".join(rows)


def encode_row(values: Sequence[object]) -> bytes:
    """Encode one line of CSV, quoted where a value needs it."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()
