"""Model tokens spent a day: in the state file, and counted over all replicas in Redis where there is one.

Whose they are is a pseudonym, and a day's figures are gone two days later.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from datetime import date, timedelta

from bot.state.redis_link import Client, RedisAway, RedisLink
from bot.state.redis_script import Script
from bot.state.sqlite import SqliteState

_EVERYBODY = ""
_TABLE = (
    "CREATE TABLE IF NOT EXISTS spending "
    "(day TEXT NOT NULL, person TEXT NOT NULL, tokens INTEGER NOT NULL, PRIMARY KEY (day, person)) STRICT"
)
_ADD = (
    "INSERT INTO spending (day, person, tokens) VALUES (?, ?, ?) "
    "ON CONFLICT (day, person) DO UPDATE SET tokens = tokens + excluded.tokens"
)


class SqliteSpending:
    """A `Ledger` in the state file."""

    def __init__(self, state: SqliteState) -> None:
        self._state = state

    @classmethod
    async def open(cls, state: SqliteState) -> SqliteSpending:
        """Make the table if need be. Raises `StateError`."""
        await state.run(lambda db: db.execute(_TABLE))
        return cls(state)

    async def add(self, day: str, person: str, tokens: int) -> None:
        """See `Ledger.add`. Raises `StateError`."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            db.executemany(_ADD, [(day, person, tokens), (day, _EVERYBODY, tokens)])
            yesterday = (date.fromisoformat(day) - timedelta(days=1)).isoformat()
            db.execute("DELETE FROM spending WHERE day < ?", (yesterday,))

        await self._state.run(work)

    async def spent(self, day: str, person: str) -> tuple[int, int]:
        """See `Ledger.spent`. Raises `StateError`."""

        def work(db: sqlite3.Connection) -> tuple[int, int]:
            rows = db.execute(
                "SELECT person, tokens FROM spending WHERE day = ? AND person IN (?, ?)", (day, person, _EVERYBODY)
            )
            found = dict(rows.fetchall())
            return found.get(person, 0), found.get(_EVERYBODY, 0)

        return await self._state.run(work)


_COUNT = Script("""
local key = KEYS[1] .. ':' .. ARGV[1]
redis.call('HINCRBY', key, ARGV[2], ARGV[3])
redis.call('HINCRBY', key, 'everybody', ARGV[3])
redis.call('EXPIRE', key, 172800)
return 1
""")
_ASK = Script("""
local found = redis.call('HMGET', KEYS[1] .. ':' .. ARGV[1], ARGV[2], 'everybody')
return {tonumber(found[1] or 0), tonumber(found[2] or 0)}
""")


class RedisSpending:
    """A `Ledger` in Redis. Raises what the client raises."""

    def __init__(self, client: Client, *, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    async def add(self, day: str, person: str, tokens: int) -> None:
        """See `Ledger.add`."""
        await _COUNT.run(self._client, self._prefix, day, person, str(tokens))

    async def spent(self, day: str, person: str) -> tuple[int, int]:
        """See `Ledger.spent`."""
        mine, everybodys = await _ASK.run(self._client, self._prefix, day, person)
        return int(mine), int(everybodys)


class SharedSpending:
    """Counted over all replicas; while Redis is away, each goes by what it has counted itself."""

    def __init__(self, shared: RedisSpending, own: SqliteSpending, link: RedisLink) -> None:
        self._shared = shared
        self._own = own
        self._link = link

    async def add(self, day: str, person: str, tokens: int) -> None:
        """See `Ledger.add`."""
        with suppress(RedisAway):
            await self._link.call(self._shared.add(day, person, tokens))
        await self._own.add(day, person, tokens)

    async def spent(self, day: str, person: str) -> tuple[int, int]:
        """See `Ledger.spent`."""
        own = await self._own.spent(day, person)
        try:
            shared = await self._link.call(self._shared.spent(day, person))
        except RedisAway:
            return own
        # What was spent while Redis was away it does not know; this process does, as far as it was its own.
        return max(own[0], shared[0]), max(own[1], shared[1])
