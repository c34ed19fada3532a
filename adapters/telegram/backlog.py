"""Questions that waited while no bot was there: beyond a certain age one apology a chat instead of stale answers.

An age is the difference of two readings of Telegram's clock: the message's own date, and the time that the server's
last answer told (`TelegramSession.server_time`). This machine's clock may be wrong by any amount: a live question never
looks old because of that, and a date in the future is simply young. docs/decisions/0149 says why not by comparing ages.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace

from adapters.ports import Inbound

log = logging.getLogger(__name__)

Accept = Callable[[Inbound], Awaitable[None]]

_MOST_CHATS = 100_000
_WINDOW_S = 3600.0
"""A chat that got its apology gets no other within this time."""


class Backlog:
    """Stands before `accept` and lets young questions through.

    Args:
        accept: Takes a question, or the one that stands for all old ones of a chat; has recorded it when it returns.
        limit_s: The age from which a question is old; 0: never.
        server_time: Seconds since the epoch, by Telegram's clock.
        quiet_s: After so long without an old question it is said how many there were.
    """

    def __init__(
        self, accept: Accept, *, limit_s: float, server_time: Callable[[], float], quiet_s: float = 2.0
    ) -> None:
        self._accept = accept
        self._limit_s = limit_s
        self._server_time = server_time
        self._quiet_s = quiet_s
        self._sorry: OrderedDict[str, float] = OrderedDict()
        self._old = 0
        self._chats = 0
        self._telling: asyncio.TimerHandle | None = None

    async def accept(self, inbound: Inbound) -> None:
        """Take a question; when this returns, it may be confirmed to Telegram."""
        now = self._server_time()
        if not self._limit_s or inbound.sent_at is None or now - inbound.sent_at <= self._limit_s:
            await self._accept(inbound)
            return
        if now - self._sorry.get(inbound.conversation, float("-inf")) >= _WINDOW_S:
            # An event of its own name: a second start, or another replica, does not apologise once more.
            bot = inbound.event_id.rpartition(":")[0]
            event_id = f"{bot}:late:{inbound.conversation}:{int(now // _WINDOW_S)}"
            await self._accept(replace(inbound, event_id=event_id, instead="late"))
            self._sorry[inbound.conversation] = now
            self._chats += 1
            if len(self._sorry) > _MOST_CHATS:
                self._sorry.popitem(last=False)
        self._old += 1
        if self._telling is not None:
            self._telling.cancel()
        self._telling = asyncio.get_running_loop().call_later(self._quiet_s, self.tell)

    def tell(self) -> None:
        """Log how many questions were old since this was last told."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        if self._old:
            log.warning(
                "%d questions had waited for more than %g s and are not answered; %d chats get an apology",
                self._old,
                self._limit_s,
                self._chats,
            )
        self._old = self._chats = 0
