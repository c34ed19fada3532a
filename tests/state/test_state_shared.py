"""A process with Redis and a record of its own: Redis slow, gone, emptied and back again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from redis.asyncio import Redis

from bot.state.ports import OwedTurn, TurnStore
from bot.state.redis_link import RedisLink
from bot.state.redis_news import RedisNews
from bot.state.redis_turns import RedisTurns
from bot.state.shared import SharedTurns
from bot.state.sqlite import SqliteState
from bot.state.turns import SqliteTurns
from tests.state.contract import ALIVE, DEAD, TurnStoreContract, turn
from tests.support.redis_server import RedisServer, client_of

pytestmark = pytest.mark.services


@dataclass(slots=True, kw_only=True)
class Replica:
    """What one process has."""

    turns: SharedTurns
    own: SqliteTurns
    link: RedisLink
    redis: RedisTurns

    async def until_back(self) -> None:
        await until(lambda: not self.link.is_away)


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.01)


@asynccontextmanager
async def replica(
    redis: RedisServer, folder: Path, owner: str = "a", *, timeout_s: float = 5.0, patience_s: float | None = None
) -> AsyncIterator[Replica]:
    """A replica with a folder of its own."""
    client = client_of(redis.url)
    state = await SqliteState.open(folder / "state.db")
    link = RedisLink(client, timeout_s=timeout_s)
    own, shared = SqliteTurns(state), RedisTurns(client)
    turns = SharedTurns(shared, own, link, owner=owner, lapse_s=ALIVE, patience_s=patience_s)
    await link.connect()
    watching = asyncio.create_task(link.run())
    try:
        yield Replica(turns=turns, own=own, link=link, redis=shared)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await client.aclose()
        await state.close()


class TestShared(TurnStoreContract):
    """Redis and the record together keep the same contract."""

    @pytest.fixture
    async def store(self, redis: RedisServer, tmp_path: Path) -> AsyncIterator[TurnStore]:
        async with replica(redis, tmp_path) as one:
            yield one.turns


class TestAlone(TurnStoreContract):
    """So does the record alone, with Redis gone."""

    @pytest.fixture
    async def store(self, redis: RedisServer, tmp_path: Path) -> AsyncIterator[TurnStore]:
        await redis.kill()
        async with replica(redis, tmp_path, patience_s=0.0) as one:
            assert one.link.is_away
            yield one.turns


async def test_an_accepted_event_is_on_the_disk_whatever_becomes_of_redis(redis: RedisServer, tmp_path: Path) -> None:
    """Redis dies with everything in it; the next start still owes the answer."""
    async with replica(redis, tmp_path) as one:
        await one.turns.claim(turn("1"), most_waiting=5)
        await one.turns.record("1", "a", message_id="77")
    await redis.kill()
    await redis.start()
    async with replica(redis, tmp_path, "b") as next_start:
        await next_start.turns.bury("a")
        (taken,) = await next_start.turns.take_over("b", lapse_s=ALIVE)
        assert (taken.event_id, taken.message_id, taken.owner) == ("1", "77", "b")
        assert await next_start.redis.beat("b") == {"1"}


async def test_a_paused_redis_costs_twenty_milliseconds_once(redis: RedisServer, tmp_path: Path) -> None:
    """The first call gives up in time, the following do not ask; when Redis goes on, so does everything."""
    async with replica(redis, tmp_path, timeout_s=0.02) as one:
        redis.pause()
        began = time.perf_counter()
        assert await one.turns.claim(turn("1"), most_waiting=5) == 0
        assert one.link.is_away
        assert await one.turns.claim(turn("1"), most_waiting=5) is None
        assert time.perf_counter() - began < 0.5  # far above what it takes, far below what waiting would
        redis.resume()
        await one.until_back()
        assert await one.redis.position("1") == 0


async def test_what_happened_while_redis_was_gone_is_known_after(redis: RedisServer, tmp_path: Path) -> None:
    """Settled, changed and new turns: Redis learns all of it when it comes back empty."""
    async with replica(redis, tmp_path) as one:
        for event in ("settled", "posted", "untouched"):
            await one.turns.claim(turn(event), most_waiting=5)
        await redis.kill()
        assert await one.turns.settle("settled", "a") is True
        assert await one.turns.record("posted", "a", message_id="77") is True
        assert await one.turns.claim(turn("new"), most_waiting=5) == 2
        await redis.start()
        await one.until_back()
        assert [await one.redis.position(event) for event in ("posted", "untouched", "new")] == [0, 1, 2]
        assert await one.redis.claim(turn("settled"), most_waiting=5) is None
        taken = {one.event_id: one.message_id for one in await one.redis.take_over("b", lapse_s=DEAD)}
        assert taken == {"posted": "77", "untouched": None, "new": None}


async def test_a_redis_that_restarted_unnoticed_takes_nothing_away(
    redis: RedisServer, client: Redis, tmp_path: Path
) -> None:
    """Redis has lost a turn that runs: its owner goes on, and Redis learns of it anew."""
    async with replica(redis, tmp_path) as one:
        await one.turns.claim(turn("1"), most_waiting=5)
        await one.turns.claim(turn("2"), most_waiting=5)
        await client.flushall()
        assert await one.turns.record("1", "a", message_id="77") is True
        assert await one.turns.position("2") == 1
        assert await one.redis.beat("a") == {"1", "2"}


async def test_what_another_replica_finished_is_not_done_again(redis: RedisServer, tmp_path: Path) -> None:
    """A process comes back to its folder: what was taken over from it meanwhile is no longer its own."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with replica(redis, tmp_path / "a") as one:
        for event in ("finished", "being written", "left"):
            await one.turns.claim(turn(event, lane=event), most_waiting=5)
    async with replica(redis, tmp_path / "b", "b") as other:
        await other.turns.beat("b")
        await other.turns.bury("a")
        assert len(await other.turns.take_over("b", lapse_s=ALIVE)) == 3
        await other.turns.settle("finished", "b")
        await other.turns.release("left", "b")
        async with replica(redis, tmp_path / "a", "a2") as back:
            await back.turns.bury("a")
            assert [one.event_id for one in await back.turns.take_over("a2", lapse_s=ALIVE)] == ["left"]
            assert await back.own.position("finished") is None
            assert await back.own.position("being written") is None


