"""Moments in which a turn could fall between Redis, the disk and two processes: none does."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis

from bot.outbox import Outbox
from bot.state.sqlite import SqliteState
from bot.state.turns import SqliteTurns
from tests.process.test_intake import Process, until_settled
from tests.state.contract import ALIVE, DEAD, turn
from tests.state.test_state_shared import replica
from tests.support.redis_server import RedisServer


async def test_an_event_that_comes_again_after_redis_forgot_is_not_begun_again(
    redis: RedisServer, client: Redis, tmp_path: Path
) -> None:
    """Redis was emptied while an answer is being written: a repeat of its event is still a repeat."""
    async with replica(redis, tmp_path) as one:
        await one.turns.claim(turn("1"), most_waiting=5)
        await one.turns.record("1", "a", message_id="77")
        await client.flushall()
        assert await one.turns.claim(turn("1"), most_waiting=5) is None
        assert await one.turns.record("1", "a") is True
        (taken,) = await one.redis.take_over("b", lapse_s=DEAD)
        assert taken.message_id == "77"


async def test_what_a_dead_process_left_is_not_accepted_as_new(
    redis: RedisServer, client: Redis, tmp_path: Path
) -> None:
    """Redis was emptied, and the event of an unfinished answer comes again: the next start finishes that answer."""
    async with replica(redis, tmp_path) as one:
        await one.turns.claim(turn("1"), most_waiting=5)
        await one.turns.record("1", "a", message_id="77")
    await client.flushall()
    async with replica(redis, tmp_path, "b") as next_start:
        assert await next_start.turns.claim(turn("1", owner="b"), most_waiting=5) is None
        await next_start.turns.bury("a")
        (taken,) = await next_start.turns.take_over("b", lapse_s=ALIVE)
        assert (taken.event_id, taken.message_id) == ("1", "77")


async def test_redis_going_away_in_the_middle_of_a_takeover_starts_nothing(redis: RedisServer, tmp_path: Path) -> None:
    """What the folder holds may be another replica's: it is looked at again, later, and not lost sight of."""
    async with replica(redis, tmp_path) as one:
        await one.turns.claim(turn("1"), most_waiting=5)
    async with replica(redis, tmp_path, "b") as next_start:
        await next_start.turns.bury("a")
        redis.pause()
        assert await next_start.turns.take_over("b", lapse_s=ALIVE) == []
        next_start.link._clock = lambda: time.monotonic() + ALIVE + 1
        assert [taken.event_id for taken in await next_start.turns.take_over("b", lapse_s=ALIVE)] == ["1"]
        redis.resume()


async def test_only_questions_of_this_process_are_joined(redis: RedisServer, tmp_path: Path) -> None:
    """Where Redis may not answer in time, a question that only another replica has on its disk could be swallowed."""
    (tmp_path / "b").mkdir()
    async with replica(redis, tmp_path) as one, replica(redis, tmp_path / "b", "b") as other:
        await one.turns.claim(turn("1"), most_waiting=5)
        await other.turns.claim(turn("2", owner="b"), most_waiting=5)
        assert await one.turns.absorb("1", "a", follower="2", payload=b"both") is False
        assert await other.turns.position("2") == 1


async def test_a_turn_that_is_made_known_again_has_a_living_owner(redis: RedisServer, tmp_path: Path) -> None:
    """Its owner dies before its next heartbeat: others see that it is silent, also those with another disk."""
    for folder in "bc":
        (tmp_path / folder).mkdir()
    async with replica(redis, tmp_path) as one, replica(redis, tmp_path / "b", "b") as other:
        await one.turns.claim(turn("1"), most_waiting=5)
        await other.turns.take_over("b", lapse_s=DEAD)
        await other.turns.release("1", "b")
        assert await one.turns.record("1", "a") is True
    async with replica(redis, tmp_path / "c", "c") as third:
        assert [taken.event_id for taken in await third.turns.take_over("c", lapse_s=DEAD)] == ["1"]


@pytest.mark.parametrize("payload", [b'{"nothing": "to go by"}', b"not JSON"])
async def test_a_record_that_cannot_be_read_stops_no_heart(payload: bytes) -> None:
    """A question of another version, or a damaged one, is given up with a line in the log; the rest goes on."""
    state = SqliteState.in_memory()
    store = SqliteTurns(state)
    await store.claim(replace(turn("odd"), payload=payload), most_waiting=5)
    good = replace(turn("good", lane="other"), payload=_question(b'"a_field_of_tomorrow": 1, '))
    await store.claim(good, most_waiting=5)
    await store.record("good", "a", final=_final(b'"a_field_of_tomorrow": 1, '))
    outbox = Outbox(store, owner="b", lapse_s=DEAD, now=lambda: 2.0)
    (debt,) = await outbox.unpaid()
    assert debt.inbound.text == "How much?"
    assert debt.final is not None
    assert debt.final[0].sources[0].title == "Prices"
    assert await store.position("odd") is None
    await state.close()


def _question(more: bytes) -> bytes:
    return (
        b"{" + more + b'"platform": "telegram", "conversation": "1", "sender": "1", "text": "How much?", '
        b'"event_id": "good", "received_at": 1.0}'
    )


def _final(more: bytes) -> bytes:
    source = b"{" + more + b'"n": 1, "title": "Prices", "passage_id": "p", "document": "d", "collection": "public"}'
    return b"{" + more + b'"text": "It costs 5.", "sources": [' + source + b'], "outcome": "answered"}'


async def test_updates_replayed_ten_times_and_out_of_order_over_two_replicas() -> None:
    """Six questions in three chats, each delivered ten times to either process in any order: one answer each."""
    state = SqliteState.in_memory()
    store = SqliteTurns(state)
    replicas = [Process(store, owner=owner) for owner in "ab"]
    deliveries = [(str(n), f"{1001 + n % 3}") for n in range(6)] * 10
    random.Random(7).shuffle(deliveries)
    for n, (event, chat) in enumerate(deliveries):
        await replicas[n % 2].ask(f"How much is number {event}?", event, conversation=chat, sender=chat)
        if n % 5 == 0:
            await asyncio.sleep(0)
    await until_settled(store)
    for one in replicas:
        assert await one.intake.drain(timeout_s=30)
    asked = [question.text.split("\n") for one in replicas for question in one.engine.questions]
    answered = {lines[0]: lines for lines in asked}  # joined with one that followed: asked anew, with both
    assert sorted(line for lines in answered.values() for line in lines) == [
        f"How much is number {n}?" for n in range(6)
    ]
    assert sum(len(one.chat.finals) for one in replicas) == len(answered)
    await state.close()
