"""State in one SQLite file: a write is on the disk before it is acknowledged."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_STEPS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE turns (
            event_id TEXT PRIMARY KEY,
            trace_id TEXT NOT NULL,
            platform TEXT NOT NULL,
            payload BLOB,
            accepted_at REAL NOT NULL,
            message_id TEXT,
            settled INTEGER NOT NULL DEFAULT 0
        ) STRICT
        """,
        "CREATE INDEX turns_owed ON turns (accepted_at) WHERE settled = 0",
        "CREATE TABLE kept (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT",
    ),
    (
        "ALTER TABLE turns ADD COLUMN lane TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE turns ADD COLUMN owner TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE turns ADD COLUMN tries INTEGER NOT NULL DEFAULT 1",
        "ALTER TABLE turns ADD COLUMN final BLOB",
        "ALTER TABLE turns ADD COLUMN is_stopping INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE turns ADD COLUMN is_unshared INTEGER NOT NULL DEFAULT 0",
        "UPDATE turns SET lane = event_id",
        "CREATE INDEX turns_lane ON turns (lane) WHERE settled = 0",
        "CREATE INDEX turns_unshared ON turns (event_id) WHERE is_unshared = 1",
        "CREATE TABLE owners (owner TEXT PRIMARY KEY, beat_at REAL NOT NULL) STRICT",
        "CREATE TABLE leads (name TEXT PRIMARY KEY, owner TEXT NOT NULL) STRICT",
    ),
)
"""What makes each version of the file out of the one before."""
_VERSION = len(_STEPS)


class StateError(Exception):
    """The state file cannot be used; the message says which file and what to do."""


class SqliteState:
    """One file. One thread owns the connection; every use is a short transaction on it."""

    def __init__(self, path: Path | None, connection: sqlite3.Connection, thread: ThreadPoolExecutor | None) -> None:
        self._path = path
        self._db = connection
        self._thread = thread

    @classmethod
    async def open(cls, path: Path) -> SqliteState:
        """Open or create the file.

        Raises:
            StateError: If it cannot be opened, is damaged, or was written by a newer version.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="state")
        try:
            connection = await asyncio.get_running_loop().run_in_executor(thread, _connect, path)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(path, connection, thread)

    @classmethod
    def in_memory(cls) -> SqliteState:
        """State that ends with the process. It touches no disk, so it needs no thread either."""
        connection = sqlite3.connect(":memory:")
        _upgrade(connection)
        return cls(None, connection, None)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """One short transaction on the file's thread; also for tables that live in modules of their own.

        Raises:
            StateError: If the file cannot be read or written.
        """

        def transaction() -> T:
            with self._db:
                return work(self._db)

        try:
            if self._thread is None:
                return transaction()
            return await asyncio.get_running_loop().run_in_executor(self._thread, transaction)
        except sqlite3.Error as error:
            raise StateError(
                f"{self._path} cannot be written ({error}); check the disk and the folder's rights"
            ) from error

    async def kept_secret(self, name: str, size: int = 32) -> bytes:
        """A random value made at first use and the same ever after, e.g. the key of the logs' pseudonyms."""

        def work(db: sqlite3.Connection) -> bytes:
            db.execute("INSERT OR IGNORE INTO kept (name, value) VALUES (?, ?)", (name, secrets.token_bytes(size)))
            return bytes(db.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()[0])

        return await self.run(work)

    async def keep_secret(self, name: str, value: bytes) -> None:
        """Take this value for the name's from now on."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO kept (name, value) VALUES (?, ?)", (name, value))

        await self.run(work)

    async def close(self) -> None:
        """Close the file; everything acknowledged before is in it."""
        if self._thread is None:
            self._db.close()
            return
        await asyncio.get_running_loop().run_in_executor(self._thread, self._db.close)
        self._thread.shutdown(wait=False)


def _connect(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A second process (`grapevine ask` beside `serve`) waits for the first one's short transactions.
        connection = sqlite3.connect(path, timeout=5, check_same_thread=True)
        connection.execute("PRAGMA journal_mode=WAL")
        # FULL, not NORMAL: an answer owed must survive a power cut as well as a crash (0.12 instead of 0.02 ms).
        connection.execute("PRAGMA synchronous=FULL")
        if _upgrade(connection) > _VERSION:
            connection.close()
            raise StateError(
                f"{path} was written by a newer version; update Grapevine or choose another GRAPEVINE_DATA"
            )
    except sqlite3.DatabaseError as error:
        if _was_made_meanwhile(path):
            return _connect(path)
        raise StateError(f"{path} cannot be used ({error}); move it away and start again, or check the disk") from error
    except OSError as error:
        raise StateError(
            f"{path.parent} cannot be written ({error.strerror}); set GRAPEVINE_DATA to another folder"
        ) from error
    return connection


def _upgrade(connection: sqlite3.Connection) -> int:
    """Bring the file to this version, once, whoever else tries; the version it then has."""
    if (version := _version(connection)) < _VERSION:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            version = _version(connection)
            for statement in (statement for step in _STEPS[version:] for statement in step):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {max(version, _VERSION)}")
        version = max(version, _VERSION)
    return version


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _was_made_meanwhile(path: Path) -> bool:
    """Whether another process made the file between our look at it and our attempt."""
    try:
        with sqlite3.connect(path, timeout=5) as probe:
            return _version(probe) == _VERSION
    except sqlite3.Error:
        return False
