"""A bounded queue on disk: what it was given and has not been taken is there after a power cut."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgekit.errors import OutputError

SPOOL_RESULTS = 100_000


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise OutputError(
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
        """Put documents behind those that wait; they are on disk when this returns."""
        with _told(self.path):
            database = self._open()
            with database:
                database.execute("BEGIN IMMEDIATE")
                database.executemany(
                    "INSERT INTO waiting (document) VALUES (?)", [(d,) for d in documents]
                )
                (count,) = database.execute("SELECT COUNT(*) FROM waiting").fetchone()
                surplus = max(0, count - self._limit)
                self._delete(database, surplus)
            self.dropped += surplus

    def first(self, count: int) -> list[bytes]:
        """The oldest documents; they stay until `remove`."""
        with _told(self.path):
            rows = self._open().execute(
                "SELECT document FROM waiting ORDER BY number LIMIT ?", (count,)
            )
            return [row[0] for row in rows]

    def remove(self, count: int) -> None:
        """Take the oldest documents out for good."""
        with _told(self.path):
            database = self._open()
            with database:
                database.execute("BEGIN IMMEDIATE")
                self._delete(database, count)

    @staticmethod
    def _delete(database: sqlite3.Connection, count: int) -> None:
        database.execute(
            "DELETE FROM waiting WHERE number IN"
            " (SELECT number FROM waiting ORDER BY number LIMIT ?)",
            (count,),
        )

    def __len__(self) -> int:
        with _told(self.path):
            (count,) = self._open().execute("SELECT COUNT(*) FROM waiting").fetchone()
            return int(count)

    def close(self) -> None:
        """Give the file back. Does not raise."""
        if self._database is not None:
            self._database.close()
            self._database = None
