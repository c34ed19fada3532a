"""Claims, owed turns and lanes in Redis, shared by all replicas. Every operation is one Lua call, and so atomic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from bot.state.ports import OwedTurn, Standing
from bot.state.redis_link import Client
from bot.state.redis_script import Script

UNSETTLED_S = 48 * 3600
"""An answer is worth a day; what nobody finished within two is forgotten here."""

# Only commands that Redis 7.0 has. Times are Redis's own: replicas need not agree on theirs.
_COMMON = """
local p, now = KEYS[1], redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local beats, stopping, leads = p .. ':beats', p .. ':stopping', p .. ':leads'
local function turn(id) return p .. ':turn:' .. id end
local function lane(name) return p .. ':lane:' .. name end
local function own(owner) return p .. ':own:' .. owner end
local function tell(what, which) redis.call('PUBLISH', p .. ':news', what .. ' ' .. which) end
local function get(id, field) return redis.call('HGET', turn(id), field) or '' end
local function finish(id, keep)
  local name, is_kept = get(id, 'lane'), get(id, 'payload') ~= ''
  redis.call('SREM', own(get(id, 'owner')), id)
  redis.call('SREM', stopping, id)
  redis.call('DEL', turn(id))
  if is_kept then redis.call('SET', turn(id) .. ':settled', 1, 'EX', keep) end
  if name ~= '' then
    redis.call('LREM', lane(name), 0, id)
    tell('lane', name)
  end
end
local function give(id, owner)
  redis.call('SREM', own(get(id, 'owner')), id)
  redis.call('SADD', own(owner), id)
  redis.call('HSET', turn(id), 'owner', owner)
end
local function is_alive(owner, lapse) return tonumber(redis.call('ZSCORE', beats, owner) or -1) > now - lapse end
local function is_settled(id) return redis.call('EXISTS', turn(id) .. ':settled') == 1 end
local function insert(id, owner, ttl, first)
  redis.call('HSET', turn(id), unpack(ARGV, first))
  redis.call('EXPIRE', turn(id), ttl)
  redis.call('SADD', own(owner), id)
  redis.call('ZADD', beats, 'NX', now, owner)
end
local function enter(name, id, ttl)
  redis.call('HSET', turn(id), 'lane', name)
  redis.call('RPUSH', lane(name), id)
  redis.call('EXPIRE', lane(name), ttl)
end
"""

CLAIM = Script(
    _COMMON
    + """
local id, owner, name, most, ttl = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
if is_settled(id) or redis.call('EXISTS', turn(id)) == 1 then return -2 end
insert(id, owner, ttl, 6)
tell('claimed', owner .. ' ' .. id)
if name == '' then return -1 end
local place = redis.call('LLEN', lane(name))
if place > most then return -1 end
enter(name, id, ttl)
if place > 0 then tell('lane', name) end
return place
"""
)
POSITION = Script(
    _COMMON
    + """
if redis.call('EXISTS', turn(ARGV[1])) == 0 then return -2 end
local name = get(ARGV[1], 'lane')
if name == '' then return 0 end
return redis.call('LPOS', lane(name), ARGV[1]) or 0
"""
)
FOLLOWER = Script(
    _COMMON
    + """
local name = get(ARGV[1], 'lane')
if name == '' then return {} end
local line = redis.call('LRANGE', lane(name), 0, 1)
if #line < 2 or line[1] ~= ARGV[1] then return {} end
return redis.call('HGETALL', turn(line[2]))
"""
)
ABSORB = Script(
    _COMMON
    + """
local id, owner, follower, payload, keep = unpack(ARGV)
local name = get(id, 'lane')
if name == '' or get(id, 'owner') ~= owner then return 0 end
local line = redis.call('LRANGE', lane(name), 0, 1)
if line[1] ~= id or line[2] ~= follower then return 0 end
redis.call('HSET', turn(id), 'payload', payload)
finish(follower, keep)
return 1
"""
)
RECORD = Script(
    _COMMON
    + """
if ARGV[2] == '' or get(ARGV[1], 'owner') ~= ARGV[2] then return 0 end
if #ARGV > 2 then redis.call('HSET', turn(ARGV[1]), unpack(ARGV, 3)) end
return 1
"""
)
SETTLE = Script(
    _COMMON
    + """
if ARGV[2] == '' or get(ARGV[1], 'owner') ~= ARGV[2] then return 0 end
finish(ARGV[1], ARGV[3])
return 1
"""
)
RELEASE = Script(
    _COMMON
    + """
if get(ARGV[1], 'owner') ~= ARGV[2] then return 0 end
give(ARGV[1], '')
tell('loose', ARGV[1])
return 1
"""
)
BEAT = Script(
    _COMMON
    + """
