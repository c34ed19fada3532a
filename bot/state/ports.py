"""What the process needs of its state: claims, owed turns and a few kept values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class OwedTurn:
    """A question that was accepted and whose answer is not settled yet."""

    event_id: str
    trace_id: str
    platform: str
    payload: bytes
    """The `Inbound` as JSON: enough to answer again."""
    accepted_at: float
    """Seconds since the epoch."""
    message_id: str | None = None
    """The message the answer is growing in, once the platform has told its id."""


class TurnStore(Protocol):
    """Claims and owed turns. A claim and the debt it creates are one atomic write."""

    async def claim(self, turn: OwedTurn) -> bool:
        """Record the event and owe its answer; False if the event was recorded before (a repeated delivery)."""
        ...

    async def posted(self, event_id: str, message_id: str) -> None:
        """The answer now grows in this message."""
        ...

    async def settle(self, event_id: str) -> None:
        """The answer was delivered, or there is nobody to deliver it to any more."""
        ...

    async def owed(self) -> list[OwedTurn]:
        """Everything accepted and not settled, oldest first."""
        ...

    async def prune(self, *, before: float) -> int:
        """Forget settled turns accepted before this time (seconds since the epoch); how many they were."""
        ...