async def test_an_owner_that_was_taken_for_dead_may_not_write(redis: RedisServer, tmp_path: Path) -> None:
    """A process that stood still for too long learns at its next write that the answer is another's."""
    (tmp_path / "b").mkdir()
    async with replica(redis, tmp_path) as one, replica(redis, tmp_path / "b", "b") as other:
        await one.turns.claim(turn("1"), most_waiting=5)
        await other.turns.take_over("b", lapse_s=DEAD)
        assert await one.turns.record("1", "a", message_id="77") is False
        assert await one.turns.settle("1", "a") is False
        assert await other.turns.settle("1", "b") is True


async def test_an_event_that_two_accepted_stays_with_one(redis: RedisServer, tmp_path: Path) -> None:
    """One replica was cut off and accepted what the other had: it gives way when it is back, and disturbs nothing."""
    (tmp_path / "b").mkdir()
    async with replica(redis, tmp_path) as one, replica(redis, tmp_path / "b", "b") as other:
        await other.turns.claim(turn("1", owner="b"), most_waiting=5)
        one.link._lose("cut off by the test")
        assert await one.turns.claim(turn("1"), most_waiting=5) == 0
        await one.until_back()
        await one.turns.mend()
        assert await one.turns.record("1", "a", message_id="76") is False
        assert await other.turns.record("1", "b", message_id="77") is True
        assert await other.turns.settle("1", "b") is True


async def test_a_process_that_was_held_up_does_not_blame_redis(redis: RedisServer, tmp_path: Path) -> None:
    """The loop stood still for longer than a call may take: the answer had come all the same."""
    async with replica(redis, tmp_path, timeout_s=0.02) as one:
        await one.turns.beat("a")
        asking = asyncio.create_task(one.turns.claim(turn("1"), most_waiting=5))
        await asyncio.sleep(0)
        time.sleep(0.1)  # noqa: ASYNC251 - that is the point
        assert await asking == 0
        assert not one.link.is_away


