"""What the record of an owed turn holds: the question and the final text, as JSON that other versions can read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any, TypeVar

import orjson

from adapters.ports import Final, Inbound, SourceLink
from rag.types import Outcome

T = TypeVar("T")


class Unreadable(Exception):
    """The record is damaged, or of a version that has nothing in common with this one."""


def encode(inbound: Inbound) -> bytes:
    """The question."""
    # Half an emoji, which some clients send, is no UTF-8 by itself.
    return orjson.dumps(asdict(replace(inbound, text=inbound.text.encode("utf-8", "replace").decode())))


def decode(payload: bytes, received_at: float) -> Inbound:
    """The question as if it had been received at this moment. Raises `Unreadable`."""
    return _made(Inbound, {**_values(payload), "received_at": received_at})


def encode_final(final: Final, outcome: Outcome) -> bytes:
    """The final text and what it is, without the passages that it stands on."""
    bare = replace(
        final,
        text=final.text.encode("utf-8", "replace").decode(),
        sources=tuple(replace(source, excerpt="") for source in final.sources),
    )
    return orjson.dumps(asdict(bare) | {"outcome": outcome})


def decode_final(record: bytes) -> tuple[Final, Outcome]:
    """What `encode_final` wrote. Raises `Unreadable`."""
    values = _values(record)
    outcome: Outcome = values.get("outcome", "answered")
    values["sources"] = tuple(_made(SourceLink, source) for source in values.get("sources", ()))
    values["suggestions"] = tuple(values.get("suggestions", ()))
    return _made(Final, values), outcome


def _values(record: bytes) -> dict[str, Any]:
    try:
        values = orjson.loads(record)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"its record is no JSON ({error})") from None
    if not isinstance(values, dict):
        raise Unreadable("its record is no JSON object")
    return values


def _made(kind: type[T], values: Mapping[str, Any]) -> T:
    """Of the fields that this version knows: replicas of two versions share turns while one replaces the other."""
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]  # only dataclasses are asked for
    try:
        return kind(**{name: value for name, value in values.items() if name in known})
    except TypeError as error:
        raise Unreadable(f"its record lacks what is needed ({error})") from None
