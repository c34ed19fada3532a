"""Answers owed: recorded before the platform is told that the question arrived, settled once they were shown.

A turn has one owner at a time. An owner beats; whoever is silent for `LAPSE_S`, or known to be dead, or has handed its
turns over, is relieved of them by the next start or by another replica, which finishes the same messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import structlog

from adapters.ports import Final, Inbound
from bot.payload import Unreadable, decode, decode_final, encode, encode_final
from bot.state.owners import is_dead, new_owner
from bot.state.ports import REFUSED, OwedTurn, TurnStore
from bot.state.sqlite import StateError
from bot.turn import new_trace_id
from rag.types import Outcome

log = structlog.get_logger(__name__)

WORTH_S = 24 * 3600.0
"""An answer that comes a day late is of no use any more."""
BEAT_S = 2.0
LAPSE_S = 10.0
"""Silence after which an owner counts as dead. With one look every `BEAT_S`, its turns go on within 15 s."""
MOST_WAITING = 5
"""Questions that may wait in one lane behind the one that is being answered."""


class NotOurs(Exception):
    """Somebody else owns this answer now: nothing more may be written to it."""


@dataclass(slots=True, kw_only=True)
class Debt:
    """A question that was accepted and not answered yet, and how far its answer is."""

    inbound: Inbound
    trace_id: str
    lane: str
    """Empty: its lane had no room, it gets a refusal."""
    accepted_at: float
    """Seconds since the epoch."""
    place: int = 0
    """How many were before it in its lane when it was accepted."""
    tries: int = 1
    message_id: str | None = None
    """The messages that the answer is growing in."""
    final: tuple[Final, Outcome] | None = None
    """The final text, once it is known."""
    is_settled: bool = False
    """Nothing is owed any more, as far as this process is concerned."""

    @property
    def event_id(self) -> str:
        return self.inbound.event_id


class Outbox:
    """The debts of this process, kept in the state store."""

    def __init__(
        self,
        store: TurnStore,
        *,
        owner: str | None = None,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        lapse_s: float = LAPSE_S,
    ) -> None:
        self.owner = owner or new_owner()
        self._store = store
        self._now = now
        self._clock = clock
        self._lapse_s = lapse_s
        self._beaten_at = clock()
        self._strays: frozenset[str] = frozenset()
        self._hurry = asyncio.Event()

    # One debt.

    async def owe(self, inbound: Inbound, lane: str) -> Debt | None:
        """Record the event and the debt of an answer in one write; None if this event was recorded before."""
        debt = Debt(inbound=inbound, trace_id=new_trace_id(), lane=lane, accepted_at=self._now())
        turn = OwedTurn(
            event_id=inbound.event_id,
            trace_id=debt.trace_id,
            platform=inbound.platform,
            lane=lane,
            payload=encode(inbound),
            accepted_at=debt.accepted_at,
            owner=self.owner,
        )
        place = await self._store.claim(turn, most_waiting=MOST_WAITING)
        if place is None:
            return None
        if place == REFUSED:
            debt.lane = ""
        debt.place = max(0, place)
        return debt

    async def posted(self, debt: Debt, message_id: str) -> None:
        """The answer grows in these messages from now on. Raises `NotOurs`."""
        debt.message_id = message_id
        if not await self._store.record(debt.event_id, self.owner, message_id=message_id):
            raise NotOurs

    async def decided(self, debt: Debt, final: Final, outcome: Outcome) -> None:
        """This is going to be shown, whoever shows it. Raises `NotOurs`."""
        debt.final = (final, outcome)
        try:
            is_ours = await self._store.record(debt.event_id, self.owner, final=encode_final(final, outcome))
        except StateError as error:
            # It is delivered all the same; only a crash before that would have it written anew.
            log.error("final_not_recorded", trace_id=debt.trace_id, reason=str(error))  # noqa: TRY400 - an expected fault
            return
        if not is_ours:
            raise NotOurs

    async def settle(self, debt: Debt) -> None:
        """The answer was delivered, or there is nobody to deliver it to. What was said is forgotten here."""
        if not debt.is_settled:
            await self._store.settle(debt.event_id, self.owner)
            debt.is_settled = True

    async def release(self, debt: Debt) -> None:
        """Hand the debt over to whoever looks first."""
        if not debt.is_settled:
            await self._store.release(debt.event_id, self.owner)
            debt.is_settled = True

    async def permit(self, debt: Debt) -> bool:
        """Whether the answer is still ours to write. Costs nothing as long as our heart was heard of late.

        A process that stood still (a paused container, a laptop's lid) wakes up in the middle of its work, and must
        not write over what another one has finished since.
        """
        if self._clock() - self._beaten_at < self._lapse_s / 2:
            return True
        return await self._is_ours(debt.event_id)

    async def ensure_ours(self, debt: Debt) -> None:
        """Raises `NotOurs`, as `permit` has it. A store that does not tell is no reason to keep an answer back."""
        with contextlib.suppress(StateError):
            if not await self.permit(debt):
                raise NotOurs

    async def follower(self, debt: Debt) -> OwedTurn | None:
        """The question that waits right behind this one."""
        return await self._store.follower(debt.event_id)

    async def join(self, debt: Debt, follower: OwedTurn, inbound: Inbound) -> Inbound | None:
        """Make one question of this one and its follower; None if that cannot be done any more."""
        other = decode(follower.payload, 0.0)
        if other.is_edit or other.answer_into or other.instead or inbound.instead or other.about != inbound.about:
            return None
        joint = replace(inbound, text=f"{inbound.text}\n{other.text}")
        payload = encode(joint)
        if not await self._store.absorb(debt.event_id, self.owner, follower=follower.event_id, payload=payload):
            return None
        debt.inbound = joint
        return joint

    async def prune(self, *, days: float) -> int:
        """Forget settled questions' claims older than this; how many."""
        return await self._store.prune(before=self._now() - days * 86_400)

    # All of them.

    def hurry(self) -> None:
        """Look now for what is there to take over."""
        self._hurry.set()

    async def watch(
        self,
        *,
        active: Callable[[], Collection[str]],
        take: Callable[[Debt], None],
        lost: Callable[[str], None],
    ) -> None:
        """Beat and look around until cancelled.

        Args:
            active: The events whose answers this process works on.
            take: Gets every debt that becomes ours.
            lost: Told of every active event that became somebody else's.
        """
        while True:
            self._hurry.clear()
            try:
                await self.beat(active=active, lost=lost)
                for debt in await self.unpaid():
                    take(debt)
            except StateError as error:
                log.error("heartbeat_failed", reason=str(error))  # noqa: TRY400 - an expected fault
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await self._hurry.wait()

    async def beat(self, *, active: Callable[[], Collection[str]], lost: Callable[[str], None]) -> None:
        """Say that we are alive, and see whether what we work on is still ours."""
        before, began = frozenset(active()), self._clock()
        owned = await self._store.beat(self.owner)
        self._beaten_at = began
        for event_id in before - owned:
            if event_id in active() and not await self._is_ours(event_id):
                lost(event_id)
        # A turn that is ours by the record and that we know nothing of: its claim was made, and its answer lost.
        strays = owned - frozenset(active())
        for event_id in strays & self._strays:
            await self._store.release(event_id, self.owner)
        self._strays = strays

    async def unpaid(self) -> list[Debt]:
        """What others accepted and cannot answer any more, oldest first; debts older than a day are dropped.

        The clock that `received_at` was read from died with that process, so waiting is counted from now on.
        """
        for other in await self._store.owners():
            if is_dead(other, me=self.owner):
                await self._store.bury(other)
        debts = []
        for turn in await self._store.take_over(self.owner, lapse_s=self._lapse_s):
            if self._now() - turn.accepted_at > WORTH_S:
                log.error("turn_given_up", trace_id=turn.trace_id, reason="owed for more than a day")
                await self._store.settle(turn.event_id, self.owner)
                continue
            try:
                debts.append(self._debt(turn))
            except Unreadable as error:
                log.error("turn_given_up", trace_id=turn.trace_id, reason=str(error))  # noqa: TRY400 - says it all
                await self._store.settle(turn.event_id, self.owner)
                continue
            log.info("turn_taken", trace_id=turn.trace_id, tries=turn.tries)
        return debts

    def _debt(self, turn: OwedTurn) -> Debt:
        return Debt(
            inbound=decode(turn.payload, self._clock()),
            trace_id=turn.trace_id,
            lane=turn.lane,
            accepted_at=turn.accepted_at,
            tries=turn.tries,
            message_id=turn.message_id,
            final=decode_final(turn.final) if turn.final else None,
        )

    async def lead(self, name: str) -> bool:
        """Whether we are the one who does `name`; ask again every `BEAT_S`."""
        return await self._store.lead(name, self.owner, lapse_s=self._lapse_s)

    async def resign(self, name: str) -> None:
        """Let another replica do `name`."""
        await self._store.resign(name, self.owner)

    async def _is_ours(self, event_id: str) -> bool:
        return await self._store.record(event_id, self.owner)