async def test_a_claim_that_cannot_be_written_down_is_taken_back(redis: RedisServer, tmp_path: Path) -> None:
    """The disk refuses: the platform hears no acknowledgement, and its next delivery is accepted."""

    class FullDisk(SqliteTurns):
        is_full = True

        async def keep_new(self, turn: OwedTurn) -> bool:
            if self.is_full:
                raise OSError("no space left on device")
            return await super().keep_new(turn)

    async with replica(redis, tmp_path) as one:
        disk = FullDisk(one.own._state)
        turns = SharedTurns(one.redis, disk, one.link, owner="a", lapse_s=ALIVE)
        with pytest.raises(OSError, match="no space"):
            await turns.claim(turn("1"), most_waiting=5)
        disk.is_full = False
        assert await turns.claim(turn("1"), most_waiting=5) == 0


async def test_a_moment_without_redis_changes_no_leader(redis: RedisServer, tmp_path: Path) -> None:
    """Who led goes on, who did not does not begin; only after a long time each process is its own leader."""
    (tmp_path / "b").mkdir()
    async with replica(redis, tmp_path) as one, replica(redis, tmp_path / "b", "b") as other:
        assert await one.turns.lead("poll", "a", lapse_s=ALIVE) is True
        assert await other.turns.lead("poll", "b", lapse_s=ALIVE) is False
        await redis.kill()
        assert await one.turns.lead("poll", "a", lapse_s=ALIVE) is True
        assert await other.turns.lead("poll", "b", lapse_s=ALIVE) is False
        other.turns._clock = lambda: time.monotonic() + ALIVE + 1
        assert await other.turns.lead("poll", "b", lapse_s=ALIVE) is True


async def test_a_moment_without_redis_takes_nothing_over(redis: RedisServer, tmp_path: Path) -> None:
    """What a dead process left in the folder may be another replica's by now: Redis is waited for a while."""
    async with replica(redis, tmp_path) as one:
        await one.turns.claim(turn("1"), most_waiting=5)
        await redis.kill()
        await one.turns.beat("a")
        assert await one.turns.take_over("b", lapse_s=DEAD) == []
        one.link._clock = lambda: time.monotonic() + ALIVE + 1
        assert [taken.event_id for taken in await one.turns.take_over("b", lapse_s=DEAD)] == ["1"]


async def test_what_another_replica_claimed_is_known_without_redis(redis: RedisServer, tmp_path: Path) -> None:
    """An event that was heard of is not accepted again while Redis is away."""
    async with replica(redis, tmp_path) as one:
        one.turns.note_claimed("b heard")
        one.turns.note_claimed("a new")
        await redis.kill()
        assert await one.turns.claim(turn("heard"), most_waiting=5) is None
        assert await one.turns.claim(turn("new"), most_waiting=5) == 0


async def test_two_questions_that_became_one_stay_one(redis: RedisServer, tmp_path: Path) -> None:
    """Joined while Redis was away: afterwards Redis has the joint question, and the second as answered."""
    async with replica(redis, tmp_path) as one:
        await one.turns.claim(turn("1"), most_waiting=5)
        await one.turns.claim(turn("2"), most_waiting=5)
        await redis.kill()
        assert await one.turns.absorb("1", "a", follower="2", payload=b"both") is True
        await redis.start()
        await one.until_back()
        (taken,) = await one.redis.take_over("b", lapse_s=DEAD)
        assert taken == replace(turn("1"), payload=b"both", owner="b", tries=2)


async def test_news_of_stops_lanes_and_handovers_reach_other_replicas(redis: RedisServer) -> None:
    """A subscription hears what happens through any connection, also after Redis was restarted."""
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    listener = client_of(redis.url)
    news = RedisNews(listener, lambda what, which: heard.put_nowait((what, which)))
    listening = asyncio.create_task(news.run())
    for _ in range(2):
        client = client_of(redis.url)
        store = RedisTurns(client)
        await until(lambda: news.is_listening)
        await store.claim(turn("1"), most_waiting=5)
        await store.claim(turn("2"), most_waiting=5)
        await store.ask_stop("lane")
        await store.release("2", "a")
        await store.settle("1", "a")
        assert [await heard.get() for _ in range(6)] == [
            ("claimed", "a 1"),
            ("claimed", "a 2"),
            ("lane", "lane"),
            ("stop", "1"),
            ("loose", "2"),
            ("lane", "lane"),
        ]
        await client.aclose()
        await redis.kill()
        await until(lambda: not news.is_listening)
        await redis.start()
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await listener.aclose()
