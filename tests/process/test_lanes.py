"""One answer at a time per conversation, in order; a stop reaches the one that runs."""

from __future__ import annotations

import asyncio

from bot.lanes import Lanes, Work


def work(name: str, done: list[str], gate: asyncio.Event | None = None) -> Work:
    async def answer(stop: asyncio.Event) -> None:
        done.append(f"{name} begins")
        if gate:
            waits = [asyncio.create_task(gate.wait()), asyncio.create_task(stop.wait())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in waits:
                task.cancel()
        done.append(f"{name} {'stopped' if stop.is_set() else 'ends'}")

    return answer


async def test_questions_of_one_conversation_are_answered_in_order() -> None:
    """The second question waits for the first answer."""
    lanes, done, gate = Lanes(), list[str](), asyncio.Event()
    assert lanes.submit("a", work("first", done, gate)) == "running"
    assert lanes.submit("a", work("second", done)) == "queued"
    await asyncio.sleep(0)
    assert done == ["first begins"]
    gate.set()
    assert await lanes.drain(timeout_s=5) is True
    assert done == ["first begins", "first ends"]


async def test_conversations_do_not_wait_for_each_other() -> None:
    """Another conversation is answered while the first is still being written."""
    lanes, done, gate = Lanes(), list[str](), asyncio.Event()
    lanes.submit("a", work("first", done, gate))
    lanes.submit("b", work("other", done))
    while "other ends" not in done:
        await asyncio.sleep(0)
    assert "first ends" not in done
    gate.set()
    await lanes.drain(timeout_s=5)


async def test_a_stop_ends_what_runs_and_lets_the_next_begin() -> None:
    """After a stop the queue goes on, with a fresh stop of its own."""
    lanes, done = Lanes(), list[str]()
    lanes.submit("a", work("first", done, asyncio.Event()))
    lanes.submit("a", work("second", done))
    await asyncio.sleep(0)
    assert lanes.stop("a") is True
    while lanes.running:
        await asyncio.sleep(0)
    assert done == ["first begins", "first stopped", "second begins", "second ends"]


async def test_stopping_an_idle_conversation_says_so() -> None:
    """There is nothing to stop where nothing runs."""
    assert Lanes().stop("a") is False


async def test_the_queue_is_bounded() -> None:
    """What does not fit is refused at once, not dropped in silence."""
    lanes, gate = Lanes(most_waiting=1), asyncio.Event()
    lanes.submit("a", work("first", [], gate))
    await asyncio.sleep(0)
    assert lanes.submit("a", work("second", [])) == "queued"
    assert lanes.submit("a", work("third", [])) == "full"
    gate.set()
    await lanes.drain(timeout_s=5)


async def test_draining_cuts_off_what_takes_too_long() -> None:
    """A shutdown does not wait for ever, and says that it cut something off."""
    lanes = Lanes()
    lanes.submit("a", work("endless", [], asyncio.Event()))
    await asyncio.sleep(0)
    assert await lanes.drain(timeout_s=0) is False
    assert lanes.running == 0
