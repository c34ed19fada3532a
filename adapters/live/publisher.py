"""One answer on one platform: carries out what the pacer decides, and gets the whole answer there in the end.

Each step compares what should be on the screen with what is known to be there and makes at most one call, so that no
two calls are in flight for one message, a superseded preview is never sent, nothing identical is sent, and a final text
is done exactly when nothing differs any more.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Generic

from adapters.live.arrivals import Arrivals
from adapters.live.composer import Composer, Target
from adapters.live.errors import (
    ChatGone,
    MessageGone,
    Moved,
    NotModified,
    PlatformError,
    Rejected,
    Throttled,
    Unavailable,
)
from adapters.live.pacer import Edit, Finish, Rhythm, State, WaitUntil, backoff_s, decide
from adapters.live.standing import Change, Standing
from adapters.live.surface import Renderer, S, Transport
from adapters.ports import Budget, Call, Delivery, Final, Method, Priority, SourceLink

log = logging.getLogger(__name__)

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
_TURNS_BEFORE_FIRST = 20
_MOST_BEFORE_FIRST_S = 0.005


class Publisher(Generic[S]):
    """A `LiveMessage` over a renderer and a transport.

    Args:
        chat: What the budget counts by.
        now: Monotonic seconds, in step with the event loop's clock, which all waiting uses.
        on_posted: Told after each new message how to find them all again (see `reopen`).
        on_delivered: Told once the final text is on the screen.
        permit: Asked right before every call whether this answer is still ours; False ends it, as if it were gone.
        reopen: What `on_posted` was told last for this answer, to continue in the same messages.
        call_timeout_s: How long one call to the platform may take.
        give_up_s: How long a final text is worth delivering.
        renew_s: A preview that stands unchanged for so long is shown again: where it would vanish otherwise.
        spawn: Starts the background task, e.g. in the platform's own set of tasks.
    """

    def __init__(
        self,
        *,
        chat: str,
        renderer: Renderer[S],
        transport: Transport[S],
        budget: Budget,
        now: Callable[[], float] = time.monotonic,
        on_posted: Callable[[str], Awaitable[None]] | None = None,
        on_delivered: Callable[[], Awaitable[None]] | None = None,
        permit: Callable[[], Awaitable[bool]] | None = None,
        reopen: str | None = None,
        call_timeout_s: float = 10.0,
        give_up_s: float = 24 * 3600.0,
        renew_s: float | None = None,
        spawn: Spawn = asyncio.create_task,
    ) -> None:
        self._chat = chat
        self._ticket = secrets.token_hex(8)
        self._transport = transport
        self._budget = budget
        self._now = now
        self._on_posted = on_posted
        self._on_delivered = on_delivered
        self._permit = permit
        self._call_timeout_s = call_timeout_s
        self._give_up_s = give_up_s
        self._renew_s = renew_s
        self._shown_at = 0.0
        self._spawn = spawn
        self._composer = Composer(renderer)
        self._standing: Standing[S] = Standing(reopen)
        self._arrivals = Arrivals()
        self._rhythm = Rhythm()
        self._text = ""
        self._final: Final | None = None
        self._ended_at = 0.0
        self._has_news = False
        self._is_plain_next = False
        self._blocked_until = 0.0
        self._asked_until = 0.0
        self._wanted: Method | None = None
        self._has_asked_final = False
        self._failures = 0
        self._edits = 0
        self._throttled = 0
        self._orphans = 0
        self._is_delivered = False
        self._gone = asyncio.Event()
        self._wake = asyncio.Event()
        self._is_idle = False
        self._task: asyncio.Task[None] | None = None

    # The live message.

    def status(self, text: str) -> None:
        """Nothing: a placeholder would spend the call that the first words need."""

    def offer_sources(self, sources: tuple[SourceLink, ...]) -> None:
        """Remember what the text may link to."""
        self._composer.sources = sources

    def append(self, text: str) -> None:
        """More of the answer."""
        if not text or self._gone.is_set() or self._final is not None:
            return
        now = self._now()
        self._text += text
        self._arrivals.arrive(len(text), now)
        self._rhythm.arrived(now)
        self._has_news = True
        if self._is_idle:
            self._wake.set()
        self._start()

    async def finish(self, final: Final) -> Delivery:
        """Bring the final text on the screen, however long the platform makes it wait; then report.

        Raises what `on_posted` and `on_delivered` raise, and `CancelledError` after `close`.
        """
        is_failure = final.can_retry and not self._text
        if not is_failure:
            self._arrivals.arrive(len(final.text) - self._arrivals.length, self._now())
        self._final = final
        self._ended_at = self._now()
        self._asked_until = 0.0
        self._wanted = None
        self._wake.set()
        # The final text is owed even if nobody waits for this call any more: only `close` ends the delivery.
        await asyncio.shield(self._start())
        lag = self._arrivals.lag
        return Delivery(
            first_visible_at=lag.first_at,
            lag_ms=lag.mean_ms,
            edits=self._edits,
            throttled=self._throttled,
            parts=max(1, len(self._standing)),
            orphans=self._orphans,
            is_gone=self._gone.is_set(),
        )

    async def wait_gone(self) -> None:
        """Return once the message or its reader is gone."""
        await self._gone.wait()

    async def close(self) -> None:
        """Stop at once, wherever it is. What is still owed can be continued with `reopen`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # The work.

    def _start(self) -> asyncio.Task[None]:
        if self._task is None:
            self._task = self._spawn(self._run())
        return self._task

    async def _run(self) -> None:
        await self._let_it_complete()
        while not self._gone.is_set() and not self._is_delivered:
            self._wake.clear()
            self._renew()
            state = State(
                has_news=self._has_news,
                is_ended=self._final is not None,
                # A lost first post may stand on the screen for good: after one, only the final is worth the risk.
                may_preview=bool(self._standing) or not self._orphans,
                preview_at=self._rhythm.preview_at(),
                blocked_until=self._blocked_until,
                asked_until=self._asked_until,
            )
            match decide(state, self._now()):
                case WaitUntil(at=at):
                    await self._wait(at)
                case Edit():
                    if not await self._step():
                        self._has_news = False
                case Finish():
                    await self._finish_step()

    async def _let_it_complete(self) -> None:
        """Let what can run now run: an answer that is there at once goes out whole, sources included, in one post."""
        until = self._now() + _MOST_BEFORE_FIRST_S
        for _ in range(_TURNS_BEFORE_FIRST):
            if self._final is not None or self._now() > until:
                return
            await asyncio.sleep(0)

    async def _wait(self, at: float | None) -> None:
        self._is_idle = at is None
        if at is None and self._renew_s is not None and self._standing:
            at = self._shown_at + self._renew_s
        with suppress(TimeoutError):
            async with asyncio.timeout(None if at is None else max(0.0, at - self._now())):
                await self._wake.wait()
        self._is_idle = False

    def _renew(self) -> None:
        """Have the growing message shown once more, if it would vanish soon."""
        is_growing = self._final is None and len(self._standing) > 0
        if self._renew_s is not None and is_growing and self._now() >= self._shown_at + self._renew_s:
            self._standing.is_uncertain(len(self._standing) - 1)
            self._has_news = True
            self._shown_at = self._now()  # asked for: the next time is as far away again

    async def _finish_step(self) -> None:
        assert self._final is not None
        if self._now() - self._ended_at > self._give_up_s:
            log.warning("an answer could not be delivered for %g s: given up", self._give_up_s)
            self._gone.set()
            return
        if await self._step() or self._gone.is_set():
            return
        self._arrivals.acknowledge(self._arrivals.length, self._now())
        self._is_delivered = True
        if self._on_delivered is not None:
            await self._on_delivered()

    async def _step(self) -> bool:
        """Make one call towards what should stand there, or learn that it has to wait; False if nothing is left to do.

        A preview is rendered before the first question, to know whether there is anything to ask for, and again when
        the call is granted, so that it carries the newest; not each time that the budget says later. A final text
        nearly always changes something, and many end at once when a model server goes: it is rendered when granted.
        """
        if self._wanted is None and self._final is not None and not self._has_asked_final:
            self._has_asked_final = True
            self._wanted = "edit" if self._standing else "post"
        elif self._wanted is None:
            change = self._next_change()
            if change is None:
                return False
            self._wanted = self._standing.method(change)
        call = Call(ticket=self._ticket, chat=self._chat, method=self._wanted, priority=self._priority())
        is_final = self._final is not None
        allowance = await self._budget.take(call)
        if is_final != (self._final is not None) and allowance.wait_s > 0:
            return True  # the answer has ended meanwhile: the final text asks for itself, at once
        if allowance.wait_s > 0:
            self._asked_until = self._now() + allowance.wait_s
            return True
        if self._permit is not None and not await self._permit():
            self._gone.set()
            return False
        self._wanted = None
        self._rhythm.sent(allowance, self._now())
        change = self._next_change()
        if change is None:
            return False
        await self._attempt(call, change)
        return True

    def _next_change(self) -> Change[S] | None:
        if self._final is None:
            return self._standing.difference(self._composer.preview(self._text), is_final=False)
        return self._standing.difference(self._composer.final(self._text, self._final), is_final=True)

    def _priority(self) -> Priority:
        if self._final is not None:
            return Priority.FINAL
        return Priority.PREVIEW if self._standing else Priority.FIRST

    async def _attempt(self, call: Call, change: Change[S]) -> None:
        target, index = change.target, change.index
        try:
            async with asyncio.timeout(self._call_timeout_s):
                await self._call(target, index)
        except TimeoutError:
            self._after_failure(Unavailable("no answer in time", may_have_happened=True), index)
        except PlatformError as error:
            await self._after_error(error, call, target, index)
        else:
            await self._after_success(target, index)

    async def _call(self, target: Target[S] | None, index: int) -> None:
        if target is None:
            await self._transport.delete(self._standing.message_id(index))
            return
        screen = target.plain() if self._is_plain_next else target.screen
        if index < len(self._standing):
            renamed = await self._transport.edit(self._standing.message_id(index), screen)
            self._edits += 1
            if renamed is not None:
                self._standing.became(index, renamed)
        else:
            self._standing.posted(await self._transport.post(screen))

    async def _after_success(self, target: Target[S] | None, index: int) -> None:
        now = self._now()
        self._failures = 0
        self._is_plain_next = False
        if target is None:
            self._standing.removed()
            return
        is_new = self._standing.shows(index, target.screen)
        self._shown_at = now
        self._arrivals.acknowledge(target.upto, now)
        if is_new and self._on_posted is not None:
            await self._on_posted(self._standing.handle)

    async def _after_error(self, error: PlatformError, call: Call, target: Target[S] | None, index: int) -> None:
        match error:
            case NotModified():
                await self._after_success(target, index)
            case MessageGone() if target is None:
                self._standing.removed()
            case MessageGone() | ChatGone():
                self._gone.set()
            case Moved(chat=chat):
                # What stands in the old chat stays as it is; the answer is owed in the new one.
                self._chat = chat
                self._standing = Standing()
            case Throttled(retry_after_s=retry_after_s):
                self._throttled += 1
                self._blocked_until = self._now() + retry_after_s
                await self._budget.throttled(call, retry_after_s)
            case Rejected():
                await self._after_rejection(error, target, index)
            case _:
                self._after_failure(error, index)

    async def _after_rejection(self, error: Rejected, target: Target[S] | None, index: int) -> None:
        if target is not None and not self._is_plain_next:
            self._is_plain_next = True  # for the next attempt only, whatever the text is by then
            return
        self._is_plain_next = False
        log.warning("the platform rejected a message even as plain text: %s", error)
        if target is None:
            self._standing.removed()
        elif index < len(self._standing):
            self._standing.shows(index, target.screen)  # nothing better can be shown here
        elif self._final is not None:
            self._gone.set()
        else:
            self._has_news = False

    def _after_failure(self, error: PlatformError, index: int) -> None:
        self._failures += 1
        self._blocked_until = self._now() + backoff_s(self._failures)
        may_have_happened = isinstance(error, Unavailable) and error.may_have_happened
        if index < len(self._standing):
            self._standing.is_uncertain(index)
        elif may_have_happened:
            self._orphans += 1
        log.info("the platform did not answer (%s); attempt %d follows later", error, self._failures + 1)
