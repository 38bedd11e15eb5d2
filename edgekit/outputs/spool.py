"""A bounded queue on disk, in SQLite: documents that were not removed survive a power cut."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgekit.errors import OutputError

SPOOL_RESULTS = 100_000


class SpoolError(OutputError):
    """The spool's file cannot be read or written."""


@contextmanager
def _as_spool_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise SpoolError(
            f"results cannot be kept in {path} ({error}): free some space there, or move the file"
            " away when it is damaged"
        ) from error


class Spool:
    """Documents in the order they came, `limit` at most: beyond that the oldest are dropped.

    SQLite in its write-ahead mode, every batch one transaction and one sync to the disk. Raises
    OutputError when the disk is full or the file is damaged. Used by one thread at a time.
    """

    def __init__(self, path: Path, *, limit: int = SPOOL_RESULTS) -> None:
        self.path = path
        self._limit = limit
        self._database: sqlite3.Connection | None = None
        self.dropped = 0

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute(
                "CREATE TABLE IF NOT EXISTS waiting"
                " (number INTEGER PRIMARY KEY AUTOINCREMENT, document BLOB NOT NULL)"
            )
            self._database = database
        return self._database

    def append(self, documents: Sequence[bytes]) -> None:
        """Add documents after those that wait; they are on disk when this returns."""
        with _as_spool_error(self.path), self._transaction() as database:
            database.executemany(
                "INSERT INTO waiting (document) VALUES (?)", [(d,) for d in documents]
            )
            (count,) = database.execute("SELECT COUNT(*) FROM waiting").fetchone()
            surplus = max(0, count - self._limit)
            database.execute(
                "DELETE FROM waiting WHERE number IN"
                " (SELECT number FROM waiting ORDER BY number LIMIT ?)",
                (surplus,),
            )
            self.dropped += surplus

    def prepend(self, documents: Sequence[bytes]) -> None:
        """Add documents before those that wait."""
        with _as_spool_error(self.path), self._transaction() as database:
            (first,) = database.execute("SELECT MIN(number) FROM waiting").fetchone()
            begin = (1 if first is None else first) - len(documents)
            database.executemany(
                "INSERT INTO waiting (number, document) VALUES (?, ?)",
                list(enumerate(documents, begin)),
            )

    def first(self, count: int) -> list[tuple[int, bytes]]:
        """The oldest `count` documents with their numbers; they stay until `remove`."""
        with _as_spool_error(self.path):
            rows = self._open().execute(
                "SELECT number, document FROM waiting ORDER BY number LIMIT ?", (count,)
            )
            return [(int(number), document) for number, document in rows]

    def remove(self, last: int) -> None:
        """Delete the documents up to and including the number `last`."""
        with _as_spool_error(self.path), self._transaction() as database:
            database.execute("DELETE FROM waiting WHERE number <= ?", (last,))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        database = self._open()
        with database:
            database.execute("BEGIN IMMEDIATE")
            yield database

    def __len__(self) -> int:
        with _as_spool_error(self.path):
            (count,) = self._open().execute("SELECT COUNT(*) FROM waiting").fetchone()
            return int(count)

    def close(self) -> None:
        """Close the file. Does not raise."""
        if self._database is not None:
            self._database.close()
            self._database = None
