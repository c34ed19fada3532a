"""One question, start to finish: the engine's events into a live message, and one line in the log."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog

from adapters.ports import Delivery, Final, Inbound, LiveMessage, SourceLink
from bot.smalltalk import SmallTalk
from bot.telemetry.line import TurnLine, TurnLog, conversation_hash, stage_timings
from bot.words import WordKey, word
from rag.generate.citations import check
from rag.generate.phrases import failure_text, incomplete_mark
from rag.language import detect
from rag.resilience.deadline import Deadline
from rag.types import (
    AnswerEvent,
    Audience,
    CacheHit,
    Citation,
    Delta,
    Done,
    Exchange,
    Failed,
    Figures,
    Outcome,
    Passage,
    Question,
    Sources,
    Status,
    Timings,
    Usage,
)

log = structlog.get_logger(__name__)


class Answers(Protocol):
    """What a turn needs of the engine."""

    def answer(self, question: Question) -> AsyncIterator[AnswerEvent]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnResult:
    """What came of a turn, for callers that answer a request with it."""

    trace_id: str
    outcome: Outcome
    answer: str
    """Markdown, as shown."""
    cache: CacheHit
    citations: tuple[Citation, ...]
    timings: Mapping[str, float | None]
    """The `*_ms` fields of the log line."""
    error: str | None
    """A short code (`model_unavailable`, ...) where something went wrong."""
    language: str


class Joining:
    """A question that others may still join: until something of its answer is about to be shown."""

    def __init__(self, inbound: Inbound) -> None:
        self.inbound = inbound
        self.grew = asyncio.Event()
        """Set when the question has grown and its answer has to begin anew."""
        self.is_over = False
        self._lock = asyncio.Lock()

    async def add(self, join: Callable[[Inbound], Awaitable[Inbound | None]]) -> bool:
        """Let `join` make one question of this one and another (None: it cannot); False if it is too late."""
        async with self._lock:
            joint = None if self.is_over else await join(self.inbound)
            if joint is None:
                return False
            self.inbound = joint
            self.grew.set()
            return True

    async def close(self) -> bool:
        """Something is about to be shown: nobody joins from now on. False if the question has grown before."""
        async with self._lock:
            self.is_over = not self.grew.is_set()
            return self.is_over


BeforeFinal = Callable[[Final, Outcome], Awaitable[None]]
"""Told the final text before its delivery begins; what it raises ends the turn undelivered."""


@dataclass(slots=True, kw_only=True)
class _Progress:
    """What a turn has gathered so far; survives the cancellation of the task that gathers it."""

    language: str
    shown: str = ""
    passages: tuple[Passage, ...] = ()
    end: Done | Failed | None = None
    figures: Figures | None = None
    """Where there is no end: what was known when the turn was cut off."""
    queue_ms: float | None = None
    trouble: str | None = None
    cited: tuple[Citation, ...] = field(default_factory=tuple)


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
    ) -> None:
        self._engine = engine
        self._small_talk = small_talk
        self._write = write
        self._hash_key = hash_key
        self._deadline_s = deadline_s
        self._clock = clock
        self._breaker_state = breaker_state

    async def run(
        self,
        inbound: Inbound,
        live: LiveMessage,
        *,
        collections: frozenset[str],
        stop: asyncio.Event | None = None,
        history: tuple[Exchange, ...] = (),
        trace_id: str | None = None,
        wait_turn: Callable[[], Awaitable[bool]] | None = None,
        joining: Joining | None = None,
        before_final: BeforeFinal | None = None,
    ) -> TurnResult:
        """Answer `inbound` in `live` from the permitted `collections`.

        Setting `stop` ends the answer and keeps what was shown; a message that nobody can see any more ends it too.
        Never raises for what the engine or the platform does; cancellation passes through.

        Args:
            inbound: The question.
            live: Where its answer grows.
            collections: What may be read for it.
            stop: Ends it.
            history: The exchanges before it.
            trace_id: Names the turn in the log; None: a new one.
            wait_turn: Returns when it may begin; False from it: it cannot, too much is going on.
            joining: How others may join it.
            before_final: See `BeforeFinal`.
        """
        trace_id = trace_id or new_trace_id()
        joining = joining or Joining(inbound)
        while True:
            joining.grew.clear()
            inbound = joining.inbound
            spoken = detect(inbound.text, default=inbound.language_hint or "")
            progress = _Progress(language=spoken or "en")
            progress.queue_ms = (self._clock() - inbound.received_at) * 1000
            question = Question(
                text=inbound.text,
                audience=Audience(collections=collections),
                deadline=Deadline(inbound.received_at + self._deadline_s),
                language=spoken or None,  # a text like "BT-03?" gets the language of the documents about it
                history=history,
            )
            drive = self._drive_in_turn(question, live, progress, trace_id, joining, wait_turn)
            outcome = await self._race(drive, live, joining, stop)
            if await joining.close():
                break
        assert outcome is not None
        if progress.end is None and outcome == "stopped":
            # The engine had no chance to say what it cited; the text was checked as it came.
            _, progress.cited = check(progress.shown, progress.passages)
        final = self._final(outcome, progress)
        if before_final is not None:
            await before_final(final, outcome)
        delivery = await self._finish(live, final, trace_id)
        if delivery.is_gone and outcome in {"answered", "incomplete"} and delivery.first_visible_at is None:
            outcome = "gone"
        line = self._line(inbound, collections, trace_id, outcome, progress, delivery)
        self._write(line)
        return self._result(line, progress, outcome)

    async def deliver(
        self, inbound: Inbound, live: LiveMessage, final: Final, outcome: Outcome, *, trace_id: str | None = None
    ) -> TurnResult:
        """Show a final text that is known already: what an earlier owner of the turn had left to do."""
        progress = _Progress(language=detect(inbound.text) or "en", shown=final.text)
        progress.queue_ms = (self._clock() - inbound.received_at) * 1000
        trace_id = trace_id or new_trace_id()
        delivery = await self._finish(live, final, trace_id)
        line = self._line(inbound, frozenset(), trace_id, outcome, progress, delivery)
        self._write(line)
        return self._result(line, progress, outcome)

    async def refuse(
        self, inbound: Inbound, live: LiveMessage, key: WordKey, *, trace_id: str | None = None
    ) -> TurnResult:
        """Answer with a fixed sentence because too much waits already; logged as `busy`."""
        final = Final(text=word(key, detect(inbound.text)), can_retry=True)
        return await self.deliver(inbound, live, final, "busy", trace_id=trace_id)

    async def _finish(self, live: LiveMessage, final: Final, trace_id: str) -> Delivery:
        delivery = await live.finish(final)
        if delivery.orphans:
            log.warning("orphan_preview", trace_id=trace_id, count=delivery.orphans)
        return delivery

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
        progress: _Progress,
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
        self, question: Question, live: LiveMessage, progress: _Progress, trace_id: str, joining: Joining
    ) -> Outcome:
        if reply := self._small_talk.reply(question.text):
            await _until_shown(joining)
            progress.shown = reply
            live.append(reply)
            return "smalltalk"
        try:
            # aclosing: a stop must end the model call now, not when the garbage collector finds the generator.
            async with aclosing(self._engine.answer(question)) as events:  # type: ignore[type-var]  # an async generator by contract
                async for event in events:
                    if isinstance(event, Delta) and not progress.shown:
                        await _until_shown(joining)
                    self._apply(event, live, progress, trace_id)
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

    def _apply(self, event: AnswerEvent, live: LiveMessage, progress: _Progress, trace_id: str) -> None:
        match event:
            case Status(key=key):
                live.status(word(key, progress.language))
            case Figures():
                progress.figures = event
            case Sources(passages=passages):
                progress.passages = passages
                live.offer_sources(tuple(_link(n, passage) for n, passage in enumerate(passages, 1)))
            case Delta(text=text):
                progress.shown += text
                live.append(text)
            case Done():
                progress.end = event
                progress.cited = event.citations
                progress.shown = event.answer or progress.shown
                if event.error is not None:
                    log.warning("answer_cut", trace_id=trace_id, code=event.error, cause=event.cause)
            case Failed(code=code, cause=cause):
                progress.end = event
                log.warning("answer_failed", trace_id=trace_id, code=code, cause=cause)

    def _final(self, outcome: Outcome, progress: _Progress) -> Final:
        by_id = {passage.passage_id: passage for passage in progress.passages}
        sources = tuple(
            _link(citation.n, by_id[citation.passage_id]) if citation.passage_id in by_id else _bare_link(citation)
            for citation in sorted(progress.cited, key=lambda each: each.n)
        )
        note = None
        if outcome == "incomplete":
            note = incomplete_mark(progress.language)
        elif outcome == "stopped":
            note = word("stopped", progress.language)
        return Final(
            text=self._text(outcome, progress),
            sources=sources,
            note=note,
            can_retry=outcome in {"incomplete", "failed", "busy"},
        )

    def _text(self, outcome: Outcome, progress: _Progress) -> str:
        if outcome == "failed":
            code = progress.end.code if isinstance(progress.end, Failed) else "internal"
            return failure_text(code, progress.language)
        return progress.shown

    def _result(self, line: TurnLine, progress: _Progress, outcome: Outcome) -> TurnResult:
        return TurnResult(
            trace_id=line.trace_id,
            outcome=outcome,
            answer=self._text(outcome, progress),
            cache=line.cache,
            citations=progress.cited,
            timings=stage_timings(line),
            error=line.error,
            language=progress.language,
        )

    def _line(
        self,
        inbound: Inbound,
        collections: frozenset[str],
        trace_id: str,
        outcome: Outcome,
        progress: _Progress,
        delivery: Delivery,
    ) -> TurnLine:
        end = progress.end
        done = end if isinstance(end, Done) else None
        known = end or progress.figures
        timings = known.timings if known else Timings()
        usage = known.usage if known else Usage()
        epoch = None if isinstance(known, Failed) or known is None else known.epoch
        error = progress.trouble or (end.code if isinstance(end, Failed) else done.error if done else None)
        first = delivery.first_visible_at
        return TurnLine(
            ts=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            trace_id=trace_id,
            platform=inbound.platform,
            conversation=conversation_hash(self._hash_key, inbound.platform, inbound.conversation),
            collections=tuple(sorted(collections)),
            outcome=outcome,
            error=error,
            cache=done.cache if done else "none",
            similarity=done.similarity if done else None,
            queue_ms=progress.queue_ms,
            rewrite_ms=timings.rewrite_ms,
            embed_ms=timings.embed_ms,
            retrieve_ms=timings.retrieve_ms,
            pool_wait_ms=timings.pool_wait_ms,
            llm_first_token_ms=timings.llm_first_token_ms,
            first_visible_ms=None if first is None else (first - inbound.received_at) * 1000,
            lag_ms=delivery.lag_ms,
            total_ms=(self._clock() - inbound.received_at) * 1000,
            edits=delivery.edits,
            throttled=delivery.throttled,
            parts=delivery.parts,
            llm_calls=usage.llm_calls,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost=usage.cost,
            passages=len(progress.passages) or (done.passages if done else 0),
            cited=len(progress.cited),
            retries=usage.retries,
            hedged=usage.hedged,
            breaker=self._breaker_state(),
            model=usage.model,
            epoch=epoch,
        )


async def _until_shown(joining: Joining) -> None:
    """Return when the answer may be shown; never, if its question has grown: it is begun anew then."""
    if not joining.is_over and not await joining.close():
        await asyncio.Event().wait()


def new_trace_id() -> str:
    """Sixteen random hex digits."""
    return secrets.token_hex(8)


def _link(n: int, passage: Passage) -> SourceLink:
    return SourceLink(
        n=n,
        title=passage.title,
        passage_id=passage.passage_id,
        document=passage.document,
        collection=passage.collection,
        excerpt=passage.text,
        url=passage.url,
        page=passage.page,
    )


def _bare_link(citation: Citation) -> SourceLink:
    return SourceLink(
        n=citation.n,
        title=citation.title,
        passage_id=citation.passage_id,
        document=citation.document,
        collection=citation.collection,
        url=citation.url,
        page=citation.page,
    )
