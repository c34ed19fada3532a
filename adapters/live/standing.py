"""What stands on the platform for one answer, as far as is known, and what differs from what should."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

from adapters.live.composer import Target
from adapters.live.surface import S
from adapters.ports import Method


@dataclass(slots=True)
class _Slot(Generic[S]):
    """One message of the platform."""

    message_id: str
    shown: S | None
    """What is known to be on the screen; None after a call whose outcome is not known."""


@dataclass(frozen=True, slots=True)
class Change(Generic[S]):
    """A message to bring to a target; None: to take away."""

    index: int
    target: Target[S] | None


class Standing(Generic[S]):
    """The messages of one answer, in order.

    Args:
        handle: The `handle` of messages that are there already.
    """

    def __init__(self, handle: str | None = None) -> None:
        self._slots: list[_Slot[S]] = [_Slot(i, None) for i in handle.split(",")] if handle else []

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def handle(self) -> str:
        """How to find all of them again."""
        return ",".join(slot.message_id for slot in self._slots)

    def message_id(self, index: int) -> str:
        """The platform's id of a message."""
        return self._slots[index].message_id

    def difference(self, targets: Sequence[Target[S]], *, is_final: bool) -> Change[S] | None:
        """The first message that is not what it should be; of a finished answer also one too many."""
        for index, target in enumerate(targets):
            if index >= len(self._slots) or self._slots[index].shown != target.screen:
                return Change(index, target)
        if is_final and len(self._slots) > len(targets):
            return Change(len(self._slots) - 1, None)
        return None

    def method(self, change: Change[S]) -> Method:
        """The kind of call that a change takes."""
        if change.target is None:
            return "delete"
        return "edit" if change.index < len(self._slots) else "post"

    def posted(self, message_id: str) -> None:
        """There is one more message."""
        self._slots.append(_Slot(message_id, None))

    def became(self, index: int, message_id: str) -> None:
        """This is another message now."""
        self._slots[index] = _Slot(message_id, None)

    def shows(self, index: int, screen: S) -> bool:
        """The message shows this; whether that was not known of it before."""
        slot = self._slots[index]
        is_news = slot.shown is None
        slot.shown = screen
        return is_news

    def is_uncertain(self, index: int) -> None:
        """A call for this message may or may not have been carried out."""
        self._slots[index].shown = None

    def removed(self) -> None:
        """The last message is not there any more."""
        self._slots.pop()
