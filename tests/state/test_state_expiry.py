"""Exchanges that Redis has let go by themselves: what still names them does no harm and goes, too."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from bot.state.redis_transcripts import RedisTranscripts
from bot.state.transcript_ports import Lane, Mark
from tests.state.transcripts_contract import ids, past, rating

pytestmark = pytest.mark.services

OLD, NEW = (Lane(platform="telegram", conversation=name, person="1") for name in ("-5", "-1005"))
_KEY = "{grapevine}:said"


async def expire(client: Redis, past_id: str) -> None:
    """As its time does."""
    assert await client.delete(f"{_KEY}:past:{past_id}") == 1


async def test_a_conversation_moves_without_what_has_expired(client: Redis) -> None:
    """What is left of it goes along; what has expired does not come back as something that never expires."""
    store = RedisTranscripts(client)
    await store.put(past("1", 1.0, lane=OLD))
    await store.put(past("2", 2.0, lane=OLD))
    await expire(client, "1")
    await store.move("telegram", "-5", "-1005")
    assert await ids(store, NEW) == ["2"]
    assert await client.exists(f"{_KEY}:past:1") == 0
    assert await client.zrange(f"{_KEY}:where:telegram:-1005", 0, -1) == [b"2"]
    assert [key async for key in client.scan_iter(f"{_KEY}:*") if await client.ttl(key) < 0] == []


async def test_what_has_expired_is_not_counted_as_forgotten(client: Redis) -> None:
    """Nor does anything of it stay."""
    store = RedisTranscripts(client)
    for n in (1, 2):
        await store.put(past(str(n), float(n), lane=OLD))
        await store.rate(str(n), rating(at=3.0))
    await expire(client, "1")
    assert await store.mark(Mark(kind="forget", key="telegram:1", at=5.0)) == 1
    for key in ("who:telegram:1", "rater:telegram:1"):
        assert await client.zrange(f"{_KEY}:{key}", 0, -1) == []


async def test_what_has_expired_leaves_a_busy_place(client: Redis) -> None:
    """A place where somebody always asks does not grow for ever; what still is there can still be forgotten."""
    store = RedisTranscripts(client, keep_s=10.0)
    for n in (1, 2, 3):
        await store.put(past(str(n), float(n), lane=OLD))
        await store.rate(str(n), rating(at=n + 0.5))
    for past_id in ("1", "2"):
        await expire(client, past_id)
    await store.put(past("late", 25.0, lane=OLD))
    await store.rate("late", rating(at=26.0))
    for key in ("where:telegram:-5", "lane:telegram:-5:1", "who:telegram:1", "rater:telegram:1", "rated"):
        assert await client.zrange(f"{_KEY}:{key}", 0, -1) == [b"3", b"late"]
    assert await store.mark(Mark(kind="forget", key="telegram:1", at=30.0)) == 2
    assert await client.exists(f"{_KEY}:past:3") == 0
