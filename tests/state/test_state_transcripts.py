"""One contract for transcripts over every place that keeps them; and several replicas that keep them together."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from bot.state.redis_link import RedisAway, RedisLink
from bot.state.redis_transcripts import RedisTranscripts
from bot.state.shared_transcripts import SharedTranscripts
from bot.state.sqlite import SqliteState
from bot.state.transcript_ports import Lane, Mark, TranscriptStore
from bot.state.transcripts import SqliteTranscripts
from tests.state.transcripts_contract import MINE, TranscriptStoreContract, ids, past, rating
from tests.support.redis_server import RedisServer, client_of


class TestMemory(TranscriptStoreContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[TranscriptStore]:
        state = SqliteState.in_memory()
        yield await SqliteTranscripts.open(state)
        await state.close()


class TestSqlite(TranscriptStoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[TranscriptStore]:
        state = await SqliteState.open(tmp_path / "state.db")
        yield await SqliteTranscripts.open(state)
        await state.close()


@pytest.mark.services
class TestRedis(TranscriptStoreContract):
    @pytest.fixture
    def store(self, client: Redis) -> TranscriptStore:
        return RedisTranscripts(client)


@asynccontextmanager
async def replica(
    redis: RedisServer, folder: Path, *, now: float = 100.0
) -> AsyncIterator[tuple[SharedTranscripts, RedisLink]]:
    """What one process with a folder of its own has."""
    client = client_of(redis.url)
    state = await SqliteState.open(folder / "state.db")
    link = RedisLink(client, timeout_s=5.0)
    shared = SharedTranscripts(RedisTranscripts(client), await SqliteTranscripts.open(state), link, now=lambda: now)
    await link.connect()
    watching = asyncio.create_task(link.run())
    try:
        yield shared, link
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await client.aclose()
        await state.close()


@pytest.mark.services
class TestShared(TranscriptStoreContract):
    @pytest.fixture
    async def store(self, redis: RedisServer, tmp_path: Path) -> AsyncIterator[TranscriptStore]:
        async with replica(redis, tmp_path) as (shared, _):
            yield shared


@pytest.mark.services
class TestAlone(TranscriptStoreContract):
    @pytest.fixture
    async def store(self, redis: RedisServer, tmp_path: Path) -> AsyncIterator[TranscriptStore]:
        await redis.kill()
        async with replica(redis, tmp_path) as (shared, link):
            assert link.is_away
            yield shared


async def until_back(link: RedisLink) -> None:
    while link.is_away:
        await asyncio.sleep(0.01)


@pytest.mark.services
async def test_replicas_see_the_same_conversation(redis: RedisServer, tmp_path: Path) -> None:
    """What one answered is history on the other; what is begun anew on one has gone on both."""
    async with replica(redis, tmp_path / "a") as (one, _), replica(redis, tmp_path / "b") as (two, _):
        await one.put(past("1", 1.0))
        await two.put(past("2", 2.0))
        assert await ids(one) == await ids(two) == ["2", "1"]
        await two.mark(Mark(kind="new", key=MINE.key, at=3.0))
        assert await ids(one) == []


@pytest.mark.services
async def test_forgetting_reaches_every_replicas_own_record(redis: RedisServer, tmp_path: Path) -> None:
    """Also that of a replica which hears of it later: nothing comes back when Redis goes away or loses everything."""
    async with replica(redis, tmp_path / "a") as (one, link), replica(redis, tmp_path / "b") as (two, _):
        await one.put(past("1", 99.0))
        await two.mark(Mark(kind="forget", key="telegram:1", at=100.0))
        await one.exchange_marks(since=0.0)
        await redis.kill()
        assert await ids(one) == []
        assert link.is_away
        await redis.start()
        await until_back(link)
        assert await ids(one) == []


@pytest.mark.services
async def test_forgetting_told_late_reaches_every_replicas_own_record(redis: RedisServer, tmp_path: Path) -> None:
    """A replica that was cut off for an hour tells of it when it is back: the others forget, too, in their files."""
    async with (
        replica(redis, tmp_path / "a", now=10_000.0) as (one, link),
        replica(redis, tmp_path / "b", now=10_000.0) as (two, _),
    ):
        await one.put(past("1", 5_000.0))
        await one.catch_up()
        await two.mark(Mark(kind="forget", key="telegram:1", at=6_000.0))
        await one.catch_up()
        await redis.kill()
        assert await ids(one) == []
        assert link.is_away


@pytest.mark.services
async def test_a_mark_is_told_by_the_clock_of_redis(client: Redis) -> None:
    """Once, when it is new or later than before; a moved conversation's beginning is told with it."""
    store = RedisTranscripts(client)
    lane = Lane(platform="telegram", conversation="-5", person="1")
    await store.put(past("1", 1.0, lane=lane))
    mark = Mark(kind="new", key=lane.key, at=0.5)
    await store.mark(mark)
    marks, now = await store.told(since=0.0)
    assert marks == [mark]
    await store.mark(mark)
    assert (await store.told(since=now))[0] == []
    await store.move("telegram", "-5", "-1005")
    moved = Mark(kind="new", key="telegram:-1005:1", at=0.5)
    assert (await store.told(since=now))[0] == [moved]


