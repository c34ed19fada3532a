"""What was said before: history for follow-ups, the last answer, ratings; what is forgotten and by whom.

Access is decided again each time something is used: an exchange that anything was readable for which may not be read
now is as if it had never been.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from adapters.past import PastAnswer, RateOutcome, Verdict
from adapters.ports import Inbound, Platform
from bot.state.transcript_ports import Lane, Mark, Rated, Rating, TranscriptStore
from rag.generate.prompt import estimated_tokens
from rag.types import Exchange

EXCHANGES = 6
"""How many earlier exchanges a question is read with."""
HISTORY_TOKENS = 2_000
REMEMBERED = frozenset({"answered", "incomplete", "stopped"})
"""The outcomes that a later question may refer to: here something was said about the matter."""
_LOOKED_AT = 4 * EXCHANGES
"""Exchanges read to find `EXCHANGES` that may be used."""
_REASON_CHARACTERS = 500

MayRead = Callable[[Platform, str], Awaitable[frozenset[str]]]
"""Platform and place to the collections that may be read there."""


class Conversations:
    """Implements `adapters.past.PastAnswers`, and what turns need of it.

    Args:
        store: Where it is kept.
        may_read: Asked before an answer is shown again.
        retention_days: How long anything is kept.
        now: Seconds since the epoch.
        is_cut_off: Whether other replicas cannot be told of anything now.
    """

    def __init__(
        self,
        store: TranscriptStore,
        *,
        may_read: MayRead,
        retention_days: float = 30.0,
        now: Callable[[], float] = time.time,
        is_cut_off: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._may_read = may_read
        self._retention_s = retention_days * 86_400
        self._now = now
        self._is_cut_off = is_cut_off

    # For turns.

    def now(self) -> float:
        """Seconds since the epoch, as exchanges are dated."""
        return self._now()

    async def history(
        self, inbound: Inbound, *, readable: frozenset[str], trace_id: str | None = None
    ) -> tuple[Exchange, ...]:
        """The exchanges that this question is to be read with, oldest first; all from what may be read for it.

        `trace_id`: the question's own turn, of which an earlier owner may have kept something.
        A reply to an earlier answer is about that one alone.
        """
        if inbound.about is not None:
            about = await self._store.find(inbound.platform, inbound.conversation, inbound.about, kind="answer")
            found = [] if about is None else [about]
        else:
            found = await self._store.latest(_lane(inbound), limit=_LOOKED_AT)
        usable = [past for past in found if past.id != trace_id and self._is_usable(past, inbound, readable)]
        return window(usable[:EXCHANGES])

    async def keep(self, past: PastAnswer) -> None:
        """Keep what is about to be shown, in place of what the same messages showed before."""
        if past.handle is not None:
            await self._drop_former(past)
        await self._store.put(past)

    async def shown(self, past_id: str, handle: str) -> None:
        """It stands in these messages now."""
        await self._store.shown(past_id, handle)

    async def drop(self, past_id: str) -> None:
        """Nobody got to see it."""
        await self._store.drop(past_id)

    # `PastAnswers`.

    async def last(self, platform: Platform, conversation: str, person: str) -> PastAnswer | None:
        """See `PastAnswers.last`."""
        found = await self._store.latest(Lane(platform=platform, conversation=conversation, person=person), limit=1)
        return await self._checked(found[0]) if found and not self._is_expired(found[0]) else None

    async def by_message(self, platform: Platform, conversation: str, message_id: str) -> PastAnswer | None:
        """See `PastAnswers.by_message`."""
        found = await self._store.find(platform, conversation, message_id, kind="answer")
        return None if found is None or self._is_expired(found) else await self._checked(found)

    async def by_question(self, platform: Platform, conversation: str, message_id: str) -> PastAnswer | None:
        """See `PastAnswers.by_question`."""
        found = await self._store.find(platform, conversation, message_id, kind="question")
        return None if found is None or self._is_expired(found) else await self._checked(found)

    async def begin_anew(self, platform: Platform, conversation: str, person: str) -> None:
        """See `PastAnswers.begin_anew`."""
        lane = Lane(platform=platform, conversation=conversation, person=person)
        await self._store.mark(Mark(kind="new", key=lane.key, at=self._now()))

    async def forget(self, platform: Platform, person: str) -> int:
        """See `PastAnswers.forget`."""
        return await self._store.mark(Mark(kind="forget", key=f"{platform}:{person}", at=self._now()))

    async def move(self, platform: Platform, old: str, new: str) -> None:
        """See `PastAnswers.move`."""
        await self._store.move(platform, old, new)

    async def rate(
        self,
        platform: Platform,
        conversation: str,
        message_id: str,
        person: str,
        verdict: Verdict,
        reason: str | None = None,
    ) -> RateOutcome:
        """See `PastAnswers.rate`."""
        past = await self._store.find(platform, conversation, message_id, kind="answer")
        if past is None or self._is_expired(past):
            return "unknown"
        if past.is_private and past.person != person:
            return "not_yours"
        shortened = reason[:_REASON_CHARACTERS].encode("utf-8", "replace").decode() if reason else None
        rating = Rating(person=person, verdict=verdict, reason=shortened, at=self._now())
        return "kept" if await self._store.rate(past.id, rating) else "unknown"

    # For operators.

    async def rated(self, *, days: float | None = None) -> list[Rated]:
        """The answers that were rated in the last `days` (None: ever), in the order in which they were asked."""
        return await self._store.rated(since=0.0 if days is None else self._now() - days * 86_400)

    @property
    def is_cut_off(self) -> bool:
        """Whether other replicas cannot be told of anything now; they hear of it once Redis is back."""
        return self._is_cut_off()

    async def prune(self) -> int:
        """Forget what has been kept for long enough; how many questions."""
        return await self._store.prune(before=self._now() - self._retention_s)

    # Inside.

    def _is_usable(self, past: PastAnswer, inbound: Inbound, readable: frozenset[str]) -> bool:
        # An edited question is not read with what its first version was told.
        is_itself = inbound.answer_into is not None and past.handle == inbound.answer_into
        return (
            past.outcome in REMEMBERED
            and bool(past.answer)
            and past.collections <= readable
            and not is_itself
            and not self._is_expired(past)
        )

    def _is_expired(self, past: PastAnswer) -> bool:
        return past.asked_at < self._now() - self._retention_s

    async def _checked(self, past: PastAnswer) -> PastAnswer:
        readable = await self._may_read(past.platform, past.place)
        if past.collections <= readable:
            return past
        return replace(past, is_readable=False, standalone=None, answer="", sources=(), suggestions=())

    async def _drop_former(self, past: PastAnswer) -> None:
        for message_id in past.message_ids:
            former = await self._store.find(past.platform, past.conversation, message_id, kind="answer")
            if former is not None and former.id != past.id and former.person == past.person:
                await self._store.drop(former.id)


def window(newest_first: list[PastAnswer]) -> tuple[Exchange, ...]:
    """As many of these exchanges as fit into `HISTORY_TOKENS`, oldest first; the newest in any case, cut if need be."""
    chosen: list[Exchange] = []
    left = HISTORY_TOKENS
    for past in newest_first:
        question = past.question if past.standalone is None else past.standalone
        needed = estimated_tokens(question) + estimated_tokens(past.answer)
        answer = past.answer
        if needed > left:
            if chosen:
                break
            answer = answer[:HISTORY_TOKENS]
        chosen.append(Exchange(question=question, answer=answer))
        left -= needed
    return tuple(reversed(chosen))


def _lane(inbound: Inbound) -> Lane:
    return Lane(platform=inbound.platform, conversation=inbound.conversation, person=inbound.sender)
