"""What may be read at a place, whatever the place was called when somebody wrote it into the settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from adapters.ports import Platform
from bot.access import Access

_MOST_MOVES = 5


class Moves(Protocol):
    """Remembers which place another one was before."""

    async def note(self, platform: Platform, old: str, new: str) -> None: ...

    async def former(self, platform: Platform, place: str) -> str | None: ...


class Places:
    """Access by place, moves included.

    A place that has an entry of its own in `GRAPEVINE_ACCESS` goes by that, and else by the entry of what it was
    before; where no move is known, by what holds for the whole platform, like any place that nobody has named.
    """

    def __init__(self, access: Access, moves: Moves, *, existing: Callable[[], Awaitable[frozenset[str]]]) -> None:
        """`existing` gives all collections that hold documents."""
        self._access = access
        self._moves = moves
        self._existing = existing

    async def may_read(self, platform: Platform, place: str = "") -> frozenset[str]:
        """The collections that may be read at this place. May raise `StateError`."""
        named = await self._named(platform, place)
        return self._access.may_read(platform, named, existing=await self._existing())

    async def moved(self, platform: Platform, old: str, new: str) -> None:
        """`old` goes on as `new`. Raises `StateError`."""
        await self._moves.note(platform, old, new)

    async def _named(self, platform: Platform, place: str) -> str:
        """The name under which this place is in the settings; its own where it is not there."""
        if not self._access.names_places_of(platform):
            return place
        known: str | None = place
        for _ in range(_MOST_MOVES):
            if known is None:
                break
            if self._access.names(platform, known):
                return known
            known = await self._moves.former(platform, known)
        return place
