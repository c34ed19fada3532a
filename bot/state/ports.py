"""What the process needs of its state; `tests/state/contract.py` holds every implementation to it.

An *owner* is one start of one process (`bot/state/owners.py`). Whoever owns a turn is the only one to answer it: every
write names the owner it comes from, and is refused once another one has taken the turn over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

REFUSED = -1
"""The place of a turn for which its lane had no room: it is answered with a refusal, outside of the lane."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwedTurn:
    """A question that was accepted and whose answer is not settled yet."""

    event_id: str
    trace_id: str
    platform: str
    lane: str
    """Whose turn comes after whose; empty: it was refused a place."""
    payload: bytes
    """The `Inbound` as JSON: enough to answer again. Empty: somebody waits for it on a connection, and nobody will
    once its owner is gone."""
    accepted_at: float
    """Seconds since the epoch."""
    owner: str
    tries: int = 1
    """How many owners it has had, this one included."""
    message_id: str | None = None
    """The messages that the answer grows in, as the platform's `on_posted` told."""
    final: bytes | None = None
    """The final text as JSON, once it is known."""


Standing = Literal["ours", "theirs", "settled"]


class TurnStore(Protocol):
    """Claims, owed turns and their lanes. A claim and the debt that it creates are one atomic write."""

    async def claim(self, turn: OwedTurn, *, most_waiting: int) -> int | None:
        """Record the event, owe its answer and put it in its lane.

        Returns:
            How many are before it in the lane (0: it may run), `REFUSED`, or None if the event was recorded before.
        """
        ...

    async def position(self, event_id: str) -> int | None:
        """How many are before it in its lane; None if there is nothing left to do for it."""
        ...

    async def follower(self, event_id: str) -> OwedTurn | None:
        """What comes right after this one, if this one is the first of its lane."""
        ...

    async def absorb(self, event_id: str, owner: str, *, follower: str, payload: bytes) -> bool:
        """Let the first of a lane answer its follower, too: it gets the joint `payload`, the follower is settled."""
        ...

    async def record(
        self, event_id: str, owner: str, *, message_id: str | None = None, final: bytes | None = None
    ) -> bool:
        """Add what is known of the answer; False if the turn is not this owner's (any more)."""
        ...

    async def settle(self, event_id: str, owner: str) -> bool:
        """Nothing is owed any more: only the claim is kept. False if the turn is not this owner's (any more)."""
        ...

    async def release(self, event_id: str, owner: str) -> None:
        """Hand the turn over: whoever asks next for what is there to take over gets it."""
        ...

    async def beat(self, owner: str) -> frozenset[str]:
        """This owner is alive; the events of the turns it owns."""
        ...

    async def owners(self) -> frozenset[str]:
        """Everybody who has ever beaten and was not taken over."""
        ...

    async def bury(self, owner: str) -> None:
        """This owner is known to be dead: no need to wait until its heartbeat lapses."""
        ...

    async def take_over(self, owner: str, *, lapse_s: float) -> list[OwedTurn]:
        """Become the owner of all turns whose owner has been silent for so long, or that were handed over.

        Returns them oldest first. Turns without a payload are settled instead: nobody waits for them any more.
        """
        ...

    async def lead(self, name: str, owner: str, *, lapse_s: float) -> bool:
        """Be the one who does `name` (e.g. polls a bot) until `resign` or until the heartbeat lapses."""
        ...

    async def resign(self, name: str, owner: str) -> None:
        """Let somebody else lead."""
        ...

    async def ask_stop(self, lane: str) -> str | None:
        """Ask whoever owns the first of this lane to stop it; its event, or None if nothing is in the lane."""
        ...

    async def stopping(self) -> frozenset[str]:
        """The events that were asked to stop and are not settled."""
        ...

    async def prune(self, *, before: float) -> int:
        """Forget the claims of settled turns accepted before this time (seconds since the epoch); how many."""
        ...


class Journal(TurnStore, Protocol):
    """A process's own record beside a shared one: what to go by while the shared one is away."""

    async def keep(self, turn: OwedTurn, *, is_shared: bool) -> bool:
        """Record the turn as it is; False if it is settled already. `is_shared`: the shared store knows it so."""
        ...

    async def keep_new(self, turn: OwedTurn) -> bool:
        """Record a turn that the shared store has just been told of; False if anything is known of its event."""
        ...

    async def note_unshared(self, event_id: str) -> None:
        """The shared store does not know how this turn stands."""
        ...

    async def get(self, event_id: str) -> OwedTurn | None:
        """The turn as it is kept here; None if it is settled or unknown."""
        ...

    async def unshared(self, owner: str) -> tuple[list[tuple[OwedTurn, bool]], list[str]]:
        """What the shared store may not know: changed turns and this owner's others, in order, and settled events.

        The bool says which turns changed since the shared store was last told.
        """
        ...

    async def note_shared(self, event_id: str) -> None:
        """The shared store knows how this turn stands."""
        ...

    async def forget(self, event_id: str) -> None:
        """Settle it whoever owns it: the shared store says that it is somebody else's, or done."""
        ...
