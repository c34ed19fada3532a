"""Lines of turns that are like any other but for what a test is about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bot.telemetry.line import TurnLine

_PLAIN = TurnLine(
    ts="2026-11-21T00:00:00Z",
    trace_id="0" * 16,
    platform="telegram",
    conversation="0" * 16,
    collections=("public",),
    outcome="answered",
    error=None,
    cache="none",
    similarity=None,
    queue_ms=None,
    rewrite_ms=None,
    embed_ms=None,
    retrieve_ms=None,
    pool_wait_ms=None,
    llm_first_token_ms=None,
    first_visible_ms=None,
    lag_ms=None,
    total_ms=1.0,
    edits=0,
    throttled=0,
    parts=1,
    llm_calls=0,
    input_tokens=None,
    output_tokens=None,
    cost=None,
    passages=1,
    cited=1,
    retries=0,
    hedged=False,
    breaker=None,
    model=None,
    epoch=1,
)


def turn_line(**fields: Any) -> TurnLine:
    """A turn that was answered, with these fields."""
    return replace(_PLAIN, **fields)
