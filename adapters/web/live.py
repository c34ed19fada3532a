"""An answer on the web: streamed as server-sent events, or gathered for one JSON response.

Both notice a reader who has left by asking the transport, because between two tokens nothing else would tell.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

from adapters.lag import Batch, ScreenLag
from adapters.ports import Delivery, Final, SourceLink
from adapters.web.sse import HEARTBEAT, encode

Clock = Callable[[], float]
# A closed tab has to stop the model within 2 s; a look at the socket costs well under a microsecond.
_WATCH_S = 0.25


class EventStream:
    """A `LiveMessage` that writes server-sent events.

    What waits to be sent is one status, one list of sources and one text at most: a slow reader gets fewer, longer
    deltas instead of a growing queue. The moment at which `write` returns counts as seen, so it should return only when
    the transport has handed the bytes over.

    Use as an async context manager around the turn; then `end` the stream with its last event.
    """

    def __init__(
        self,
        *,
        write: Callable[[bytes], Awaitable[None]],
        is_open: Callable[[], bool],
        clock: Clock = time.monotonic,
        heartbeat_s: float = 15.0,
        give_up_s: float = 60.0,
    ) -> None:
        """Create a stream that nothing has been written to.

        Args:
            write: Sends bytes and waits until the transport has taken them; raises `ConnectionError` once it is closed.
            is_open: Whether the reader is still connected.
            clock: Monotonic seconds.
            heartbeat_s: Longest silence before a comment is sent.
            give_up_s: How long the last text may wait for a reader who does not read.
        """
        self._write = write
        self._is_open = is_open
        self._clock = clock
        self._heartbeat_s = heartbeat_s
        self._give_up_s = give_up_s
        self._status: str | None = None
        self._sources: tuple[SourceLink, ...] | None = None
        self._waiting: list[str] = []
        self._batch = Batch()
        self._appended = ""
        self._lag = ScreenLag()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._gone = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._pump = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop_pump()

    def status(self, text: str) -> None:
        """Replace the status that waits; only shown before the first text."""
        if not self._appended:
            self._status = text
            self._nudge()

    def offer_sources(self, sources: tuple[SourceLink, ...]) -> None:
        """Send the sources before the text that comes after them."""
        self._sources = sources
        self._nudge()

    def append(self, text: str) -> None:
        """Join `text` to what waits to be sent."""
        if text:
            self._status = None
            self._appended += text
            self._waiting.append(text)
            self._batch = self._batch.plus(len(text), self._clock())
            self._nudge()

    async def finish(self, final: Final) -> Delivery:
        """Send what is missing of the final text, and wait until the reader's side has taken everything.

        A final that invites to retry before anything was appended tells of a failure: it travels in the `error` event.
        Where the final text is not a continuation of what was appended, the `done` event carries the mended whole.
        """
        is_failure = final.can_retry and not self._appended
        if not is_failure and final.text.startswith(self._appended):
            self.append(final.text[len(self._appended) :])
        with suppress(TimeoutError):
            async with asyncio.timeout(self._give_up_s):
                await self._idle.wait()
        if not self._idle.is_set():
            self._gone.set()
        await self._stop_pump()
        return Delivery(
            first_visible_at=self._lag.first_at,
            lag_ms=self._lag.mean_ms,
            edits=max(0, self._lag.shows - 1),
            is_gone=self._gone.is_set(),
        )

    async def wait_gone(self) -> None:
        """Return once the reader has left."""
        await self._gone.wait()

    async def end(self, event: str, data: Mapping[str, object]) -> None:
        """Write the stream's last event. A reader who has left misses it."""
        await self._stop_pump()
        if not self._gone.is_set():
            with suppress(ConnectionError):
                await self._write(encode(event, data))

    def _nudge(self) -> None:
        if not self._gone.is_set():
            self._idle.clear()
            self._wake.set()

    async def _run(self) -> None:
        try:
            quiet_since = self._clock()
            while self._is_open():
                with suppress(TimeoutError):
                    async with asyncio.timeout(_WATCH_S):
                        await self._wake.wait()
                if self._wake.is_set():
                    self._wake.clear()
                    await self._send_waiting()
                    quiet_since = self._clock()
                elif self._clock() - quiet_since >= self._heartbeat_s:
                    await self._write(HEARTBEAT)
                    quiet_since = self._clock()
        except ConnectionError:
            pass
        self._gone.set()
        self._idle.set()

    async def _send_waiting(self) -> None:
        status, self._status = self._status, None
        sources, self._sources = self._sources, None
        text, self._waiting = "".join(self._waiting), []
        batch, self._batch = self._batch, Batch()
        frames = b""
        if status is not None:
            frames += encode("status", {"text": status})
        if sources is not None:
            frames += encode("sources", {"passages": [source_json(source) for source in sources]})
        if text:
            frames += encode("delta", {"text": text})
        if frames:
            await self._write(frames)
        self._lag.shown(batch, self._clock())
        if not self._wake.is_set():
            self._idle.set()

    async def _stop_pump(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
            self._pump = None


class WholeAnswer:
    """A `LiveMessage` for callers who want one JSON response: shows nothing until the turn ends.

    The response follows `finish` at once, so that moment counts as the one at which the answer is seen.
    """

    def __init__(self, *, is_open: Callable[[], bool], clock: Clock = time.monotonic) -> None:
        """Create an empty answer.

        Args:
            is_open: Whether the caller is still connected.
            clock: Monotonic seconds.
        """
        self._is_open = is_open
        self._clock = clock
        self._batch = Batch()

    def status(self, text: str) -> None:
        """Nothing: there is no place to show it."""

    def offer_sources(self, sources: tuple[SourceLink, ...]) -> None:
        """Nothing: the response carries the citations."""

    def append(self, text: str) -> None:
        """Remember when the characters arrived."""
        self._batch = self._batch.plus(len(text), self._clock())

    async def finish(self, final: Final) -> Delivery:
        """Report the answer as seen now."""
        now = self._clock()
        lag = ScreenLag()
        is_failure = final.can_retry and not self._batch.chars
        if not is_failure:
            lag.shown(self._batch if self._batch.chars else self._batch.plus(len(final.text), now), now)
        is_gone = not self._is_open()
        return Delivery(
            first_visible_at=None if is_gone else lag.first_at,
            lag_ms=None if is_gone else lag.mean_ms,
            is_gone=is_gone,
        )

    async def wait_gone(self) -> None:
        """Return once the caller has hung up."""
        while self._is_open():  # noqa: ASYNC110 - aiohttp tells of a lost connection by nothing but the transport's state
            await asyncio.sleep(_WATCH_S)


def source_json(source: SourceLink) -> dict[str, object]:
    """A source as the page gets it: a citation and its text."""
    return {
        "n": source.n,
        "document": source.document,
        "title": source.title,
        "collection": source.collection,
        "passage_id": source.passage_id,
        "page": source.page,
        "url": source.url,
        "text": source.excerpt,
    }
