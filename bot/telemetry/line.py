"""The canonical log line: one JSON object per turn, the same on every platform."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from rag.types import CacheHit, Outcome

STAGES = (
    "queue_ms",
    "rewrite_ms",
    "embed_ms",
    "retrieve_ms",
    "pool_wait_ms",
    "llm_first_token_ms",
    "first_visible_ms",
    "lag_ms",
    "total_ms",
)
"""The fields that hold a duration, in the order in which a turn passes through them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnLine:
    """Everything one turn tells; what does not apply is None. Durations are milliseconds by a monotonic clock."""

    ts: str
    """When the turn ended: RFC 3339, UTC."""
    trace_id: str
    platform: str
    conversation: str
    """A keyed hash of the platform's id; the same conversation has the same hash as long as the key is kept."""
    collections: tuple[str, ...]
    """What the asker might read, sorted."""
    outcome: Outcome
    error: str | None
    cache: CacheHit
    similarity: float | None
    queue_ms: float | None
    rewrite_ms: float | None
    embed_ms: float | None
    retrieve_ms: float | None
    pool_wait_ms: float | None
    llm_first_token_ms: float | None
    """From the call to the model until its first token."""
    first_visible_ms: float | None
    """From the arrival of the question until the platform acknowledged the first answer text."""
    lag_ms: float | None
    """Mean over the answer's characters of the time between arrival and acknowledgement on the screen."""
    total_ms: float
    edits: int
    throttled: int
    parts: int
    llm_calls: int
    input_tokens: int | None
    output_tokens: int | None
    cost: float | None
    passages: int
    cited: int
    retries: int
    hedged: bool
    breaker: str | None
    model: str | None
    epoch: int | None

    def as_dict(self) -> dict[str, Any]:
        """The line as it is logged, durations rounded to a hundredth of a millisecond."""
        line: dict[str, Any] = {"event": "turn"}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in STAGES and value is not None:
                value = round(value, 2)
            line[field.name] = list(value) if isinstance(value, tuple) else value
        return line


TurnLog = Callable[[TurnLine], None]
"""Takes a finished turn's line; must neither block nor raise."""


def conversation_hash(key: bytes, platform: str, conversation: str) -> str:
    """A stable pseudonym of a conversation: 16 hex digits of HMAC-SHA256."""
    return hmac.new(key, f"{platform}:{conversation}".encode(), hashlib.sha256).hexdigest()[:16]


def stage_timings(line: TurnLine) -> Mapping[str, float | None]:
    """The durations of a line by their field names."""
    return {name: None if (value := getattr(line, name)) is None else round(value, 2) for name in STAGES}
