"""Login links and sessions of the dashboard, kept as hashes: whoever reads the file cannot sign in with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from hashlib import sha256

from bot.state.jobs import Transacts

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS login_links (hash BLOB PRIMARY KEY, expires_at REAL NOT NULL) STRICT",
    """
    CREATE TABLE IF NOT EXISTS sessions (
        hash BLOB PRIMARY KEY,
        key_hash BLOB NOT NULL,
        expires_at REAL NOT NULL
    ) STRICT
    """,
)


def digest(secret: str) -> bytes:
    """What is kept of a secret. A plain hash is enough for 256 random bits: there is nothing to guess."""
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


class SessionTable:
    """Login links and sessions in the state file, so that `grapevine login-link` can be another process."""

    def __init__(self, state: Transacts) -> None:
        self._state = state

    @classmethod
    async def open(cls, state: Transacts) -> SessionTable:
        """The tables in this state file, made when they are not there."""

        def work(db: sqlite3.Connection) -> None:
            for statement in _SCHEMA:
                db.execute(statement)

        await state.run(work)
        return cls(state)

    async def add_link(self, link: str, *, expires_at: float, now: float) -> None:
        """Make this link good once until `expires_at` (seconds since the epoch)."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM login_links WHERE expires_at <= ?", (now,))
            db.execute("INSERT INTO login_links VALUES (?, ?)", (digest(link), expires_at))

        await self._state.run(work)

    async def use_link(self, link: str, *, now: float) -> bool:
        """Use the link up; False if there is none such, it was used, or its time is over."""
        return await self._changes(
            lambda db: db.execute("DELETE FROM login_links WHERE hash = ? AND expires_at > ?", (digest(link), now))
        )

    async def add_session(self, session: str, *, key: str, expires_at: float, now: float) -> None:
        """Let this session in until `expires_at`, as long as `key` is the admin token."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM sessions WHERE expires_at <= ?", (now,))
            db.execute("INSERT INTO sessions VALUES (?, ?, ?)", (digest(session), digest(key), expires_at))

        await self._state.run(work)

    async def is_session(self, session: str, *, key: str, now: float) -> bool:
        """Whether this session is signed in: changing the admin token signs everybody out."""
        return await self._state.run(
            lambda db: (
                db.execute(
                    "SELECT 1 FROM sessions WHERE hash = ? AND key_hash = ? AND expires_at > ?",
                    (digest(session), digest(key), now),
                ).fetchone()
                is not None
            )
        )

    async def end_session(self, session: str) -> bool:
        """Sign this session out; False if it was not signed in."""
        return await self._changes(lambda db: db.execute("DELETE FROM sessions WHERE hash = ?", (digest(session),)))

    async def _changes(self, statement: Callable[[sqlite3.Connection], sqlite3.Cursor]) -> bool:
        return await self._state.run(lambda db: statement(db).rowcount == 1)
