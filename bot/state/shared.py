"""Turns in Redis, with a record of one's own beside it: what to go by while Redis is away, and to mend it from after.

Every turn of this process stands in both. An accepted event is on this process's disk (web questions: in its memory)
before it is acknowledged, whatever becomes of Redis, which may well keep nothing through a restart.
"""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from bot.state.ports import REFUSED, Journal, OwedTurn
from bot.state.redis_link import RedisAway, RedisLink
from bot.state.redis_turns import RedisTurns

_MOST_CLAIMED = 100_000


class SharedTurns:
    """A `TurnStore` for one process among several.

    While Redis is away each process goes on with its own turns; a replica that is cut off while others are not is taken
    for dead by them after `lapse_s`, and both then write into the same message: availability goes before exactness.
    """

    def __init__(
        self,
        redis: RedisTurns,
        own: Journal,
        link: RedisLink,
        *,
        owner: str,
        lapse_s: float,
        patience_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`patience_s`: how long Redis may be away before a dead process's turns are taken up without asking it."""
        self._redis = redis
        self._own = own
        self._link = link
        self._owner = owner
        self._lapse_s = lapse_s
        self._clock = clock
        self._patience_s = lapse_s if patience_s is None else patience_s
        self._claimed: OrderedDict[str, None] = OrderedDict()
        self._leads: dict[str, tuple[bool, float]] = {}
        link.on_return(self.mend)

    async def claim(self, turn: OwedTurn, *, most_waiting: int) -> int | None:
        """See `TurnStore.claim`."""
        try:
            place = await self._link.call(self._redis.claim(turn, most_waiting=most_waiting))
        except RedisAway:
            if turn.event_id in self._claimed:
                return None
            place = await self._own.claim(turn, most_waiting=most_waiting)
            if place is not None:
                await self._own.note_unshared(turn.event_id)
            return place
        if place is None:
            return None
        try:
            is_new = await self._own.keep_new(replace(turn, lane="" if place == REFUSED else turn.lane))
        except BaseException:
            with contextlib.suppress(RedisAway):
                await self._link.insist(self._redis.withdraw(turn.event_id, turn.owner))
            raise
        if is_new:
            return place
        with contextlib.suppress(RedisAway):
            await self._remind(turn)
        return None

    async def _remind(self, claimed: OwedTurn) -> None:
        """Redis took an event for new that we know: it has lost what it knew."""
        known = await self._own.get(claimed.event_id)
        if known is None:
            await self._link.insist(self._redis.done(claimed.event_id))
        elif known.owner == self._owner:
            await self._mend_one(known, is_newer=True)
        else:  # left by a dead process of this folder: `take_over` will find it
            await self._link.insist(self._redis.withdraw(claimed.event_id, claimed.owner))

    def note_claimed(self, news: str) -> None:
        """Another replica has claimed this event (`OWNER EVENT`): known here also while Redis is away."""
        owner, _, event_id = news.partition(" ")
        if owner == self._owner:
            return  # we may be asking just now, and not have the answer yet
        self._claimed[event_id] = None
        if len(self._claimed) > _MOST_CLAIMED:
            self._claimed.popitem(last=False)

    async def position(self, event_id: str) -> int | None:
        """See `TurnStore.position`."""
        try:
            place = await self._link.call(self._redis.position(event_id))
            if place is None and await self._is_ours_after_all(event_id):
                place = await self._link.call(self._redis.position(event_id))
        except RedisAway:
            return await self._own.position(event_id)
        return place

    async def follower(self, event_id: str) -> OwedTurn | None:
        """See `TurnStore.follower`."""
        try:
            return await self._link.call(self._redis.follower(event_id))
        except RedisAway:
            return await self._own.follower(event_id)

    async def absorb(self, event_id: str, owner: str, *, follower: str, payload: bytes) -> bool:
        """See `TurnStore.absorb`. Only what this process itself has accepted is joined.

        Redis may do it without our hearing of it in time; then our own record must be able to do the same.
        """
        if await self._own.get(follower) is None:
            return False
        try:
            is_done = await self._link.call(self._redis.absorb(event_id, owner, follower=follower, payload=payload))
        except RedisAway:
            is_done = await self._own.absorb(event_id, owner, follower=follower, payload=payload)
            if is_done:
                await self._own.note_unshared(event_id)
                await self._own.note_unshared(follower)
            return is_done
        if is_done and (turn := await self._own.get(event_id)):
            await self._own.keep(replace(turn, payload=payload), is_shared=True)
            await self._own.forget(follower)
        return is_done

    async def record(
        self, event_id: str, owner: str, *, message_id: str | None = None, final: bytes | None = None
    ) -> bool:
        """See `TurnStore.record`."""
        # Redis first: a crash between the two must not leave the next owner without the message's id.
        with contextlib.suppress(RedisAway):
            is_ours = await self._link.call(self._redis.record(event_id, owner, message_id=message_id, final=final))
            is_kept = await self._own.record(event_id, owner, message_id=message_id, final=final)
            return is_kept and (is_ours or await self._is_ours_after_all(event_id))
        is_kept = await self._own.record(event_id, owner, message_id=message_id, final=final)
        if is_kept:
            await self._own.note_unshared(event_id)
        return is_kept

    async def settle(self, event_id: str, owner: str) -> bool:
        """See `TurnStore.settle`."""
        try:
            is_known = await self._link.call(self._redis.settle(event_id, owner))
        except RedisAway:
            is_settled = await self._own.settle(event_id, owner)
            if is_settled:
                await self._own.note_unshared(event_id)
            return is_settled
        if not await self._own.settle(event_id, owner):
            return False
        if not is_known:
            with contextlib.suppress(RedisAway):
                await self._link.call(self._redis.done(event_id))
        return True

    async def release(self, event_id: str, owner: str) -> None:
        """See `TurnStore.release`."""
        await self._own.release(event_id, owner)
        try:
            await self._link.call(self._redis.release(event_id, owner))
        except RedisAway:
            await self._own.note_unshared(event_id)

    async def beat(self, owner: str) -> frozenset[str]:
        """See `TurnStore.beat`."""
        owned = await self._own.beat(owner)
        try:
            return await self._link.call(self._redis.beat(owner))
        except RedisAway:
            return owned

    async def owners(self) -> frozenset[str]:
        """See `TurnStore.owners`."""
        owners = await self._own.owners()
        with contextlib.suppress(RedisAway):
            owners |= await self._link.call(self._redis.owners())
        return owners

    async def bury(self, owner: str) -> None:
        """See `TurnStore.bury`."""
        await self._own.bury(owner)
        with contextlib.suppress(RedisAway):
            await self._link.call(self._redis.bury(owner))

    async def take_over(self, owner: str, *, lapse_s: float) -> list[OwedTurn]:
        """See `TurnStore.take_over`. What dead processes of this folder left is compared with what Redis says of it."""
        if self._link.is_away and self._link.away_s < self._patience_s:
            return []  # another replica may have what we would take: Redis may be back in a moment
        left = await self._own.take_over(owner, lapse_s=lapse_s)
        taken: dict[str, OwedTurn] = {}
        if not self._link.is_away:
            with contextlib.suppress(RedisAway):
                for turn in await self._link.insist(self._redis.take_over(owner, lapse_s=lapse_s)):
                    if await self._own.keep(turn, is_shared=True):
                        taken[turn.event_id] = turn
                    else:
                        await self._link.insist(self._redis.done(turn.event_id))
        for turn in left:
            if turn.event_id in taken:
                continue
            if self._link.is_away and self._link.away_s < self._patience_s:  # since a moment ago
                await self._own.release(turn.event_id, owner)
            elif await self._may_keep(turn, is_newer=False):
                taken[turn.event_id] = turn
        return sorted(taken.values(), key=lambda turn: turn.accepted_at)

    async def lead(self, name: str, owner: str, *, lapse_s: float) -> bool:
        """See `TurnStore.lead`. While Redis is away, first what it said last, then each process for itself."""
        try:
            is_ours = await self._link.call(self._redis.lead(name, owner, lapse_s=lapse_s))
        except RedisAway:
            known, at = self._leads.get(name, (True, float("-inf")))
            # Redis may be back in a moment: until then nobody begins what another one does.
            return known if self._clock() - at < lapse_s else await self._own.lead(name, owner, lapse_s=lapse_s)
        self._leads[name] = (is_ours, self._clock())
        return is_ours

    async def resign(self, name: str, owner: str) -> None:
        """See `TurnStore.resign`."""
        self._leads.pop(name, None)
        await self._own.resign(name, owner)
        with contextlib.suppress(RedisAway):
            await self._link.call(self._redis.resign(name, owner))

    async def ask_stop(self, lane: str) -> str | None:
        """See `TurnStore.ask_stop`."""
        try:
            return await self._link.call(self._redis.ask_stop(lane))
        except RedisAway:
            return await self._own.ask_stop(lane)

    async def stopping(self) -> frozenset[str]:
        """See `TurnStore.stopping`."""
        try:
            return await self._link.call(self._redis.stopping())
        except RedisAway:
            return await self._own.stopping()

    async def prune(self, *, before: float) -> int:
        """See `TurnStore.prune`."""
        return await self._own.prune(before=before)

    async def mend(self) -> None:
        """Tell Redis, which is there again and may have lost everything, what happened meanwhile."""
        owed, done = await self._own.unshared(self._owner)
        for event_id in done:
            await self._link.insist(self._redis.done(event_id))
            await self._own.note_shared(event_id)
        for turn, is_newer in owed:
            await self._mend_one(replace(turn, owner=turn.owner or self._owner), is_newer=is_newer)
            if not turn.owner:
                await self._link.insist(self._redis.release(turn.event_id, self._owner))

    async def _mend_one(self, turn: OwedTurn, *, is_newer: bool) -> None:
        standing = await self._link.insist(self._redis.adopt(turn, lapse_s=self._lapse_s, is_newer=is_newer))
        if standing == "ours":
            await self._own.note_shared(turn.event_id)
        else:
            await self._own.forget(turn.event_id)

    async def _may_keep(self, turn: OwedTurn, *, is_newer: bool) -> bool:
        """Whether a turn that our own record gives us is ours by Redis, too; ours as well while Redis is away."""
        if not self._link.is_away:
            with contextlib.suppress(RedisAway):
                await self._mend_one(turn, is_newer=is_newer)
                return await self._own.get(turn.event_id) is not None
        await self._own.note_unshared(turn.event_id)
        return True

    async def _is_ours_after_all(self, event_id: str) -> bool:
        """Redis does not know a turn that we have: it may have been restarted. Asked once more, with all we know."""
        turn = await self._own.get(event_id)
        if turn is None or turn.owner != self._owner:
            return False
        await self._mend_one(turn, is_newer=False)
        return await self._own.get(event_id) is not None
