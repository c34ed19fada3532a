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

# Times come from the replicas, as they do in their own files: what is compared are moments of one conversation.
# Exchanges expire by themselves: what has gone is taken out of the sets when these are walked or added to (by whether
# it is there, not by its age: one that was told late lives longer, and must still be found to be forgotten).
_COMMON = """
local p = KEYS[1]
local marks, told, rated = p .. ':marks', p .. ':told', p .. ':rated'
local function past(id) return p .. ':past:' .. id end
local function lane(a, b, c) return p .. ':lane:' .. a .. ':' .. b .. ':' .. c end
local function message(kind, a, b, id) return p .. ':' .. kind .. ':' .. a .. ':' .. b .. ':' .. id end
local function where(a, b) return p .. ':where:' .. a .. ':' .. b end
local function who(key) return p .. ':who:' .. key end
local function raters(key) return p .. ':rater:' .. key end
local function get(id, field) return redis.call('HGET', past(id), field) or '' end
local function unindex(id)
  local a, b = get(id, 'platform'), get(id, 'conversation')
  for each in string.gmatch(get(id, 'handle'), '[^,]+') do
    local key = message('answer', a, b, each)
    if redis.call('GET', key) == id then redis.call('DEL', key) end
  end
  local key = message('question', a, b, get(id, 'question_id'))
  if redis.call('GET', key) == id then redis.call('DEL', key) end
end
local function index(id, keep)
  local a, b = get(id, 'platform'), get(id, 'conversation')
  for each in string.gmatch(get(id, 'handle'), '[^,]+') do
    redis.call('SET', message('answer', a, b, each), id, 'EX', keep)
  end
  local asked = get(id, 'question_id')
  if asked ~= '' then redis.call('SET', message('question', a, b, asked), id, 'EX', keep) end
end
local function is_gone(id) return redis.call('EXISTS', past(id)) == 0 end
local function add(key, keep, at, id)
  redis.call('ZADD', key, at, id)
  redis.call('EXPIRE', key, keep)
  local before = string.format('(%.17g', tonumber(at) - tonumber(keep))
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', before, 'LIMIT', 0, 100)) do
    if is_gone(old) then redis.call('ZREM', key, old) end
  end
end
local function set_mark(name, at)
  if redis.call('ZADD', marks, 'GT', 'CH', at, name) == 0 then return end
  local now = redis.call('TIME')
  redis.call('ZADD', told, string.format('%d.%06d', now[1], now[2]), name)
end
local function enter(id, keep)
  local a, b, c, at = get(id, 'platform'), get(id, 'conversation'), get(id, 'person'), get(id, 'asked_at')
  add(lane(a, b, c), keep, at, id)
  add(where(a, b), keep, at, id)
  add(who(a .. ':' .. c), keep, at, id)
  index(id, keep)
end
local function remove(id)
  local a, b, c = get(id, 'platform'), get(id, 'conversation'), get(id, 'person')
  unindex(id)
  redis.call('ZREM', lane(a, b, c), id)
  redis.call('ZREM', where(a, b), id)
  redis.call('ZREM', who(a .. ':' .. c), id)
  redis.call('ZREM', rated, id)
  redis.call('DEL', past(id))
end
"""

