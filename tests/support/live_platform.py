"""A simulated platform for live messages: messages with their history, limits, latency, faults, and rules of its own.

It breaks (assertion) when a live message breaks a rule that people would see broken: two calls in flight, something
sent that is identical to what stands there although its acknowledgement was received, an edit of a deleted message
after that was known.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from adapters.live.errors import ChatGone, MessageGone, NotModified, PlatformError, Rejected, Throttled, Unavailable
from adapters.live.surface import Part
from tests.emulators.telegram.faults import Bucket
from tests.support.clock import now

FaultKind = Literal["ok", "throttled", "down", "lost", "hangs", "rejected", "deleted", "blocked"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one call."""

    kind: FaultKind = "ok"
    seconds: float = 0.0
    """The pause asked for (`throttled`)."""


@dataclass(frozen=True, slots=True)
class PlainScreen:
    """A rendering that shows the Markdown as it is."""

    text: str
    is_growing: bool
    footer: str
    is_plain: bool
    limit: int

    @property
    def fits(self) -> bool:
        return len(self.text) + len(self.footer) <= self.limit

    @property
    def has_words(self) -> bool:
        return any(char.isalnum() for char in self.text + self.footer)

    @property
    def is_blank(self) -> bool:
        return not (self.text + self.footer).strip()


@dataclass(slots=True)
class PlainRenderer:
    """Renders to `PlainScreen`."""

    limit: int = 4096

    def render(self, part: Part) -> PlainScreen:
        return self._screen(part, is_plain=False)

    def plain(self, part: Part) -> PlainScreen:
        return self._screen(part, is_plain=True)

    def _screen(self, part: Part, *, is_plain: bool) -> PlainScreen:
        footer = ""
        if part.footer is not None:
            lines = [f"{source.n} {source.title}" for source in part.footer.sources]
            footer = "\n".join([*lines, *([part.footer.note] if part.footer.note else [])])
        return PlainScreen(part.markdown, part.is_growing, footer, is_plain, self.limit)


@dataclass(slots=True)
class Shown:
    """One message and everything it ever showed, with the moments."""

    history: list[tuple[float, PlainScreen]]
    is_deleted: bool = False

    @property
    def screen(self) -> PlainScreen:
        return self.history[-1][1]


@dataclass(slots=True)
class FloodLimits:
    """The server's own token buckets, shared by everything that calls it; a call too many is a 429.

    `sizes` maps the kind of a bucket (`bot`, `private`, `group`, or a method: `post`, `edit`) to (per second, burst).
    """

    sizes: dict[str, tuple[float, float]]
    refused: int = 0
    _buckets: dict[str, Bucket] = field(default_factory=dict)

    def spend(self, chat: str, method: str) -> None:
        """One call that arrives now; raises `Throttled`, and spends nothing then."""
        place = "group" if chat.startswith("-") else "private"
        names = {"bot": "bot", place: f"chat:{chat}", method: method}
        buckets = [self._bucket(names[kind], *self.sizes[kind]) for kind in names if kind in self.sizes]
        wait_s = max((bucket.wait_s(now()) for bucket in buckets), default=0.0)
        if wait_s > 0:
            self.refused += 1
            raise Throttled(math.ceil(wait_s))
        for bucket in buckets:
            bucket.level -= 1

    def _bucket(self, name: str, rate: float, burst: float) -> Bucket:
        return self._buckets.setdefault(name, Bucket(rate=rate, burst=burst, level=burst, at=now()))


@dataclass(frozen=True, slots=True)
class Storm:
    """Everything is refused from `begins_s` on, for so long: with 429 and the seconds that are left, or with 502."""

    begins_s: float
    lasts_s: float
    is_flood: bool = True

    def __call__(self) -> None:
        left_s = self.begins_s + self.lasts_s - now()
        if now() >= self.begins_s and left_s > 0:
            raise Throttled(math.ceil(left_s)) if self.is_flood else Unavailable("502", may_have_happened=False)


@dataclass(slots=True)
class SimulatedPlatform:
    """The transport of one live message. Faults are used up in order; after the last one everything works."""

    faults: list[Fault] = field(default_factory=list)
    latency_s: float = 0.05
    """Until a call arrives; where `latency` is given, it draws (there, back) for each call instead."""
    latency: Callable[[], tuple[float, float]] | None = None
    limits: FloodLimits | None = None
    weather: Callable[[], None] | None = None
    """Asked when a call arrives; what it raises is the answer, whatever the chat."""
    chat: str = "1"
    messages: dict[str, Shown] = field(default_factory=dict)
    starts: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    quiet_until: float = 0.0
    is_blocked: bool = False
    _in_flight: int = 0

    @property
    def live(self) -> list[Shown]:
        """What stands on the screen, in order."""
        return [shown for shown in self.messages.values() if not shown.is_deleted]

    async def post(self, screen: PlainScreen) -> str:
        message_id = str(len(self.messages) + 1)
        await self._serve("post", message_id, screen)
        return message_id

    async def edit(self, message_id: str, screen: PlainScreen) -> None:
        await self._serve("edit", message_id, screen)

    async def delete(self, message_id: str) -> None:
        await self._serve("delete", message_id, None)

    async def _serve(self, method: str, message_id: str, screen: PlainScreen | None) -> None:
        assert self._in_flight == 0, "two calls in flight"
        assert screen is None or screen.fits, "more than the platform takes as one message"
        assert now() >= self.quiet_until - 1e-6, "a call during a flood penalty"
        fault = self.faults.pop(0) if self.faults else Fault()
        self.starts.append(now())
        self._in_flight += 1
        try:
            there_s, back_s = self.latency() if self.latency else (self.latency_s, 0.0)
            await asyncio.sleep(there_s)
            if self.weather is not None:
                self.weather()
            if self.limits is not None:
                self.limits.spend(self.chat, method)
            self._refuse(fault, message_id, screen)
            self._apply(message_id, screen)
            await asyncio.sleep(back_s)
            if fault.kind == "hangs":
                await asyncio.sleep(3600)
            if fault.kind == "lost":
                raise Unavailable("connection lost", may_have_happened=True)
        except PlatformError as error:
            self.refused.append(type(error).__name__)
            raise
        finally:
            self._in_flight -= 1

    def _refuse(self, fault: Fault, message_id: str, screen: PlainScreen | None) -> None:
        if fault.kind == "throttled":
            self.quiet_until = now() + fault.seconds
            raise Throttled(fault.seconds)
        if fault.kind == "down":
            raise Unavailable("502", may_have_happened=False)
        if fault.kind == "rejected" and screen is not None and not screen.is_plain:
            raise Rejected("can't parse entities")
        if fault.kind == "deleted" and message_id in self.messages:
            self.messages[message_id].is_deleted = True
        if fault.kind == "blocked":
            self.is_blocked = True
        if self.is_blocked:
            raise ChatGone("blocked")

    def _apply(self, message_id: str, screen: PlainScreen | None) -> None:
        shown = self.messages.get(message_id)
        if screen is None:
            assert shown is not None
            shown.is_deleted = True
        elif shown is None:
            self.messages[message_id] = Shown([(now(), screen)])
        elif shown.is_deleted:
            raise MessageGone("message to edit not found")
        elif shown.screen == screen:
            raise NotModified("not modified")
        else:
            shown.history.append((now(), screen))
