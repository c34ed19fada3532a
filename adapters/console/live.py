"""An answer in the terminal: text as it comes, the sources at the end."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import TextIO

from adapters.lag import Batch, ScreenLag
from adapters.ports import Delivery, Final, SourceLink

_DIM, _BOLD, _PLAIN, _CLEAR_LINE = "\x1b[2m", "\x1b[1m", "\x1b[0m", "\r\x1b[K"


class ConsoleMessage:
    """A `LiveMessage` that writes to a text stream.

    On a terminal a status line precedes the text and the sources are set apart; elsewhere (a pipe, a file) the output
    is plain text. Writing happens in a thread, because a pipe that nobody reads blocks; what comes meanwhile is joined.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        is_terminal: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create a message that has written nothing.

        Args:
            stream: Where to write; None is standard output.
            is_terminal: Whether to use colours and a status line; None asks the stream.
            clock: Monotonic seconds.
        """
        self._stream = stream or sys.stdout
        self._is_terminal = self._stream.isatty() if is_terminal is None else is_terminal
        self._clock = clock
        self._waiting: list[str] = []
        self._batch = Batch()
        self._appended = ""
        self._lag = ScreenLag()
        self._has_status = False
        self._gone = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    def status(self, text: str) -> None:
        """Show the status where the text will begin; only on a terminal, and only before the text."""
        if self._is_terminal and not self._appended:
            self._put(f"{_CLEAR_LINE}{_DIM}{_printable(text)}{_PLAIN}")
            self._has_status = True

    def offer_sources(self, sources: tuple[SourceLink, ...]) -> None:
        """Nothing: a terminal cannot show them beside the text; `finish` lists those that are cited."""

    def append(self, text: str) -> None:
        """Write on."""
        if text:
            self._end_status()
            self._appended += text
            self._batch = self._batch.plus(len(text), self._clock())
            self._put(_printable(text))

    async def finish(self, final: Final) -> Delivery:
        """Write what is missing of the final text, the note and the sources, and wait until it is written.

        What a terminal shows cannot be taken back: where the final text is no continuation, it follows as a whole.
        """
        self._end_status()
        if final.text.startswith(self._appended):
            self.append(final.text[len(self._appended) :])
        else:
            self._put("\n\n")
            self.append(final.text)
        self._put("\n")
        if final.note:
            self._put(f"\n{_printable(final.note)}\n")
        if final.sources:
            self._put("\n" + "".join(self._source_line(source) for source in final.sources))
        while self._writer is not None and not self._gone.is_set():
            await self._writer
        return Delivery(
            first_visible_at=self._lag.first_at,
            lag_ms=self._lag.mean_ms,
            edits=max(0, self._lag.shows - 1),
            is_gone=self._gone.is_set(),
        )

    async def wait_gone(self) -> None:
        """Return once the pipe is closed."""
        await self._gone.wait()

    def _source_line(self, source: SourceLink) -> str:
        parts = [source.title, f"p. {source.page}" if source.page is not None else None, source.url]
        line = _printable(" · ".join(part for part in parts if part))
        number = f"{_BOLD}[{source.n}]{_PLAIN}" if self._is_terminal else f"[{source.n}]"
        return f"{number} {line}\n"

    def _end_status(self) -> None:
        if self._has_status:
            self._has_status = False
            self._put(_CLEAR_LINE)

    def _put(self, text: str) -> None:
        if not self._gone.is_set():
            self._waiting.append(text)
            if self._writer is None:
                self._writer = asyncio.get_running_loop().create_task(self._write_waiting())

    async def _write_waiting(self) -> None:
        try:
            while self._waiting:
                text, self._waiting = "".join(self._waiting), []
                batch, self._batch = self._batch, Batch()
                await asyncio.to_thread(self._write, text)
                self._lag.shown(batch, self._clock())
        except (OSError, ValueError):  # a closed pipe; a closed file object
            self._gone.set()
        finally:
            self._writer = None

    def _write(self, text: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        # A terminal whose locale cannot say "đ" still gets an answer.
        self._stream.write(text.encode(encoding, "replace").decode(encoding))
        self._stream.flush()


def _printable(text: str) -> str:
    """`text` without control characters: an escape sequence in a document must not steer the terminal."""
    return "".join(char for char in text if char in "\n\t" or (char >= " " and not "\x7f" <= char <= "\x9f"))
