"""What was said in one exchange, as the bytes that are kept of it."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import orjson

from adapters.past import PastAnswer
from adapters.ports import Platform, SourceLink

_BODY = ("question", "standalone", "answer", "outcome", "language", "suggestions", "is_private")
_SOURCE = frozenset(field.name for field in fields(SourceLink))


def encode_body(past: PastAnswer) -> bytes:
    """Everything but what the exchange is found by."""
    body: dict[str, Any] = {name: getattr(past, name) for name in _BODY}
    body["collections"] = sorted(past.collections)
    body["sources"] = [{k: v for k, v in asdict(source).items() if k != "excerpt"} for source in past.sources]
    return orjson.dumps(_whole(body))


def decode_past(
    *,
    past_id: str,
    platform: Platform,
    conversation: str,
    place: str,
    person: str,
    asked_at: float,
    question_id: str | None,
    handle: str | None,
    body: bytes,
) -> PastAnswer:
    """The exchange again, of the fields that this version knows: replicas of two versions share what was said."""
    values = orjson.loads(body)
    return PastAnswer(
        id=past_id,
        platform=platform,
        conversation=conversation,
        place=place,
        person=person,
        asked_at=asked_at,
        question_id=question_id or None,
        handle=handle or None,
        collections=frozenset(values["collections"]),
        sources=tuple(
            SourceLink(**{name: value for name, value in source.items() if name in _SOURCE})
            for source in values["sources"]
        ),
        suggestions=tuple(values["suggestions"]),
        **{name: values[name] for name in _BODY if name in values and name != "suggestions"},
    )


def _whole(value: Any) -> Any:
    """Half an emoji, which some clients send, is no UTF-8 by itself."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {name: _whole(item) for name, item in value.items()}
        case list() | tuple():
            return [_whole(item) for item in value]
    return value
