"""Transcripts in Redis, shared by all replicas. Every change is one Lua call, and so atomic; all of it expires."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import orjson

from adapters.past import PastAnswer
from adapters.ports import Platform
from bot.state.redis_link import Client
from bot.state.redis_script import Script
from bot.state.transcript_body import decode_past, encode_body
from bot.state.transcript_ports import Lane, Mark, MessageKind, Rated, Rating
from bot.state.transcript_scripts import DROP, FIND, LATEST, MARK, MOVE, PRUNE, PUT, RATE, RATED, SHOWN, TOLD


class RedisTranscripts:
    """A `TranscriptStore`. Raises what the client raises; `bot/state/shared_transcripts.py` says what happens then."""

    def __init__(self, client: Client, *, prefix: str = "{grapevine}:said", keep_s: float = 30 * 86_400.0) -> None:
        self._client = client
        self._prefix = prefix
        self._keep = str(math.ceil(keep_s))

    async def put(self, past: PastAnswer) -> bool:
        """See `TranscriptStore.put`."""
        fields: list[str | bytes] = [
            *("platform", past.platform, "conversation", past.conversation, "person", past.person),
            *("asked_at", repr(past.asked_at), "id", past.id, "place", past.place),
            *("question_id", past.question_id or "", "handle", past.handle or "", "body", encode_body(past)),
        ]
        return bool(await self._run(PUT, past.id, self._keep, *fields))

    async def shown(self, past_id: str, handle: str) -> None:
        """See `TranscriptStore.shown`."""
        await self._run(SHOWN, past_id, self._keep, handle)

    async def drop(self, past_id: str) -> None:
        """See `TranscriptStore.drop`."""
        await self._run(DROP, past_id)

    async def latest(self, lane: Lane, *, limit: int) -> list[PastAnswer]:
        """See `TranscriptStore.latest`."""
        rows = await self._run(LATEST, lane.platform, lane.conversation, lane.person, str(limit))
        return [_past(_fields(row)) for row in rows]

    async def get(self, past_id: str) -> PastAnswer | None:
        """See `TranscriptStore.get`."""
        row = _fields(await self._client.execute_command("HGETALL", f"{self._prefix}:past:{past_id}"))
        return _past(row) if row else None

    async def find(
        self, platform: Platform, conversation: str, message_id: str, *, kind: MessageKind
    ) -> PastAnswer | None:
        """See `TranscriptStore.find`."""
        row = _fields(await self._run(FIND, kind, platform, conversation, message_id))
        return _past(row) if row else None

    async def mark(self, mark: Mark) -> int:
        """See `TranscriptStore.mark`."""
        return int(await self._run(MARK, mark.kind, mark.key, repr(mark.at)))

    async def move(self, platform: Platform, old: str, new: str) -> None:
        """See `TranscriptStore.move`."""
        await self._run(MOVE, platform, old, new, self._keep)

    async def rate(self, past_id: str, rating: Rating) -> bool:
        """See `TranscriptStore.rate`."""
        body = orjson.dumps([rating.verdict, rating.reason, rating.at])
        return bool(await self._run(RATE, past_id, rating.person, repr(rating.at), body, self._keep))

    async def rated(self, *, since: float) -> list[Rated]:
        """See `TranscriptStore.rated`."""
        found = [_fields(row) for row in await self._run(RATED, repr(since))]
        answers = [Rated(past=_past(row), ratings=_ratings(row, since)) for row in found]
        return sorted((one for one in answers if one.ratings), key=lambda one: one.past.asked_at)

    async def prune(self, *, before: float) -> int:
        """See `TranscriptStore.prune`. Questions expire by themselves: none is counted."""
        await self._run(PRUNE, repr(before))
        return 0

    # For a process that has gone by its own record for a while.

    async def marks(self, *, since: float = 0.0) -> list[Mark]:
        """The marks set since then."""
        key = f"{self._prefix}:marks"
        reply = await self._client.execute_command("ZRANGE", key, repr(since), "+inf", "BYSCORE", "WITHSCORES")
        return [_mark(name, at) for name, at in _pairs(reply)]

    async def told(self, *, since: float) -> tuple[list[Mark], float]:
        """The marks that Redis was told of since then, however old they are; and what its clock says now."""
        now, *reply = await self._run(TOLD, repr(since))
        return [_mark(name, at) for name, at in _pairs(reply)], float(now)

    async def was_told(self, file_id: str) -> bool:
        """Whether it still has what this state file told it: not before `note_told`, nor after a loss."""
        return bool(await self._client.execute_command("EXISTS", f"{self._prefix}:here:{file_id}"))

    async def note_told(self, file_id: str) -> None:
        """All that this state file has to tell has been told."""
        await self._client.execute_command("SET", f"{self._prefix}:here:{file_id}", "1", "EX", self._keep)

    async def _run(self, script: Script, *arguments: str | bytes) -> Any:
        return await script.run(self._client, self._prefix, *arguments)


_Row = dict[str, bytes]


def _fields(row: Sequence[bytes] | dict[bytes, bytes]) -> _Row:
    if isinstance(row, dict):
        return {_text(name): value for name, value in row.items()}
    return {_text(name): value for name, value in zip(row[::2], row[1::2], strict=True)}


def _pairs(reply: Sequence[Any]) -> list[tuple[Any, Any]]:
    # The client gives pairs; the protocol of version 2 a flat list.
    if reply and isinstance(reply[0], list | tuple):
        return [(name, at) for name, at in reply]
    return list(zip(reply[::2], reply[1::2], strict=True))


def _mark(name: bytes, at: bytes | float) -> Mark:
    kind, _, key = _text(name).partition(" ")
    return Mark(kind=cast(Any, kind), key=key, at=float(at))


def _past(row: _Row) -> PastAnswer:
    return decode_past(
        past_id=_text(row["id"]),
        platform=cast(Platform, _text(row["platform"])),
        conversation=_text(row["conversation"]),
        place=_text(row["place"]),
        person=_text(row["person"]),
        asked_at=float(row["asked_at"]),
        question_id=_text(row["question_id"]),
        handle=_text(row["handle"]),
        body=row["body"],
    )


def _ratings(row: _Row, since: float) -> tuple[Rating, ...]:
    found = []
    for name, body in row.items():
        if name.startswith("r:"):
            verdict, reason, at = orjson.loads(body)
            found.append(Rating(person=name[2:], verdict=verdict, reason=reason, at=at))
    return tuple(sorted((one for one in found if one.at >= since), key=lambda one: (one.at, one.person)))


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value
