"""What a turn has to do with the conversation it is part of: read its history before, keep it afterwards.

A transcript that cannot be read or written costs a follow-up its context, never an asker the answer.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

import structlog

from adapters.past import PastAnswer
from adapters.ports import Inbound
from bot.state.sqlite import StateError
from bot.turn_progress import Progress
from rag.types import Exchange, Outcome

log = structlog.get_logger(__name__)

_NOT_KEPT = frozenset({"smalltalk", "gone", "limited"})


class Transcripts(Protocol):
    """What turns need of `bot.conversations.Conversations`."""

    def now(self) -> float: ...

    async def history(
        self, inbound: Inbound, *, readable: frozenset[str], trace_id: str | None = None
    ) -> tuple[Exchange, ...]: ...

    async def keep(self, past: PastAnswer) -> None: ...

    async def shown(self, past_id: str, handle: str) -> None: ...

    async def drop(self, past_id: str) -> None: ...


class Memory:
    """The transcripts, for one turn after the other. Without any, nothing is remembered."""

    def __init__(self, transcripts: Transcripts | None) -> None:
        self._transcripts = transcripts

    async def history(self, inbound: Inbound, collections: frozenset[str], trace_id: str) -> tuple[Exchange, ...]:
        """See `Conversations.history`; empty where it cannot be read."""
        if self._transcripts is None:
            return ()
        try:
            return await self._transcripts.history(inbound, readable=collections, trace_id=trace_id)
        except StateError as error:
            log.warning("history_not_read", cause=str(error))
            return ()

    async def keep(
        self,
        inbound: Inbound,
        progress: Progress,
        outcome: Outcome,
        *,
        trace_id: str,
        collections: frozenset[str],
        asked_at: float | None,
        waited_s: float,
        handle: str | None,
    ) -> bool:
        """Keep what is about to be shown, so that it is known whatever becomes of this process; False: it is not.

        `asked_at`: seconds since the epoch; None: `waited_s` ago.
        """
        if self._transcripts is None or outcome in _NOT_KEPT:
            return False
        final = progress.final(outcome, is_kept=False)
        past = PastAnswer(
            id=trace_id,
            platform=inbound.platform,
            conversation=inbound.conversation,
            place=inbound.place,
            person=inbound.sender,
            asked_at=self._transcripts.now() - waited_s if asked_at is None else asked_at,
            question=inbound.text,
            standalone=progress.standalone,
            answer=final.text,
            outcome=outcome,
            language=progress.language,
            collections=collections,
            sources=final.sources,
            suggestions=final.suggestions,
            question_id=inbound.message_id,
            handle=handle,
            is_private=inbound.is_private,
        )
        return await _tried(self._transcripts.keep(past))

    async def shown(self, trace_id: str, handle: str | None, *, is_gone: bool) -> None:
        """Where it is shown; or that nobody got to see it."""
        if self._transcripts is None:
            return
        if is_gone:
            await _tried(self._transcripts.drop(trace_id))
        elif handle:
            await _tried(self._transcripts.shown(trace_id, handle))


async def _tried(change: Awaitable[None]) -> bool:
    try:
        await change
    except StateError as error:
        log.warning("turn_not_remembered", cause=str(error))
        return False
    return True
