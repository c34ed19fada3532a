"""Transcripts in Redis with a record of one's own beside them: to go by while Redis is away, and to mend it from after.

What a process has answered stands in both. What was begun anew or forgotten is a *mark* that only ever grows later, so
that replicas which did not see each other for a while agree again by telling each other all marks.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from adapters.past import PastAnswer
from adapters.ports import Platform
from bot.state.redis_link import RedisAway, RedisLink
from bot.state.redis_transcripts import RedisTranscripts
from bot.state.sqlite import StateError
from bot.state.transcript_ports import Lane, Mark, MessageKind, Rated, Rating
from bot.state.transcripts import SqliteTranscripts

_FOLLOW_S = 2.0
_OVERLAP_S = 120.0
"""How far back marks are asked for again: clocks may differ, and be set back."""
_RETOLD_S = 86_400.0
"""How old what a Redis that has lost everything is told of again may be."""


class SharedTranscripts:
    """A `TranscriptStore` for one process among several."""

    def __init__(
        self,
        redis: RedisTranscripts,
        own: SqliteTranscripts,
        link: RedisLink,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._redis = redis
        self._own = own
        self._link = link
        self._now = now
        self._heard = 0.0
        link.on_return(self.mend)

    async def put(self, past: PastAnswer) -> bool:
        """See `TranscriptStore.put`."""
        try:
            is_kept = await self._link.call(self._redis.put(past))
        except RedisAway:
            return await self._own.put(past, is_unshared=True)
        return await self._own.put(past) if is_kept else False

    async def shown(self, past_id: str, handle: str) -> None:
        """See `TranscriptStore.shown`."""
        try:
            await self._link.call(self._redis.shown(past_id, handle))
        except RedisAway:
            await self._own.shown(past_id, handle, is_unshared=True)
        else:
            await self._own.shown(past_id, handle)

    async def drop(self, past_id: str) -> None:
        """See `TranscriptStore.drop`."""
        await self._own.drop(past_id)
        with contextlib.suppress(RedisAway):
            await self._link.call(self._redis.drop(past_id))

    async def latest(self, lane: Lane, *, limit: int) -> list[PastAnswer]:
        """See `TranscriptStore.latest`."""
        try:
            return await self._link.call(self._redis.latest(lane, limit=limit))
        except RedisAway:
            return await self._own.latest(lane, limit=limit)

    async def get(self, past_id: str) -> PastAnswer | None:
        """See `TranscriptStore.get`."""
        try:
            return await self._link.call(self._redis.get(past_id))
        except RedisAway:
            return await self._own.get(past_id)

    async def find(
        self, platform: Platform, conversation: str, message_id: str, *, kind: MessageKind
    ) -> PastAnswer | None:
        """See `TranscriptStore.find`."""
        try:
            return await self._link.call(self._redis.find(platform, conversation, message_id, kind=kind))
        except RedisAway:
            return await self._own.find(platform, conversation, message_id, kind=kind)

    async def mark(self, mark: Mark) -> int:
        """See `TranscriptStore.mark`. The other replicas' own records follow within seconds."""
        erased = await self._own.mark(mark)
        with contextlib.suppress(RedisAway):
            # Not on the way of an answer, and worth waiting for: somebody wants to be forgotten.
            erased = max(erased, await self._link.insist(self._redis.mark(mark)))
        return erased

    async def move(self, platform: Platform, old: str, new: str) -> None:
        """See `TranscriptStore.move`."""
        await self._own.move(platform, old, new)
        with contextlib.suppress(RedisAway):
            await self._link.insist(self._redis.move(platform, old, new))

    async def rate(self, past_id: str, rating: Rating) -> bool:
        """See `TranscriptStore.rate`. Kept here, too, whoever answered: Redis may not keep it through a restart."""
        with contextlib.suppress(RedisAway):
            past = await self._link.call(self._redis.get(past_id))
            if past is not None and await self._own.get(past_id) is None:
                await self._own.put(past)
        is_kept = await self._own.rate(past_id, rating)
        try:
            return await self._link.call(self._redis.rate(past_id, rating)) or is_kept
        except RedisAway:
            await self._own.note_unshared(past_id)
            return is_kept

    async def rated(self, *, since: float) -> list[Rated]:
        """See `TranscriptStore.rated`."""
        found = {one.past.id: one for one in await self._own.rated(since=since)}
        with contextlib.suppress(RedisAway):
            for one in await self._link.insist(self._redis.rated(since=since)):
                found[one.past.id] = _merged(found.get(one.past.id), one)
        return sorted(found.values(), key=lambda one: one.past.asked_at)

    async def prune(self, *, before: float) -> int:
        """See `TranscriptStore.prune`."""
        with contextlib.suppress(RedisAway):
            await self._link.call(self._redis.prune(before=before))
        return await self._own.prune(before=before)

    async def follow(self) -> None:
        """Until cancelled: forget here, too, what was forgotten elsewhere."""
        while True:
            await asyncio.sleep(_FOLLOW_S)
            if self._link.is_away:
                continue
            with contextlib.suppress(RedisAway, StateError):
                await self.catch_up()

    async def catch_up(self) -> None:
        """Hear what Redis was told since the last time, and tell it what it missed. Raises `RedisAway`, `StateError`.

        By Redis's own clock: a replica that was cut off tells late of what people wanted long ago.
        """
        marks, now = await self._link.insist(self._redis.told(since=self._heard))
        if marks:
            known = set(await self._own.marks(since=min(mark.at for mark in marks)))
            for mark in marks:
                if mark not in known:
                    await self._own.mark(mark)
        self._heard = now - _OVERLAP_S
        await self.exchange_marks(since=self._now() - _OVERLAP_S)

    async def exchange_marks(self, *, since: float = 0.0) -> None:
        """Tell Redis the marks set here since then and hear the others'. Raises `RedisAway`, `StateError`."""
        known = set(await self._own.marks(since=since))
        told = set(await self._link.insist(self._redis.marks(since=since)))
        for mark in known - told:
            await self._link.insist(self._redis.mark(mark))
        for mark in told - known:
            await self._own.mark(mark)

    async def mend(self) -> None:
        """Tell Redis, which is there again and may have lost everything, what happened meanwhile."""
        self._heard = 0.0  # it may be another server, with a clock of its own
        await self.exchange_marks()
        file_id = await self._own.file_id()
        for one in await self._own.unshared(since=None):
            await self._tell(one)
            await self._own.note_unshared(one.past.id, is_unshared=False)
        if not await self._link.insist(self._redis.was_told(file_id)):
            for one in await self._own.unshared(since=self._now() - _RETOLD_S):
                await self._tell(one, is_newer=False)
        await self._link.insist(self._redis.note_told(file_id))

    async def _tell(self, one: Rated, *, is_newer: bool = True) -> None:
        """`is_newer`: than what Redis may have of it. A copy of what another replica has answered is not."""
        is_there = not is_newer and await self._link.insist(self._redis.get(one.past.id)) is not None
        if is_there or await self._link.insist(self._redis.put(one.past)):
            for rating in one.ratings:
                await self._link.insist(self._redis.rate(one.past.id, rating))


def _merged(mine: Rated | None, shared: Rated) -> Rated:
    """Each person's latest word."""
    latest = {rating.person: rating for rating in mine.ratings} if mine else {}
    for rating in shared.ratings:
        former = latest.get(rating.person)
        if former is None or former.at <= rating.at:
            latest[rating.person] = rating
    ratings = sorted(latest.values(), key=lambda rating: (rating.at, rating.person))
    return Rated(past=shared.past, ratings=tuple(ratings))
