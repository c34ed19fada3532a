"""The canonical log line of one turn, from what the engine told and what the person saw."""

from __future__ import annotations

from datetime import UTC, datetime

from adapters.ports import Delivery, Inbound
from bot.telemetry.line import TurnLine, conversation_hash
from bot.turn_progress import Progress
from rag.generate.prompt import estimated_tokens
from rag.types import Done, Failed, Outcome, Timings, Usage


def charged(progress: Progress) -> int:
    """The tokens that count against a day's allowance: those that were reported, and an estimate of the others.

    Only an end tells what a call wrote; where there is none, what was shown stands for it.
    """
    known = progress.end or progress.figures
    if known is None or not known.usage.llm_calls:
        return 0
    usage = known.usage
    shown = estimated_tokens(progress.shown) if progress.end is None else 0
    return (usage.input_tokens or 0) + (usage.output_tokens or 0) + usage.unreported + shown


def line_of(
    inbound: Inbound,
    progress: Progress,
    delivery: Delivery,
    *,
    trace_id: str,
    outcome: Outcome,
    collections: frozenset[str],
    hash_key: bytes,
    breaker: str | None,
    now: float,
) -> TurnLine:
    """The line of a turn that ends `now` (monotonic seconds)."""
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
        conversation=conversation_hash(hash_key, inbound.platform, inbound.conversation),
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
        total_ms=(now - inbound.received_at) * 1000,
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
        breaker=breaker,
        model=usage.model,
        epoch=epoch,
    )
