"""Authorise, deduplicate, accept: what happens to an event before and while its answer is written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from adapters.ports import Inbound, LiveMessage, Platform, StopOutcome, StopRequest
from bot.lanes import Lanes
from bot.outbox import Debt, Outbox
from bot.turn import Turns

log = structlog.get_logger(__name__)


class ChatPlatform(Protocol):
    """What intake needs of a platform whose messages can be edited."""

    def open_message(
        self, inbound: Inbound, *, on_posted: Callable[[str], Awaitable[None]] | None = None
    ) -> LiveMessage:
        """A message that will grow where the question was asked."""
        ...

    def reopen_message(
        self, inbound: Inbound, message_id: str, *, on_posted: Callable[[str], Awaitable[None]] | None = None
    ) -> LiveMessage:
        """The message that an interrupted answer was growing in."""
        ...


MayRead = Callable[[Platform, str], Awaitable[frozenset[str]]]
"""Platform and place to the collections that may be read there."""


class Intake:
    """Takes questions from platforms that are told once when an event has been accepted (Telegram, Slack)."""

    def __init__(
        self,
        *,
        turns: Turns,
        lanes: Lanes,
        outbox: Outbox,
        may_read: MayRead,
        admins: frozenset[str] = frozenset(),
    ) -> None:
        """Wire the parts; `admins` are named `platform:person` and may stop anybody's answer."""
        self._turns = turns
        self._lanes = lanes
        self._outbox = outbox
        self._may_read = may_read
        self._admins = admins
        self._platforms: dict[Platform, ChatPlatform] = {}
        self._notices: set[asyncio.Task[None]] = set()

    def connect(self, name: Platform, platform: ChatPlatform) -> None:
        """From now on, events of this platform are answered through `platform`."""
        self._platforms[name] = platform

    async def accept(self, inbound: Inbound) -> None:
        """Record the question and queue its answer. When this returns, the event may be confirmed.

        Raises:
            StateError: If it could not be recorded; the platform should deliver it again.
        """
        if debt := await self._outbox.owe(inbound):
            self._queue(debt)

    async def stop(self, request: StopRequest) -> StopOutcome:
        """Stop the answer that is being written for `asker`, if `presser` may."""
        is_allowed = request.presser == request.asker or f"{request.platform}:{request.presser}" in self._admins
        if not is_allowed:
            return "refused"
        return "stopped" if self._lanes.stop(_lane(request.platform, request.conversation, request.asker)) else "idle"

    async def resume(self) -> int:
        """Take up what an earlier process owed on the connected platforms; how many answers that is."""
        debts = [debt for debt in await self._outbox.unpaid() if debt.inbound.platform in self._platforms]
        for debt in debts:
            self._queue(debt)
        return len(debts)

    async def drain(self, *, timeout_s: float) -> bool:
        """Let running answers come to their end; what is cut off stays owed."""
        is_complete = await self._lanes.drain(timeout_s=timeout_s)
        await asyncio.gather(*self._notices, return_exceptions=True)
        return is_complete

    def _queue(self, debt: Debt) -> None:
        inbound = debt.inbound

        async def answer(stop: asyncio.Event) -> None:
            await self._answer(debt, stop)

        if self._lanes.submit(_lane(inbound.platform, inbound.conversation, inbound.sender), answer) == "full":
            notice = asyncio.create_task(self._refuse(debt))
            self._notices.add(notice)
            notice.add_done_callback(self._notices.discard)

    async def _answer(self, debt: Debt, stop: asyncio.Event) -> None:
        try:
            # Asked now and not when the question was queued: access may have been taken away in between.
            collections = await self._may_read(debt.inbound.platform, debt.inbound.place)
            await self._turns.run(
                debt.inbound, self._message(debt), collections=collections, stop=stop, trace_id=debt.trace_id
            )
            await self._outbox.settle(debt)
        except Exception:  # one of the three edges that must not die; the answer stays owed
            log.exception("turn_not_settled", trace_id=debt.trace_id)

    async def _refuse(self, debt: Debt) -> None:
        try:
            await self._turns.refuse(debt.inbound, self._message(debt), "queue_full", trace_id=debt.trace_id)
            await self._outbox.settle(debt)
        except Exception:  # the same edge
            log.exception("turn_not_settled", trace_id=debt.trace_id)

    def _message(self, debt: Debt) -> LiveMessage:
        async def on_posted(message_id: str) -> None:
            await self._outbox.posted(debt, message_id)

        platform = self._platforms[debt.inbound.platform]
        if debt.message_id is None:
            return platform.open_message(debt.inbound, on_posted=on_posted)
        return platform.reopen_message(debt.inbound, debt.message_id, on_posted=on_posted)


def _lane(platform: Platform, conversation: str, person: str) -> str:
    return f"{platform}:{conversation}:{person}"
