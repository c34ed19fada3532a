"""Which place another one was before: a group that became a supergroup has a new id, and is the same group."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

from adapters.ports import Platform
from bot.state.jobs import Transacts
from bot.state.redis_link import RedisAway, RedisLink

_SCHEMA = """
CREATE TABLE IF NOT EXISTS moved_places (
    platform TEXT NOT NULL,
    place TEXT NOT NULL,
    former TEXT NOT NULL,
    PRIMARY KEY (platform, place)
) STRICT
"""


class MovedPlaces:
    """Kept in the state file, and in Redis where there is one: only one replica is told of a move."""

    def __init__(self, state: Transacts, link: RedisLink | None) -> None:
        self._state = state
        self._link = link

    @classmethod
    async def open(cls, state: Transacts, link: RedisLink | None = None) -> MovedPlaces:
        """The table in this state file, made when it is not there. Raises `StateError`."""
        await state.run(lambda db: db.execute(_SCHEMA))
        moves = cls(state, link)
        if link is not None:
            link.on_return(moves.share)
            with suppress(RedisAway):
                await moves.share()
        return moves

    async def note(self, platform: Platform, old: str, new: str) -> None:
        """`old` goes on as `new`. Raises `StateError`."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO moved_places VALUES (?, ?, ?)", (platform, new, old))

        await self._state.run(work)
        if self._link is not None:
            with suppress(RedisAway):  # told to the others once it is back; until then they go by the default
                await self._link.call(self._link.client.hset(self._key, f"{platform}:{new}", old))

    async def share(self) -> None:
        """Tell the other replicas all that is known here. Raises `RedisAway`."""

        def work(db: sqlite3.Connection) -> list[str]:
            rows = db.execute("SELECT platform, place, former FROM moved_places")
            return [text for platform, place, former in rows for text in (f"{platform}:{place}", str(former))]

        known = await self._state.run(work)
        if known and self._link is not None:
            await self._link.insist(self._link.client.hset(self._key, items=known))

    async def former(self, platform: Platform, place: str) -> str | None:
        """What `place` was called before, as far as is known. Raises `StateError`."""

        def work(db: sqlite3.Connection) -> str | None:
            row = db.execute(
                "SELECT former FROM moved_places WHERE platform = ? AND place = ?", (platform, place)
            ).fetchone()
            return None if row is None else str(row[0])

        known = await self._state.run(work)
        if known is None and self._link is not None:
            with suppress(RedisAway):
                told = await self._link.call(self._link.client.hget(self._key, f"{platform}:{place}"))
                known = None if told is None else told.decode() if isinstance(told, bytes) else str(told)
        return known

    @property
    def _key(self) -> str:
        return f"{self._link.prefix}:moved" if self._link is not None else ""
