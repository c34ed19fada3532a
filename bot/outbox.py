"""Answers owed: recorded before the platform is told that the question arrived, settled once it was answered."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import orjson

from adapters.ports import Inbound
from bot.state.ports import OwedTurn, TurnStore
from bot.turn import new_trace_id

WORTH_S = 24 * 3600.0
"""An answer that comes a day late is of no use any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Debt:
    """A question that was accepted and not answered yet."""

    inbound: Inbound
    trace_id: str
    message_id: str | None = None
    """The message that the interrupted answer was growing in."""


class Outbox:
    """The debts of this process, kept in the state store."""

    def __init__(
        self,
        store: TurnStore,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._now = now
        self._clock = clock

    async def owe(self, inbound: Inbound) -> Debt | None:
        """Record the event and the debt of an answer in one write; None if this event was recorded before."""
        debt = Debt(inbound=inbound, trace_id=new_trace_id())
        is_new = await self._store.claim(
            OwedTurn(
                event_id=inbound.event_id,
                trace_id=debt.trace_id,
                platform=inbound.platform,
                payload=orjson.dumps(asdict(inbound)),
                accepted_at=self._now(),
            )
        )
        return debt if is_new else None

    async def posted(self, debt: Debt, message_id: str) -> None:
        """The answer grows in this message from now on."""
        await self._store.posted(debt.inbound.event_id, message_id)

    async def settle(self, debt: Debt) -> None:
        """The answer was delivered, or there is nobody to deliver it to."""
        await self._store.settle(debt.inbound.event_id)

    async def unpaid(self) -> list[Debt]:
        """What an earlier process accepted and did not answer, oldest first; debts older than a day are dropped.

        The clock that `received_at` was read from died with that process, so waiting is counted from now on.
        """
        debts = []
        for owed in await self._store.owed():
            if self._now() - owed.accepted_at > WORTH_S:
                await self._store.settle(owed.event_id)
                continue
            inbound = replace(Inbound(**orjson.loads(owed.payload)), received_at=self._clock())
            debts.append(Debt(inbound=inbound, trace_id=owed.trace_id, message_id=owed.message_id))
        return debts

    async def prune(self, *, days: float) -> int:
        """Forget settled questions' claims older than this; how many."""
        return await self._store.prune(before=self._now() - days * 86_400)
