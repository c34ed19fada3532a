"""A question that others may still join, until something of its answer is about to be shown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from adapters.ports import Inbound


class Joining:
    """One question while its answer is being made."""

    def __init__(self, inbound: Inbound) -> None:
        self.inbound = inbound
        self.grew = asyncio.Event()
        """Set when the question has grown and its answer has to begin anew."""
        self.is_over = False
        self._lock = asyncio.Lock()

    async def add(self, join: Callable[[Inbound], Awaitable[Inbound | None]]) -> bool:
        """Let `join` make one question of this one and another (None: it cannot); False if it is too late."""
        async with self._lock:
            joint = None if self.is_over else await join(self.inbound)
            if joint is None:
                return False
            self.inbound = joint
            self.grew.set()
            return True

    async def close(self) -> bool:
        """Something is about to be shown: nobody joins from now on. False if the question has grown before."""
        async with self._lock:
            self.is_over = not self.grew.is_set()
            return self.is_over

    async def until_shown(self) -> None:
        """Return when the answer may be shown; never, if its question has grown: it is begun anew then."""
        if not self.is_over and not await self.close():
            await asyncio.Event().wait()
