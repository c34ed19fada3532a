"""A fixed, safe pace per chat and per bot, kept in this process."""

from __future__ import annotations

import time
from collections.abc import Callable

from adapters.ports import Priority

_RESERVED = 5
"""Calls of the bot's burst that previews leave to finals, first texts and replies."""


class FixedPace:
    """A `Budget`: at most one call per interval and chat, and so many per second for the bot.

    Args:
        interval_s: Seconds between two calls in a chat, by the chat's id.
        per_second: Calls per second over all chats; as many may go at once after a quiet second.
        now: Monotonic seconds.
    """

    def __init__(
        self,
        *,
        interval_s: Callable[[str], float],
        per_second: float = 25.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval_s = interval_s
        self._rate = per_second
        self._now = now
        self._level = per_second
        self._filled_at = now()
        self._free_at: dict[str, float] = {}

    async def take(self, chat: str, priority: Priority) -> float:
        """Spend one call, or say how many seconds later to ask again."""
        now = self._now()
        self._level = min(self._rate, self._level + (now - self._filled_at) * self._rate)
        self._filled_at = now
        needed = 1 + (_RESERVED if priority >= Priority.PREVIEW else 0)
        wait_s = max(self._free_at.get(chat, now) - now, (needed - self._level) / self._rate, 0.0)
        if wait_s > 1e-9:
            return wait_s
        self._level -= 1
        self._free_at[chat] = now + self._interval_s(chat)
        self._forget(now)
        return 0.0

    async def throttled(self, chat: str, retry_after_s: float) -> None:
        """Nothing for this chat until the penalty is over."""
        self._free_at[chat] = max(self._free_at.get(chat, 0.0), self._now() + retry_after_s)

    def _forget(self, now: float) -> None:
        if len(self._free_at) > 10_000:
            self._free_at = {chat: at for chat, at in self._free_at.items() if at > now}