PUT = Script(
    _COMMON
    + """
local id, keep = ARGV[1], ARGV[2]
local a, b, c, at = ARGV[4], ARGV[6], ARGV[8], ARGV[10]
local forgotten = redis.call('ZSCORE', marks, 'forget ' .. a .. ':' .. c)
if forgotten and tonumber(at) <= tonumber(forgotten) then return 0 end
if redis.call('EXISTS', past(id)) == 1 then unindex(id) end
redis.call('HSET', past(id), unpack(ARGV, 3))
redis.call('EXPIRE', past(id), keep)
enter(id, keep)
return 1
"""
)
SHOWN = Script(
    _COMMON
    + """
local id, keep, handle = ARGV[1], ARGV[2], ARGV[3]
if redis.call('EXISTS', past(id)) == 0 then return 0 end
unindex(id)
redis.call('HSET', past(id), 'handle', handle)
index(id, keep)
return 1
"""
)
DROP = Script(_COMMON + "remove(ARGV[1])")
LATEST = Script(
    _COMMON
    + """
local a, b, c = ARGV[1], ARGV[2], ARGV[3]
local began = redis.call('ZSCORE', marks, 'new ' .. a .. ':' .. b .. ':' .. c)
local from = began and ('(' .. began) or '-inf'
local found = {}
for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', lane(a, b, c), '+inf', from, 'LIMIT', 0, ARGV[4])) do
  local row = redis.call('HGETALL', past(id))
  if #row > 0 then found[#found + 1] = row end
end
return found
"""
)
FIND = Script(
    _COMMON
    + """
local id = redis.call('GET', message(ARGV[1], ARGV[2], ARGV[3], ARGV[4]))
if not id then return {} end
return redis.call('HGETALL', past(id))
"""
)
MARK = Script(
    _COMMON
    + """
local kind, key, at = ARGV[1], ARGV[2], ARGV[3]
set_mark(kind .. ' ' .. key, at)
if kind == 'new' then return 0 end
local erased = 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', who(key), '-inf', at)) do
  if is_gone(id) then
    redis.call('ZREM', who(key), id)
  else
    remove(id)
    erased = erased + 1
  end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', raters(key), '-inf', at)) do
  redis.call('HDEL', past(id), 'r:' .. string.match(key, '^[^:]*:(.*)$'))
  redis.call('ZREM', raters(key), id)
end
return erased
"""
)
MOVE = Script(
    _COMMON
    + """
local a, old, new, keep = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
for _, id in ipairs(redis.call('ZRANGE', where(a, old), 0, -1)) do
  if not is_gone(id) then
    local c = get(id, 'person')
    unindex(id)
    redis.call('ZREM', lane(a, old, c), id)
    local began = redis.call('ZSCORE', marks, 'new ' .. a .. ':' .. old .. ':' .. c)
    if began then set_mark('new ' .. a .. ':' .. new .. ':' .. c, began) end
    redis.call('HSET', past(id), 'conversation', new, 'handle', '', 'question_id', '')
    if get(id, 'place') == old then redis.call('HSET', past(id), 'place', new) end
    enter(id, keep)
  end
end
redis.call('DEL', where(a, old))
"""
)
RATE = Script(
    _COMMON
    + """
local id, person, at, body, keep = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if is_gone(id) then return 0 end
local former = redis.call('HGET', past(id), 'r:' .. person)
if former and cjson.decode(former)[3] > tonumber(at) then return 1 end
redis.call('HSET', past(id), 'r:' .. person, body)
add(rated, keep, at, id)
add(raters(get(id, 'platform') .. ':' .. person), keep, at, id)
return 1
"""
)
RATED = Script(
    _COMMON
    + """
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', rated, ARGV[1], '+inf')) do
  local row = redis.call('HGETALL', past(id))
  if #row > 0 then found[#found + 1] = row end
end
return found
"""
)
TOLD = Script(
    _COMMON
    + """
local now = redis.call('TIME')
local found = {string.format('%d.%06d', now[1], now[2])}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', told, ARGV[1], '+inf')) do
  local at = redis.call('ZSCORE', marks, name)
  if at then
    found[#found + 1] = name
    found[#found + 1] = at
  end
end
return found
"""
)
PRUNE = Script(
    _COMMON
    + """
redis.call('ZREMRANGEBYSCORE', marks, '-inf', '(' .. ARGV[1])
redis.call('ZREMRANGEBYSCORE', told, '-inf', '(' .. ARGV[1])
redis.call('ZREMRANGEBYSCORE', rated, '-inf', '(' .. ARGV[1])
"""
)


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
