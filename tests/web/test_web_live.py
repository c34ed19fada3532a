"""What a slow, silent or absent reader gets of a streamed answer."""

from __future__ import annotations

import asyncio

import pytest

from adapters.lag import Batch, ScreenLag
from adapters.ports import Final
from adapters.web.live import EventStream
from tests.support.web import parse_event


class Wire:
    """The transport's side: takes bytes when the reader reads."""

    def __init__(self, *, is_reading: bool = True) -> None:
        self.frames: list[tuple[str, str]] = []
        self.comments = 0
        self.is_open = True
        self.writes = 0
        self.wrote = asyncio.Event()
        self.reading = asyncio.Event()
        if is_reading:
            self.reading.set()

    async def write(self, data: bytes) -> None:
        self.writes += 1
        self.wrote.set()
        await self.reading.wait()
        if not self.is_open:
            raise ConnectionResetError
        for frame in data.decode().split("\n\n"):
            if frame.startswith(":"):
                self.comments += 1
            elif frame:
                name, fields = parse_event(frame)
                self.frames.append((name, fields.get("text", "")))

    def stream(self, **options: float) -> EventStream:
        return EventStream(write=self.write, is_open=lambda: self.is_open, **options)  # type: ignore[arg-type]  # numbers only


async def test_a_slow_reader_gets_fewer_longer_deltas() -> None:
    """Nothing is lost, nothing queues up, and nobody waits for the reader while writing."""
    wire = Wire(is_reading=False)
    async with wire.stream() as live:
        live.append("0 ")
        await wire.wrote.wait()
        for number in range(1, 1000):
            live.append(f"{number} ")
        text = "".join(f"{number} " for number in range(1000))
        ending = asyncio.ensure_future(live.finish(Final(text=text)))
        wire.reading.set()
        delivery = await ending
    assert [name for name, _ in wire.frames] == ["delta", "delta"]
    assert "".join(part for _, part in wire.frames) == text
    assert (delivery.edits, delivery.is_gone) == (1, False)


async def test_status_gives_way_to_text() -> None:
    """The newest status only, and none once there is an answer to read."""
    wire = Wire()
    async with wire.stream() as live:
        live.status("Looking…")
        live.status("Writing…")
        live.append("Yes.")
        live.status("Too late")
        await live.finish(Final(text="Yes. Really."))
        await live.end("done", {"text": "over"})
    assert wire.frames == [("delta", "Yes. Really."), ("done", "over")]


async def test_silence_is_filled_with_comments() -> None:
    """So that no proxy closes the stream."""
    wire = Wire()
    async with wire.stream(heartbeat_s=0.0) as live:
        while not wire.comments:
            await asyncio.sleep(0.01)
        await live.finish(Final(text=""))
    assert wire.frames == []


async def test_a_reader_who_left_is_noticed_without_a_write() -> None:
    """`wait_gone` returns, and the delivery says so."""
    wire = Wire()
    async with wire.stream() as live:
        live.append("Yes.")
        await wire.wrote.wait()
        wire.is_open = False
        await live.wait_gone()
        delivery = await live.finish(Final(text="Yes. More."))
        await live.end("done", {})
    assert delivery.is_gone
    assert wire.frames == [("delta", "Yes.")]


async def test_a_reader_who_never_reads_is_given_up() -> None:
    """A turn ends, even so."""
    wire = Wire(is_reading=False)
    async with wire.stream(give_up_s=0.01) as live:
        live.append("Yes.")
        delivery = await live.finish(Final(text="Yes."))
    assert delivery.is_gone
    assert delivery.first_visible_at is None


def test_lag_is_the_mean_over_characters() -> None:
    """Ten characters that wait 1 s and thirty that wait 2 s lag 1.75 s on average."""
    lag = ScreenLag()
    lag.shown(Batch().plus(10, 5.0), 6.0)
    lag.shown(Batch(), 7.0)
    lag.shown(Batch().plus(20, 8.0).plus(10, 8.0), 10.0)
    assert lag.mean_ms == pytest.approx(1750)
    assert (lag.first_at, lag.shows) == (6.0, 2)
