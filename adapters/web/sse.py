"""Server-sent events on the wire (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import json
from collections.abc import Mapping

import orjson

HEARTBEAT = b": still here\n\n"
"""A comment: keeps proxies from closing a silent stream, and readers ignore it."""


def encode(event: str, data: Mapping[str, object]) -> bytes:
    """One event. JSON has no raw line breaks, so the data is always one line."""
    return b"event: " + event.encode() + b"\ndata: " + dumps(data) + b"\n\n"


def dumps(value: object) -> bytes:
    """`value` as JSON.

    A model may cut an emoji's surrogate pair in two; orjson refuses halves, so such a text goes out escaped.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value).encode()
