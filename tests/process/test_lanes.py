"""One answer at a time per conversation, in order; a stop reaches the one that runs, wherever it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bot.lanes import Lanes, Run
from bot.outbox import MOST_WAITING
from bot.state.ports import REFUSED
from bot.state.sqlite import SqliteState
from bot.state.turns import SqliteTurns


@pytest.fixture
async def store() -> AsyncIterator[SqliteTurns]:
    state = SqliteState.in_memory()
    yield SqliteTurns(state)
    await state.close()


async def answer(lanes: Lanes, name: str, done: list[str], gate: asyncio.Event, lane: str = "a") -> None:
    """Wait for the turn, then for the gate or a stop."""
    async with lanes.visit(lane, "web") as run:
        said = await lanes.wait_turn(run)
        if said != "now":
            done.append(f"{name} {said}")
            return
        done.append(f"{name} begins")
        await either(gate, run.stop)
        done.append(f"{name} {'stopped' if run.stop.is_set() else 'ends'}")


async def either(*events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in waits:
        task.cancel()


async def until(done: list[str], what: str) -> None:
    while what not in done:
        await asyncio.sleep(0)


async def test_questions_of_one_conversation_are_answered_in_order(store: SqliteTurns) -> None:
    """The second question waits for the first answer."""
    lanes, done, gate, wide = Lanes(store, owner="x"), list[str](), asyncio.Event(), asyncio.Event()
    wide.set()
    async with asyncio.TaskGroup() as group:
        group.create_task(answer(lanes, "first", done, gate))
        await until(done, "first begins")
        group.create_task(answer(lanes, "second", done, wide))
        await asyncio.sleep(0)
        assert done == ["first begins"]
        gate.set()
    assert done == ["first begins", "first ends", "second begins", "second ends"]


async def test_questions_are_answered_in_order_across_replicas(store: SqliteTurns) -> None:
    """The same holds where the second question came to another process."""
    one, two = Lanes(store, owner="x"), Lanes(store, owner="y")
    done, gate, wide = list[str](), asyncio.Event(), asyncio.Event()
    wide.set()
    async with asyncio.TaskGroup() as group:
        group.create_task(answer(one, "first", done, gate))
        await until(done, "first begins")
        group.create_task(answer(two, "second", done, wide))
        await asyncio.sleep(0)
        assert done == ["first begins"]
        gate.set()
        await until(done, "first ends")
        two.tell("lane", "a")
    assert done[-1] == "second ends"


async def test_conversations_do_not_wait_for_each_other(store: SqliteTurns) -> None:
    """Another conversation is answered while the first is still being written."""
    lanes, done, gate, wide = Lanes(store, owner="x"), list[str](), asyncio.Event(), asyncio.Event()
    wide.set()
    async with asyncio.TaskGroup() as group:
        group.create_task(answer(lanes, "first", done, gate))
        await answer(lanes, "other", done, wide, lane="b")
        assert "first ends" not in done
        gate.set()


async def test_a_stop_ends_what_runs_and_lets_the_next_begin(store: SqliteTurns) -> None:
    """After a stop the queue goes on, with a fresh stop of its own."""
    lanes, done, gate = Lanes(store, owner="x"), list[str](), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(answer(lanes, "first", done, asyncio.Event()))
        await until(done, "first begins")
        group.create_task(answer(lanes, "second", done, gate))
        await asyncio.sleep(0)
        assert await lanes.stop("a") is True
        await until(done, "second begins")
        gate.set()
    assert done == ["first begins", "first stopped", "second begins", "second ends"]


@pytest.mark.parametrize("is_told", [True, False])
async def test_a_stop_reaches_another_replica(store: SqliteTurns, *, is_told: bool) -> None:
    """By the store's news, or where there are none because the other one looks for it."""
    here, there = Lanes(store, owner="x"), Lanes(store, owner="y", is_told=lambda: is_told)
    watching = asyncio.create_task(there.watch())
    done = list[str]()
    async with asyncio.TaskGroup() as group:
        group.create_task(answer(there, "first", done, asyncio.Event()))
        await until(done, "first begins")
        assert await here.stop("a") is True
        if is_told:
            (event,) = await store.stopping()
            there.tell("stop", event)
    assert done == ["first begins", "first stopped"]
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_stopping_an_idle_conversation_says_so(store: SqliteTurns) -> None:
    """There is nothing to stop where nothing runs."""
    lanes, wide = Lanes(store, owner="x"), asyncio.Event()
    wide.set()
    assert await lanes.stop("a") is False
    await answer(lanes, "first", [], wide)
    assert await lanes.stop("a") is False


async def test_the_queue_is_bounded(store: SqliteTurns) -> None:
    """What does not fit is refused at once, not dropped in silence."""
    lanes, runs = Lanes(store, owner="x"), list[Run]()
    visits = [lanes.visit("a", "web") for _ in range(MOST_WAITING + 2)]
    for visit in visits:
        runs.append(await visit.__aenter__())
    assert [run.place for run in runs] == [*range(MOST_WAITING + 1), REFUSED]
    for visit in visits:
        await visit.__aexit__(None, None, None)
    async with lanes.visit("a", "web") as run:
        assert run.place == 0


async def test_a_closing_process_begins_nothing(store: SqliteTurns) -> None:
    """What runs goes on, what waits is told."""
    lanes, done, gate = Lanes(store, owner="x"), list[str](), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(answer(lanes, "first", done, gate))
        await until(done, "first begins")
        group.create_task(answer(lanes, "second", done, gate))
        await asyncio.sleep(0)
        lanes.close()
        await until(done, "second closing")
        gate.set()
    assert done == ["first begins", "second closing", "first ends"]
