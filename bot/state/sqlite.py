"""State in one SQLite file: a write is on the disk before it is acknowledged."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from bot.state.ports import OwedTurn

T = TypeVar("T")

_VERSION = 1
_SCHEMA = """
CREATE TABLE turns (
    event_id TEXT PRIMARY KEY,
    trace_id TEXT NOT NULL,
    platform TEXT NOT NULL,
    payload BLOB,
    accepted_at REAL NOT NULL,
    message_id TEXT,
    settled INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX turns_owed ON turns (accepted_at) WHERE settled = 0;
CREATE TABLE kept (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
"""


class StateError(Exception):
    """The state file cannot be used; the message says which file and what to do."""


class SqliteState:
    """`TurnStore` over one file. One thread owns the connection; every call is a short transaction on it."""

    def __init__(self, path: Path, connection: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
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

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """One short transaction on the file's thread; also for tables that live in modules of their own.

        Raises:
            StateError: If the file cannot be read or written.
        """

        def transaction() -> T:
            with self._db:
                return work(self._db)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, transaction)
        except sqlite3.Error as error:
            raise StateError(
                f"{self._path} cannot be written ({error}); check the disk and the folder's rights"
            ) from error

    async def claim(self, turn: OwedTurn) -> bool:
        """See `TurnStore.claim`."""
        row = (turn.event_id, turn.trace_id, turn.platform, turn.payload, turn.accepted_at, turn.message_id)
        return await self.run(
            lambda db: (
                db.execute(
                    "INSERT OR IGNORE INTO turns (event_id, trace_id, platform, payload, accepted_at, message_id) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    row,
                ).rowcount
                == 1
            )
        )

    async def posted(self, event_id: str, message_id: str) -> None:
        """See `TurnStore.posted`."""
        await self.run(
            lambda db: db.execute("UPDATE turns SET message_id = ? WHERE event_id = ?", (message_id, event_id))
        )

    async def settle(self, event_id: str) -> None:
        """See `TurnStore.settle`. The question's text goes; the claim stays, so that a repeat is still known."""
        await self.run(
            lambda db: db.execute("UPDATE turns SET settled = 1, payload = NULL WHERE event_id = ?", (event_id,))
        )

    async def owed(self) -> list[OwedTurn]:
        """See `TurnStore.owed`."""
        rows = await self.run(
            lambda db: db.execute(
                "SELECT event_id, trace_id, platform, payload, accepted_at, message_id FROM turns "
                "WHERE settled = 0 ORDER BY accepted_at, rowid"
            ).fetchall()
        )
        return [
            OwedTurn(
                event_id=event_id,
                trace_id=trace_id,
                platform=platform,
                payload=payload,
                accepted_at=accepted_at,
                message_id=message_id,
            )
            for event_id, trace_id, platform, payload, accepted_at, message_id in rows
        ]

    async def prune(self, *, before: float) -> int:
        """See `TurnStore.prune`."""
        return await self.run(
            lambda db: db.execute("DELETE FROM turns WHERE settled = 1 AND accepted_at < ?", (before,)).rowcount
        )

    async def kept_secret(self, name: str, size: int = 32) -> bytes:
        """A random value made at first use and the same ever after, e.g. the key of the logs' pseudonyms."""

        def work(db: sqlite3.Connection) -> bytes:
            db.execute("INSERT OR IGNORE INTO kept (name, value) VALUES (?, ?)", (name, secrets.token_bytes(size)))
            return bytes(db.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()[0])

        return await self.run(work)

    async def close(self) -> None:
        """Close the file; everything acknowledged before is in it."""
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
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > _VERSION:
            connection.close()
            raise StateError(
                f"{path} was written by a newer version; update Grapevine or choose another GRAPEVINE_DATA"
            )
        if version == 0:
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
    except sqlite3.DatabaseError as error:
        if _was_made_meanwhile(path):
            return _connect(path)
        raise StateError(f"{path} cannot be used ({error}); move it away and start again, or check the disk") from error
    except OSError as error:
        raise StateError(
            f"{path.parent} cannot be written ({error.strerror}); set GRAPEVINE_DATA to another folder"
        ) from error
    return connection


def _was_made_meanwhile(path: Path) -> bool:
    """Whether another process created the schema between our look at it and our attempt."""
    try:
        with sqlite3.connect(path, timeout=5) as probe:
            return int(probe.execute("PRAGMA user_version").fetchone()[0]) == _VERSION
    except sqlite3.Error:
        return False
