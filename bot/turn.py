"""One question, start to finish: the engine's events into a live message, and one line in the log."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import structlog

from adapters.ports import Delivery, Final, Inbound, LiveMessage
from bot.joining import Joining
from bot.memory import Memory, Transcripts
from bot.smalltalk import SmallTalk
from bot.telemetry.line import TurnLog, stage_timings
from bot.turn_line import charged, line_of
from bot.turn_ports import Answers, BeforeFinal, BeforeKept, Handle, Suggest, TurnResult
from bot.turn_progress import Progress
from bot.words import WordKey, word
from rag.language import detect
from rag.resilience.deadline import Deadline
from rag.types import Audience, Delta, Done, Failed, Outcome, Question

log = structlog.get_logger(__name__)


class Turns:
    """Runs turns. Knows neither which platform it serves nor how an answer is found."""

    def __init__(
        self,
        *,
        engine: Answers,
        small_talk: SmallTalk,
        write: TurnLog,
        hash_key: bytes,
        deadline_s: float,
        clock: Callable[[], float] = time.monotonic,
        breaker_state: Callable[[], str | None] = lambda: None,
        transcripts: Transcripts | None = None,
        suggest: Suggest | None = None,
    ) -> None:
        """Wire the parts; without `transcripts` nothing is remembered."""
        self._engine = engine
        self._small_talk = small_talk
        self._write = write
        self._hash_key = hash_key
        self._deadline_s = deadline_s
        self._clock = clock
        self._breaker_state = breaker_state
        self._memory = Memory(transcripts)
        self._suggest = suggest

    async def run(
        self,
        inbound: Inbound,
        live: LiveMessage,
        *,
        collections: frozenset[str],
        stop: asyncio.Event | None = None,
        trace_id: str | None = None,
        wait_turn: Callable[[], Awaitable[bool]] | None = None,
        joining: Joining | None = None,
        before_kept: BeforeKept | None = None,
        before_final: BeforeFinal | None = None,
        handle: Handle = lambda: None,
        asked_at: float | None = None,
    ) -> TurnResult:
        """Answer `inbound` in `live` from the permitted `collections`.

        Setting `stop` ends the answer and keeps what was shown; a message that nobody can see any more ends it too.
        Never raises for what the engine or the platform does; cancellation passes through.

        Args:
            inbound: The question.
            live: Where its answer grows.
            collections: What may be read for it.
            stop: Ends it.
            trace_id: Names the turn in the log; None: a new one.
            wait_turn: Returns when it may begin; False from it: it cannot, too much is going on.
            joining: How others may join it.
            before_kept: See `BeforeKept`.
            before_final: See `BeforeFinal`.
            handle: What the answer is remembered by.
            asked_at: When the question came, in seconds since the epoch; None: when `inbound` was received.
        """
        trace_id = trace_id or new_trace_id()
        joining = joining or Joining(inbound)
        while True:
            joining.grew.clear()
            inbound = joining.inbound
            spoken = detect(inbound.text, default=inbound.language_hint or "")
            progress = Progress(language=spoken or "en")
            progress.queue_ms = (self._clock() - inbound.received_at) * 1000
            question = Question(
                text=inbound.text,
                audience=Audience(collections=collections),
                deadline=Deadline(inbound.received_at + self._deadline_s),
                language=spoken or None,  # a text like "BT-03?" gets the language of the documents about it
            )
            drive = self._drive_in_turn(question, live, progress, trace_id, joining, wait_turn)
            outcome = await self._race(drive, live, joining, stop)
            if await joining.close():
                break
        assert outcome is not None
        if outcome == "stopped":
            progress.stopped()
        progress.suggestions = self._suggestions(inbound, progress, outcome, collections)
        if before_kept is not None:
            await before_kept()
        is_kept = await self._memory.keep(
            inbound,
            progress,
            outcome,
            trace_id=trace_id,
            collections=collections,
            asked_at=asked_at,
            waited_s=self._clock() - inbound.received_at,
            handle=handle(),
        )
        final = progress.final(outcome, is_kept=is_kept)
        if before_final is not None:
            await before_final(final, outcome)
        delivery = await self._finish(live, final, trace_id, handle)
        if delivery.is_gone and outcome in {"answered", "incomplete"} and delivery.first_visible_at is None:
            outcome = "gone"
        return self._ended(inbound, progress, delivery, trace_id=trace_id, outcome=outcome, collections=collections)

    async def deliver(
        self,
        inbound: Inbound,
        live: LiveMessage,
        final: Final,
        outcome: Outcome,
        *,
        trace_id: str | None = None,
        handle: Handle = lambda: None,
    ) -> TurnResult:
        """Show a final text that is known already: what an earlier owner of the turn had left to do."""
        progress = Progress(language=detect(inbound.text) or "en", shown=final.text)
        progress.queue_ms = (self._clock() - inbound.received_at) * 1000
        trace_id = trace_id or new_trace_id()
        delivery = await self._finish(live, final, trace_id, handle)
        return self._ended(inbound, progress, delivery, trace_id=trace_id, outcome=outcome, collections=frozenset())

    async def refuse(
        self,
        inbound: Inbound,
        live: LiveMessage,
        key: WordKey,
        *,
        trace_id: str | None = None,
        handle: Handle = lambda: None,
    ) -> TurnResult:
        """Answer with a fixed sentence because too much waits already; logged as `busy`."""
        trace_id = trace_id or new_trace_id()
        progress = Progress(language=detect(inbound.text) or "en", shown=word(key, detect(inbound.text)))
        await self._memory.keep(
            inbound,
            progress,
            "busy",
            trace_id=trace_id,
            collections=frozenset(),
            asked_at=None,
            waited_s=self._clock() - inbound.received_at,
            handle=handle(),
        )
        final = progress.final("busy", is_kept=False)
        return await self.deliver(inbound, live, final, "busy", trace_id=trace_id, handle=handle)

    def ignore(self, inbound: Inbound, outcome: Outcome) -> None:
        """Only log a question to which nothing is said."""
        progress = Progress(language=detect(inbound.text) or "en")
        unseen = Delivery(first_visible_at=None, lag_ms=None, parts=0)
        self._ended(inbound, progress, unseen, trace_id=new_trace_id(), outcome=outcome, collections=frozenset())

    async def note_shown(self, trace_id: str, handle: str) -> None:
        """A final text that is being delivered stands in these messages."""
        await self._memory.shown(trace_id, handle, is_gone=False)

    async def _finish(self, live: LiveMessage, final: Final, trace_id: str, handle: Handle) -> Delivery:
        delivery = await live.finish(final)
        if delivery.orphans:
            log.warning("orphan_preview", trace_id=trace_id, count=delivery.orphans)
        is_unseen = delivery.is_gone and delivery.first_visible_at is None
        await self._memory.shown(trace_id, handle(), is_gone=is_unseen)
        return delivery

    def _suggestions(
        self, inbound: Inbound, progress: Progress, outcome: Outcome, collections: frozenset[str]
    ) -> tuple[str, ...]:
        if self._suggest is None or outcome != "answered":
            return ()
        before = (exchange.question for exchange in progress.history)
        return self._suggest(
            asked=(inbound.text, progress.standalone or inbound.text, *before),
            answer=progress.shown,
            citations=progress.cited,
            collections=collections,
            language=progress.language,
        )

    async def _race(
        self,
        driving: Coroutine[Any, Any, Outcome],
        live: LiveMessage,
        joining: Joining,
        stop: asyncio.Event | None,
    ) -> Outcome | None:
        """Drive the engine until it ends, somebody says stop, nobody is there to read, or the question has grown."""
        drive = asyncio.create_task(driving)
        gone = asyncio.create_task(live.wait_gone())
        grew = asyncio.create_task(joining.grew.wait())
        stopped = asyncio.create_task(stop.wait()) if stop else None
        waits = {task for task in (drive, gone, grew, stopped) if task is not None}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if drive.done():
                return drive.result()
            if stopped is not None and stopped.done():
                return "stopped"
            return "gone" if gone.done() else None
        finally:
            for task in waits:
                task.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _drive_in_turn(
        self,
        question: Question,
        live: LiveMessage,
        progress: Progress,
        trace_id: str,
        joining: Joining,
        wait_turn: Callable[[], Awaitable[bool]] | None,
    ) -> Outcome:
        if wait_turn is not None:
            asked_at = self._clock()
            if not await wait_turn():
                progress.shown = word("queue_full", progress.language)
                return "busy"
            progress.queue_ms = (progress.queue_ms or 0.0) + (self._clock() - asked_at) * 1000
        return await self._drive(question, live, progress, trace_id, joining)

    async def _drive(
        self, question: Question, live: LiveMessage, progress: Progress, trace_id: str, joining: Joining
    ) -> Outcome:
        if reply := self._small_talk.reply(question.text):
            await joining.until_shown()
            progress.shown = reply
            live.append(reply)
            return "smalltalk"
        try:
            readable = question.audience.collections
            progress.history = await self._memory.history(joining.inbound, readable, trace_id)
            question = replace(question, history=progress.history)
            # aclosing: a stop must end the model call now, not when the garbage collector finds the generator.
            async with aclosing(self._engine.answer(question)) as events:  # type: ignore[type-var]  # an async generator by contract
                async for event in events:
                    if isinstance(event, Delta) and not progress.shown:
                        await joining.until_shown()
                    progress.apply(event, live, trace_id)
        except Exception:  # one of the three edges that must not die
            log.exception("turn_failed", trace_id=trace_id)
            progress.trouble = "internal"
            return "incomplete" if progress.shown else "failed"
        match progress.end:
            case Done(outcome=outcome):
                return outcome
            case Failed():
                return "failed"
            case None:
                progress.trouble = "internal"
                return "incomplete" if progress.shown else "failed"

    def _ended(
        self,
        inbound: Inbound,
        progress: Progress,
        delivery: Delivery,
        *,
        trace_id: str,
        outcome: Outcome,
        collections: frozenset[str],
    ) -> TurnResult:
        line = line_of(
            inbound,
            progress,
            delivery,
            trace_id=trace_id,
            outcome=outcome,
            collections=collections,
            hash_key=self._hash_key,
            breaker=self._breaker_state(),
            now=self._clock(),
        )
        self._write(line)
        return TurnResult(
            trace_id=trace_id,
            outcome=outcome,
            answer=progress.text(outcome),
            cache=line.cache,
            citations=progress.cited,
            timings=stage_timings(line),
            error=line.error,
            language=progress.language,
            tokens=charged(progress),
        )


def new_trace_id() -> str:
    """Sixteen random hex digits."""
    return secrets.token_hex(8)