@pytest.mark.services
async def test_forgetting_without_redis_is_told_when_it_is_back(redis: RedisServer, tmp_path: Path) -> None:
    """A mark set while Redis was away erases what other replicas had put there."""
    async with replica(redis, tmp_path / "a") as (one, link), replica(redis, tmp_path / "b") as (two, other):
        await one.put(past("1", 99.0))
        redis.pause()
        try:
            await two.mark(Mark(kind="forget", key="telegram:1", at=100.0))
        finally:
            redis.resume()
        await until_back(other)
        await two.mend()
        await until_back(link)
        assert await ids(one) == []


@pytest.mark.services
async def test_a_redis_that_lost_everything_learns_it_again(redis: RedisServer, tmp_path: Path) -> None:
    """History and ratings of the last day, whoever had answered; and what was answered while it was away."""
    async with replica(redis, tmp_path / "a") as (one, link):
        await one.put(past("1", 98.0))
        await one.rate("1", rating(at=99.0))
        await redis.kill()
        await one.put(past("2", 99.0))
        assert link.is_away
        await redis.start()
        await until_back(link)
    async with replica(redis, tmp_path / "b") as (two, _):
        assert await ids(two) == ["2", "1"]
        assert [one.past.id for one in await two.rated(since=0.0)] == ["1"]


@pytest.mark.services
async def test_every_replica_tells_an_emptied_redis_what_it_answered(redis: RedisServer, tmp_path: Path) -> None:
    """The one that is back first does not speak for the others."""
    async with replica(redis, tmp_path / "a") as (one, link), replica(redis, tmp_path / "b") as (two, other):
        await one.put(past("1", 98.0))
        await two.put(past("2", 99.0))
        await redis.kill()
        assert (await ids(one), await ids(two)) == (["1"], ["2"])
        await redis.start()
        await until_back(link)
        await until_back(other)
        assert await ids(one) == await ids(two) == ["2", "1"]


@pytest.mark.services
async def test_a_retelling_that_broke_off_is_done_again(redis: RedisServer, client: Redis, tmp_path: Path) -> None:
    """Redis counts as told only when it was told everything."""
    async with replica(redis, tmp_path / "a") as (one, _):
        await one.put(past("1", 98.0))
        await one.put(past("2", 99.0))
        await client.flushall()
        wrong = "{grapevine}:said:past:2"
        await client.set(wrong, "not an exchange")
        with pytest.raises(RedisAway):
            await one.mend()
        await client.delete(wrong)
        await one.mend()
        assert [found.id for found in await RedisTranscripts(client).latest(MINE, limit=10)] == ["2", "1"]


@pytest.mark.services
async def test_an_emptied_redis_is_not_told_what_is_older_than_it_knows(redis: RedisServer, tmp_path: Path) -> None:
    """A replica's copy of another's answer replaces neither the answer as it became nor a later rating."""
    async with replica(redis, tmp_path / "a") as (one, link):
        await one.put(past("1", 98.0))
        async with replica(redis, tmp_path / "b") as (two, _):
            await two.rate("1", rating(at=99.0))
        await one.shown("1", "41")
        await one.rate("1", rating(at=99.5, verdict="down"))
        await redis.kill()
        assert await ids(one) == ["1"]
        await redis.start()
        await until_back(link)
        async with replica(redis, tmp_path / "b") as (two, _):
            found = await two.get("1")
            assert found is not None
            assert found.handle == "41"
            (listed,) = await two.rated(since=0.0)
            assert [each.verdict for each in listed.ratings] == ["down"]


@pytest.mark.services
async def test_what_people_think_survives_redis(redis: RedisServer, tmp_path: Path) -> None:
    """A rating given on another replica than the answer is in that replica's own record, answer included."""
    async with replica(redis, tmp_path / "a") as (one, _), replica(redis, tmp_path / "b") as (two, _):
        await one.put(past("1", 99.0))
        await two.rate("1", rating())
        await redis.kill()
        (listed,) = await two.rated(since=0.0)
        assert (listed.past.question, len(listed.ratings)) == ("Question 1?", 1)


async def test_what_is_forgotten_is_not_in_the_file_any_more(tmp_path: Path) -> None:
    """Not even in the pages that SQLite would use again, nor in its log of writes."""
    state = await SqliteState.open(tmp_path / "state.db")
    store = await SqliteTranscripts.open(state)
    await store.put(past("1", question="Where is the emerald safe?", answer="Behind the emerald curtain. " * 50))
    await store.mark(Mark(kind="forget", key="telegram:1", at=2.0))
    for name in ("state.db", "state.db-wal"):
        assert b"emerald" not in (tmp_path / name).read_bytes()
    await state.close()


async def test_what_is_old_is_pruned(tmp_path: Path) -> None:
    """Questions, ratings and marks from before; what is younger stays."""
    state = await SqliteState.open(tmp_path / "state.db")
    store = await SqliteTranscripts.open(state)
    await store.put(past("old", 1.0))
    await store.rate("old", rating())
    await store.put(past("young", 10.0))
    await store.mark(Mark(kind="new", key=MINE.key, at=2.0))
    assert await store.prune(before=5.0) == 1
    assert await ids(store) == ["young"]
    await state.close()
    with sqlite3.connect(tmp_path / "state.db") as file:
        counts = [
            file.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in ("past_ratings", "past_marks")
        ]
    assert counts == [0, 0]
