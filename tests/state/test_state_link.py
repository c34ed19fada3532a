"""Redis comes back whatever happens to what is told it then."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from bot.state.moves import MovedPlaces
from bot.state.redis_link import RedisLink
from bot.state.sqlite import SqliteState
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.services


@asynccontextmanager
async def watched(link: RedisLink) -> AsyncIterator[asyncio.Task[None]]:
    """The task that watches; the test fails if something does not come about in time."""
    task = asyncio.create_task(link.run())
    try:
        async with asyncio.timeout(20):
            yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.01)


def renamed(before: str, after: str) -> Callable[[sqlite3.Connection], object]:
    return lambda db: db.execute(f"ALTER TABLE {before} RENAME TO {after}")


async def test_redis_is_used_again_once_the_state_file_can_be_read(redis: RedisServer, client: Redis) -> None:
    """A state file that fails when Redis returns keeps it away only for as long as it fails."""
    attempts: list[None] = []

    async def count() -> None:
        attempts.append(None)

    link, state = RedisLink(client), SqliteState.in_memory()
    await link.connect()
    link.on_return(count)
    moves = await MovedPlaces.open(state, link)
    await redis.kill()
    await moves.note("telegram", "-5", "-1005")
    assert link.is_away
    await state.run(renamed("moved_places", "away"))
    await redis.start()
    async with watched(link) as watching:
        await until(lambda: len(attempts) > 1 or watching.done())
        assert link.is_away
        assert not watching.done()
        await state.run(renamed("away", "moved_places"))
        await until(lambda: not link.is_away or watching.done())
        assert not watching.done()
    await state.close()


async def test_a_failure_after_redis_is_back_is_tried_again(client: Redis) -> None:
    """What is told the second time may fail as well, also at the start: Redis is away then, and probed again."""
    calls: list[None] = []

    async def fail_second() -> None:
        calls.append(None)
        if len(calls) == 2:
            raise ValueError("damaged")

    link = RedisLink(client)
    link.on_return(fail_second)
    await link.connect()
    assert link.is_away
    async with watched(link) as watching:
        await until(lambda: not link.is_away or watching.done())
        assert not watching.done()
