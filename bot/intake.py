"""Authorise, deduplicate, accept: what happens to an event before and while its answer is written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Protocol

import structlog

from adapters.ports import Final, Inbound, LiveMessage, Platform, StopOutcome, StopRequest
from bot import edits
from bot.allowance import Allowance
from bot.instead import OUTCOME, sentence
from bot.joining import Joining
from bot.lanes import Lanes, Run
from bot.outbox import Debt, NotOurs, Outbox
from bot.state.sqlite import StateError
from bot.turn import Turns
from bot.words import word
from rag.generate.phrases import failure_text
from rag.language import detect

log = structlog.get_logger(__name__)

JOIN_S = 1.0
"""A message that comes so soon after another, and before anything is to be seen of its answer, belongs to it."""
MOST_TRIES = 10
"""So many owners began this answer and none ended it: it gets a fixed sentence, lest it take down the next one, too."""
_LONGEST_PAUSE_S = 30.0

OnPosted = Callable[[str], Awaitable[None]]
OnDelivered = Callable[[], Awaitable[None]]
Permit = Callable[[], Awaitable[bool]]


class OwedMessage(LiveMessage, Protocol):
    """A live message that can be left as it is."""

    async def close(self) -> None:
        """Stop at once, wherever it is; what is still owed can be continued by reopening it."""
        ...


class ChatPlatform(Protocol):
    """What intake needs of a platform whose messages can be edited."""

    def open_message(
        self,
        inbound: Inbound,
        *,
        on_posted: OnPosted | None = None,
        on_delivered: OnDelivered | None = None,
        permit: Permit | None = None,
    ) -> OwedMessage:
        """A message that will grow where the question was asked."""
        ...

    def reopen_message(
        self,
        inbound: Inbound,
        message_id: str,
        *,
        on_posted: OnPosted | None = None,
        on_delivered: OnDelivered | None = None,
        permit: Permit | None = None,
    ) -> OwedMessage:
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
        past: edits.Past | None = None,
        allowance: Allowance | None = None,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Wire the parts; `admins` are named `platform:person` and may stop anybody's answer.

        Without `past` a changed question is answered like a new one; without `allowance` everybody may ask any number.
        """
        self._turns = turns
        self._lanes = lanes
        self._outbox = outbox
        self._may_read = may_read
        self._admins = admins
        self._past = past
        self._allowance = allowance
        self._now = now
        self._sleep = sleep
        self._platforms: dict[Platform, ChatPlatform] = {}
        self._work: dict[str, asyncio.Task[None]] = {}
        self._debts: dict[str, Debt] = {}
        self._parked: set[str] = set()

    def connect(self, name: Platform, platform: ChatPlatform) -> None:
        """From now on, events of this platform are answered through `platform`."""
        self._platforms[name] = platform

    async def accept(self, inbound: Inbound) -> None:
        """Record the question and queue its answer. When this returns, the event may be confirmed.

        Raises:
            StateError: If it could not be recorded; the platform should deliver it again.
        """
        # Shielded: once the claim is made, its answer has to be begun, whoever stops waiting for us.
        await asyncio.shield(asyncio.ensure_future(self._accept(inbound)))

    async def stop(self, request: StopRequest) -> StopOutcome:
        """Stop the answer that is being written for `asker`, if `presser` may."""
        is_allowed = request.presser == request.asker or f"{request.platform}:{request.presser}" in self._admins
        if not is_allowed:
            return "refused"
        is_running = await self._lanes.stop(lane_of(request.platform, request.conversation, request.asker))
        return "stopped" if is_running else "idle"

    async def watch(self) -> None:
        """Until cancelled: keep what is ours, take up what others owe and cannot deliver any more."""
        await self._outbox.watch(active=self._active, take=self.take, lost=self._lost)

    def take(self, debt: Debt) -> None:
        """Finish what an earlier owner began."""
        if debt.inbound.platform not in self._platforms:
            # Its token was taken out of the settings: the next start may have it again.
            log.warning("turn_parked", trace_id=debt.trace_id, platform=debt.inbound.platform)
            self._parked.add(debt.event_id)
            return
        self._begin(debt)

    async def drain(self, *, timeout_s: float) -> bool:
        """Let running answers come to their end and hand over the rest; False if some had to be cut off."""
        self._lanes.close()
        beating = asyncio.create_task(self._beat_on())
        late: set[asyncio.Task[None]] = set()
        if self._work:
            _, late = await asyncio.wait(self._work.values(), timeout=timeout_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        return not late

    # Inside.

    async def _accept(self, inbound: Inbound) -> None:
        if self._allowance is not None and inbound.instead is None:
            verdict = await self._allowance.verdict(inbound)
            if verdict is not None and not verdict.is_news:
                self._turns.ignore(inbound, "limited")
                return
            inbound = inbound if verdict is None else replace(inbound, instead=verdict.why)
        lane = lane_of(inbound.platform, inbound.conversation, inbound.sender)
        # A fixed sentence waits for no answer, and no question is joined with one that gets none.
        debt = await self._outbox.owe(inbound, lane if inbound.instead is None else f"{lane}:{inbound.instead}")
        if debt is not None:
            self._begin(debt)
            if debt.place > 0:
                self._lanes.wake(debt.lane)
                if edits.changes_the_running(debt, self._debts.values()):
                    await self._lanes.stop(debt.lane)

    def _begin(self, debt: Debt) -> None:
        former = self._work.get(debt.event_id)
        if former is not None:
            # We were taken for dead and have our own turn back: what we were doing is void, and hands nothing over.
            self._debts[debt.event_id].is_settled = True
            former.cancel()
        self._debts[debt.event_id] = debt
        self._work[debt.event_id] = task = asyncio.create_task(self._see_through(debt, former))
        task.add_done_callback(partial(self._ended, debt.event_id))

    def _ended(self, event_id: str, task: asyncio.Task[None]) -> None:
        if self._work.get(event_id) is task:
            del self._work[event_id], self._debts[event_id]

    def _active(self) -> frozenset[str]:
        return frozenset(event for event, debt in self._debts.items() if not debt.is_settled) | self._parked

    def _lost(self, event_id: str) -> None:
        self._parked.discard(event_id)
        if event_id in self._work:
            log.warning("turn_lost", reason="another process has taken it over")
            self._work[event_id].cancel()

    async def _beat_on(self) -> None:
        while True:
            with suppress(StateError):
                await self._outbox.beat(active=self._active, lost=self._lost)
            await asyncio.sleep(2.0)

    async def _see_through(self, debt: Debt, former: asyncio.Task[None] | None) -> None:
        """Answer, however often it takes; whatever ends this before hands the debt over."""
        if former is not None:
            await asyncio.wait({former})
        run = self._lanes.enter(debt.lane, debt.event_id)
        failures = 0
        try:
            while not await self._attempt(debt, run):
                failures += 1
                await self._sleep(min(_LONGEST_PAUSE_S, 0.5 * 2**failures))
        except asyncio.CancelledError:
            with suppress(StateError):
                await self._outbox.release(debt)
            raise
        finally:
            self._lanes.leave(run)

    async def _attempt(self, debt: Debt, run: Run) -> bool:
        """One attempt to get it answered; False if another one has to follow."""
        message = self._message(debt)
        try:
            if debt.place > 0:
                message.status(word("queued", detect(debt.inbound.text)))
            match await self._lanes.wait_turn(run):
                case "closing":
                    await self._outbox.release(debt)
                case "now":
                    async with self._lanes.slot():
                        known = debt.message_id
                        if await edits.settle_place(debt, self._past, self._outbox):
                            if debt.message_id != known:
                                await message.close()
                                message = self._message(debt)
                            await self._answer(debt, run, message)
                        await self._outbox.settle(debt)
                case "gone":
                    pass  # joined with the one before, or finished elsewhere
        except NotOurs:
            log.info("turn_taken_over", trace_id=debt.trace_id)
        except Exception:  # one of the three edges that must not die; the answer stays owed
            log.exception("turn_not_settled", trace_id=debt.trace_id)
            return False
        finally:
            await message.close()
        return True

    async def _answer(self, debt: Debt, run: Run, message: OwedMessage) -> None:
        inbound, trace_id = debt.inbound, debt.trace_id
        if debt.final is not None:
            await self._turns.deliver(inbound, message, *debt.final, trace_id=trace_id, handle=lambda: debt.message_id)
        elif inbound.instead is not None:
            final, outcome = sentence(inbound, inbound.instead), OUTCOME[inbound.instead]
            await self._turns.deliver(inbound, message, final, outcome, trace_id=trace_id)
        elif not debt.lane:
            await self._turns.refuse(inbound, message, "queue_full", trace_id=trace_id, handle=lambda: debt.message_id)
        elif debt.tries > MOST_TRIES:
            sorry = Final(text=failure_text("internal", detect(inbound.text)), can_retry=True)
            await self._turns.deliver(inbound, message, sorry, "failed", trace_id=trace_id)
        else:
            # Asked now and not when the question was queued: access may have been taken away in between.
            collections = await self._may_read(inbound.platform, inbound.place)
            joining = Joining(inbound)
            # Part of the answer to the first question alone may be on the screen already.
            joining.is_over = debt.message_id is not None
            joiner = asyncio.create_task(self._let_join(debt, run, joining))
            try:
                result = await self._turns.run(
                    inbound,
                    message,
                    collections=collections,
                    stop=run.stop,
                    trace_id=trace_id,
                    joining=joining,
                    before_kept=partial(self._outbox.ensure_ours, debt),
                    before_final=partial(self._outbox.decided, debt),
                    handle=lambda: debt.message_id,
                    asked_at=debt.accepted_at,
                )
                if self._allowance is not None:
                    await self._allowance.spend(inbound, result.tokens)
            finally:
                joiner.cancel()
                await asyncio.gather(joiner, return_exceptions=True)

    async def _let_join(self, debt: Debt, run: Run, joining: Joining) -> None:
        """Let questions that follow at once be answered along, while nothing is visible."""
        while not joining.is_over:
            run.changed.clear()
            follower = await self._outbox.follower(debt)
            if follower is not None and follower.payload and follower.accepted_at - debt.accepted_at <= JOIN_S:
                if not await joining.add(partial(self._outbox.join, debt, follower)):
                    return
                if follower.event_id in self._debts:
                    self._debts[follower.event_id].is_settled = True
                self._lanes.wake(debt.lane)
                continue
            left_s = debt.accepted_at + JOIN_S - self._now()
            if left_s <= 0:
                return
            try:
                async with asyncio.timeout(left_s):
                    await run.changed.wait()
            except TimeoutError:
                return

    async def _posted(self, debt: Debt, message_id: str) -> None:
        await self._outbox.posted(debt, message_id)
        if debt.final is not None:
            # What is settled next may be followed at once by a press of a button, or a change of the question.
            await self._turns.note_shown(debt.trace_id, message_id)

    def _message(self, debt: Debt) -> OwedMessage:
        platform = self._platforms[debt.inbound.platform]
        posted, settle = partial(self._posted, debt), partial(self._outbox.settle, debt)
        permit = partial(self._outbox.permit, debt)
        if debt.message_id is None:
            return platform.open_message(debt.inbound, on_posted=posted, on_delivered=settle, permit=permit)
        return platform.reopen_message(
            debt.inbound, debt.message_id, on_posted=posted, on_delivered=settle, permit=permit
        )


def lane_of(platform: Platform, conversation: str, person: str) -> str:
    """The lane of a person in a conversation."""
    return f"{platform}:{conversation}:{person}"
