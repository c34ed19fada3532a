"""Groups under a new id: what one replica is told of a move, all of them know."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis

from bot.state.moves import MovedPlaces
from bot.state.redis_link import RedisLink
from bot.state.sqlite import SqliteState
from tests.support.redis_server import RedisServer


async def test_a_move_is_known_after_a_restart(tmp_path: Path) -> None:
    """It is in the state file; a place that never moved has no former name."""
    state = await SqliteState.open(tmp_path / "state.db")
    await (await MovedPlaces.open(state)).note("telegram", "-5", "-1005")
    await state.close()
    state = await SqliteState.open(tmp_path / "state.db")
    moves = await MovedPlaces.open(state)
    assert await moves.former("telegram", "-1005") == "-5"
    assert await moves.former("telegram", "-5") is None
    assert await moves.former("slack", "-1005") is None
    await state.close()


@pytest.mark.services
async def test_a_move_told_to_one_replica_is_known_to_all(client: Redis) -> None:
    """Each has a state file of its own."""
    link = RedisLink(client)
    await link.connect()
    told, other = [await MovedPlaces.open(SqliteState.in_memory(), link) for _ in range(2)]
    await told.note("telegram", "-5", "-1005")
    assert await other.former("telegram", "-1005") == "-5"


@pytest.mark.services
async def test_a_move_while_redis_is_away_is_told_when_it_is_back(redis: RedisServer, client: Redis) -> None:
    """Until then the other replica knows of none."""
    link = RedisLink(client)
    await link.connect()
    told, other = [await MovedPlaces.open(SqliteState.in_memory(), link) for _ in range(2)]
    await redis.kill()
    await told.note("telegram", "-5", "-1005")
    assert await other.former("telegram", "-1005") is None
    await redis.start()
    watching = asyncio.create_task(link.run())
    async with asyncio.timeout(20):
        while await other.former("telegram", "-1005") is None:
            await asyncio.sleep(0.01)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
