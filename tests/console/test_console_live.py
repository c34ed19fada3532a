"""An answer in the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import threading

from adapters.console.live import ConsoleMessage
from adapters.ports import Final, SourceLink

SOURCE = SourceLink(
    n=1, title="Price list", passage_id="p1", document="d", collection="public", page=3, url="https://example.org/p"
)


async def shown(message: ConsoleMessage, stream: io.StringIO, text: str) -> None:
    while text not in stream.getvalue():
        await asyncio.sleep(0)


async def test_text_is_written_as_it_comes_and_sources_at_the_end() -> None:
    """Plain text where nobody looks at a terminal."""
    stream = io.StringIO()
    message = ConsoleMessage(stream)
    message.status("Looking…")
    message.append("It costs ")
    await shown(message, stream, "It costs ")
    message.append("5 [1].")
    delivery = await message.finish(Final(text="It costs 5 [1].", sources=(SOURCE,), note="⚠ Incomplete"))
    assert stream.getvalue() == ("It costs 5 [1].\n\n⚠ Incomplete\n\n[1] Price list · p. 3 · https://example.org/p\n")
    assert delivery.first_visible_at is not None
    assert delivery.lag_ms is not None
    assert not delivery.is_gone


async def test_a_terminal_shows_a_status_until_there_is_text() -> None:
    """It is wiped by the first word."""
    stream = io.StringIO()
    message = ConsoleMessage(stream, is_terminal=True)
    message.status("Looking…")
    await message.finish(Final(text="Yes.", sources=(SOURCE,)))
    assert stream.getvalue() == (
        "\r\x1b[K\x1b[2mLooking…\x1b[0m\r\x1b[KYes.\n\n\x1b[1m[1]\x1b[0m Price list · p. 3 · https://example.org/p\n"
    )


async def test_a_final_text_that_differs_is_shown_whole() -> None:
    """What was written cannot be taken back."""
    stream = io.StringIO()
    message = ConsoleMessage(stream)
    message.append("It costs 5 [9].")
    await message.finish(Final(text="It costs 5."))
    assert stream.getvalue() == "It costs 5 [9].\n\nIt costs 5.\n"


async def test_documents_cannot_steer_the_terminal() -> None:
    """Escape sequences lose their escape character."""
    stream = io.StringIO()
    message = ConsoleMessage(stream, is_terminal=True)
    message.append("\x1b]0;owned\x07\x1b[31mred\x9b2J\r\n")
    await message.finish(Final(text="\x1b]0;owned\x07\x1b[31mred\x9b2J\r\n"))
    assert stream.getvalue() == "]0;owned[31mred2J\n\n"


async def test_a_closed_pipe_ends_the_turn() -> None:
    """As `grapevine ask ... | head -1` makes it."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    stream = os.fdopen(write_end, "w", encoding="utf-8")
    message = ConsoleMessage(stream)
    message.append("Yes.")
    await message.wait_gone()
    delivery = await message.finish(Final(text="Yes. More."))
    assert delivery.is_gone
    with contextlib.suppress(BrokenPipeError):
        stream.close()


async def test_a_pipe_that_nobody_reads_does_not_block_the_loop() -> None:
    """Other work goes on while the write waits."""
    released = threading.Event()

    class Blocked(io.StringIO):
        def write(self, text: str) -> int:
            released.wait()
            return super().write(text)

    stream = Blocked()
    message = ConsoleMessage(stream)
    message.append("One ")
    for _ in range(10):
        await asyncio.sleep(0)
    message.append("two.")
    released.set()
    await message.finish(Final(text="One two."))
    assert stream.getvalue() == "One two.\n"


async def test_a_narrow_encoding_still_gets_an_answer() -> None:
    """Letters it does not have become question marks."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    await ConsoleMessage(stream).finish(Final(text="phí 90.000 đ"))
    assert raw.getvalue() == b"ph? 90.000 ?\n"