redis.call('ZADD', beats, now, ARGV[1])
return redis.call('SMEMBERS', own(ARGV[1]))
"""
)
TAKE_OVER = Script(
    _COMMON
    + """
local me, lapse, keep, taken = ARGV[1], tonumber(ARGV[2]), ARGV[3], {}
redis.call('ZADD', beats, 'NX', now, me)
local silent = redis.call('ZRANGE', beats, '-inf', now - lapse, 'BYSCORE')
silent[#silent + 1] = ''
for _, owner in ipairs(silent) do
  if owner ~= me then
    for _, id in ipairs(redis.call('SMEMBERS', own(owner))) do
      if redis.call('EXISTS', turn(id)) == 0 then
        redis.call('SREM', own(owner), id)
      elseif get(id, 'payload') == '' then
        finish(id, keep)
      else
        give(id, me)
        redis.call('SREM', stopping, id)
        redis.call('HINCRBY', turn(id), 'tries', 1)
        taken[#taken + 1] = redis.call('HGETALL', turn(id))
      end
    end
    redis.call('ZREM', beats, owner)
  end
end
return taken
"""
)
LEAD = Script(
    _COMMON
    + """
local name, me, lapse = ARGV[1], ARGV[2], tonumber(ARGV[3])
redis.call('ZADD', beats, 'NX', now, me)
local other = redis.call('HGET', leads, name)
if other and other ~= me and is_alive(other, lapse) then return 0 end
redis.call('HSET', leads, name, me)
return 1
"""
)
RESIGN = Script(
    _COMMON + "if redis.call('HGET', leads, ARGV[1]) == ARGV[2] then redis.call('HDEL', leads, ARGV[1]) end"
)
ASK_STOP = Script(
    _COMMON
    + """
local id = redis.call('LINDEX', lane(ARGV[1]), 0)
if not id then return '' end
redis.call('SADD', stopping, id)
redis.call('EXPIRE', stopping, 3600)
tell('stop', id)
return id
"""
)
ADOPT = Script(
    _COMMON
    + """
local id, owner, name, lapse, ttl, is_newer = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6] == '1'
if is_settled(id) then return 'settled' end
if redis.call('EXISTS', turn(id)) == 0 then
  insert(id, owner, ttl, 7)
  if name ~= '' then enter(name, id, ttl) end
  return 'ours'
end
local holder = get(id, 'owner')
if holder ~= owner and holder ~= '' and is_alive(holder, lapse) then return 'theirs' end
give(id, owner)
redis.call('ZADD', beats, 'NX', now, owner)
for at = 7, #ARGV, 2 do
  local field = ARGV[at]
  if field == 'message_id' or field == 'final' or (field == 'payload' and is_newer) then
    redis.call('HSET', turn(id), field, ARGV[at + 1])
  end
end
return 'ours'
"""
)
WITHDRAW = Script(
    _COMMON
    + """
if get(ARGV[1], 'owner') ~= ARGV[2] then return 0 end
redis.call('HSET', turn(ARGV[1]), 'payload', '')
finish(ARGV[1], 1)
return 1
"""
)
DONE = Script(
    _COMMON
    + """
if redis.call('EXISTS', turn(ARGV[1])) == 1 then finish(ARGV[1], ARGV[2]) end
redis.call('SET', turn(ARGV[1]) .. ':settled', 1, 'EX', ARGV[2])
"""
)


class RedisTurns:
    """A `TurnStore`. Settled turns leave only their event's id, for `keep_s`.

    Raises what the client raises; `bot/state/shared.py` says what happens then.
    """

    def __init__(self, client: Client, *, prefix: str = "{grapevine}", keep_s: float = 30 * 86_400.0) -> None:
        self._client = client
        self._prefix = prefix
        self._keep = str(math.ceil(keep_s))

    async def claim(self, turn: OwedTurn, *, most_waiting: int) -> int | None:
        """See `TurnStore.claim`."""
        arguments = (turn.event_id, turn.owner, turn.lane, str(most_waiting), str(UNSETTLED_S))
        place = int(await self._run(CLAIM, *arguments, *_fields(turn)))
        return None if place == -2 else place

    async def position(self, event_id: str) -> int | None:
        """See `TurnStore.position`."""
        place = int(await self._run(POSITION, event_id))
        return None if place < 0 else place

    async def follower(self, event_id: str) -> OwedTurn | None:
        """See `TurnStore.follower`."""
        row = await self._run(FOLLOWER, event_id)
        return _turn(row) if row else None

    async def absorb(self, event_id: str, owner: str, *, follower: str, payload: bytes) -> bool:
        """See `TurnStore.absorb`."""
        return bool(await self._run(ABSORB, event_id, owner, follower, payload, self._keep))

    async def record(
        self, event_id: str, owner: str, *, message_id: str | None = None, final: bytes | None = None
    ) -> bool:
        """See `TurnStore.record`."""
        known = {"message_id": message_id, "final": final}
        return bool(await self._run(RECORD, event_id, owner, *_flat(known)))

    async def settle(self, event_id: str, owner: str) -> bool:
        """See `TurnStore.settle`."""
        return bool(await self._run(SETTLE, event_id, owner, self._keep))

    async def release(self, event_id: str, owner: str) -> None:
        """See `TurnStore.release`."""
        await self._run(RELEASE, event_id, owner)

    async def beat(self, owner: str) -> frozenset[str]:
        """See `TurnStore.beat`."""
        return _texts(await self._run(BEAT, owner))

    async def owners(self) -> frozenset[str]:
        """See `TurnStore.owners`."""
        return _texts(await self._client.execute_command("ZRANGE", f"{self._prefix}:beats", "0", "-1"))

    async def bury(self, owner: str) -> None:
        """See `TurnStore.bury`."""
        await self._client.execute_command("ZADD", f"{self._prefix}:beats", "XX", "0", owner)

    async def take_over(self, owner: str, *, lapse_s: float) -> list[OwedTurn]:
        """See `TurnStore.take_over`."""
        rows = await self._run(TAKE_OVER, owner, str(round(lapse_s * 1000)), self._keep)
        return sorted((_turn(row) for row in rows), key=lambda turn: turn.accepted_at)

    async def lead(self, name: str, owner: str, *, lapse_s: float) -> bool:
        """See `TurnStore.lead`."""
        return bool(await self._run(LEAD, name, owner, str(round(lapse_s * 1000))))

    async def resign(self, name: str, owner: str) -> None:
        """See `TurnStore.resign`."""
        await self._run(RESIGN, name, owner)

    async def ask_stop(self, lane: str) -> str | None:
        """See `TurnStore.ask_stop`. The owner hears of it by the news channel."""
        return _text(await self._run(ASK_STOP, lane)) or None

    async def stopping(self) -> frozenset[str]:
        """See `TurnStore.stopping`."""
        return _texts(await self._client.execute_command("SMEMBERS", f"{self._prefix}:stopping"))

    async def prune(self, *, before: float) -> int:  # noqa: ARG002 - the port's
        """Nothing: claims expire by themselves."""
        return 0

    # For a process that has gone by its own record for a while.

    async def adopt(self, turn: OwedTurn, *, lapse_s: float, is_newer: bool) -> Standing:
        """Make the turn known as its owner's, unless it is settled or somebody alive has it.

        `is_newer`: its question was changed while Redis was away (two became one).
        """
        arguments = (turn.event_id, turn.owner, turn.lane, str(round(lapse_s * 1000)), str(UNSETTLED_S))
        return cast(Standing, _text(await self._run(ADOPT, *arguments, str(int(is_newer)), *_fields(turn))))

    async def withdraw(self, event_id: str, owner: str) -> None:
        """Take a claim back: the event could not be accepted, and will be delivered again."""
        await self._run(WITHDRAW, event_id, owner)

    async def done(self, event_id: str) -> None:
        """Make it known that this was settled, whoever owns it here."""
        await self._run(DONE, event_id, self._keep)

    async def _run(self, script: Script, *arguments: str | bytes) -> Any:
        return await script.run(self._client, self._prefix, *arguments)


def _fields(turn: OwedTurn) -> list[str | bytes]:
    """All fields but the lane, which says whether the turn has a place in it."""
    known: dict[str, object] = {
        name: getattr(turn, name)
        for name in ("event_id", "trace_id", "platform", "payload", "accepted_at", "owner", "tries")
    }
    return _flat(known | {"message_id": turn.message_id, "final": turn.final})


def _flat(fields: Mapping[str, object]) -> list[str | bytes]:
    flat: list[str | bytes] = []
    for name, value in fields.items():
        if value is not None:
            flat += [name, value if isinstance(value, bytes) else str(value)]
    return flat


def _turn(row: Sequence[bytes] | Mapping[bytes, bytes]) -> OwedTurn:
    pairs = row if isinstance(row, Mapping) else dict(zip(row[::2], row[1::2], strict=True))
    values = {_text(name): value for name, value in pairs.items()}
    return OwedTurn(
        event_id=_text(values["event_id"]),
        trace_id=_text(values["trace_id"]),
        platform=_text(values["platform"]),
        lane=_text(values.get("lane", b"")),
        payload=values["payload"],
        accepted_at=float(values["accepted_at"]),
        owner=_text(values["owner"]),
        tries=int(values["tries"]),
        message_id=_text(values["message_id"]) if "message_id" in values else None,
        final=values.get("final"),
    )


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value


def _texts(values: Sequence[bytes]) -> frozenset[str]:
    return frozenset(_text(value) for value in values)
