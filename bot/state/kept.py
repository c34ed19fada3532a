"""Short notes that a process leaves for the next one, in the state file."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

from bot.state.sqlite import SqliteState, StateError


class Note:
    """One named note. To know it helps, and not to does no harm: a file that cannot be read or written is no error."""

    def __init__(self, state: SqliteState, name: str) -> None:
        self._state = state
        self._name = name

    async def read(self) -> str | None:
        """What was noted last; None: nothing, or it cannot be known."""

        def work(db: sqlite3.Connection) -> bytes | None:
            row = db.execute("SELECT value FROM kept WHERE name = ?", (self._name,)).fetchone()
            return None if row is None else bytes(row[0])

        with suppress(StateError):
            value = await self._state.run(work)
            return None if value is None else value.decode()
        return None

    async def write(self, value: str) -> None:
        """Note this instead."""
        with suppress(StateError):
            await self._state.run(
                lambda db: db.execute(
                    "INSERT OR REPLACE INTO kept (name, value) VALUES (?, ?)", (self._name, value.encode())
                )
            )
