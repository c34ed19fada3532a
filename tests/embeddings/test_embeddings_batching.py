"""Questions go before bulk work, share a run where they can, and do not pay for each other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from threading import Semaphore, get_ident

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.embeddings.batching import Lane, MicroBatcher, Request, batches, take
from rag.errors import EmbeddingError
from rag.ports import Vectors

EVERYTHING = 1000


class Machine:
    """Computes [length] for each item and writes down what ran; where `held`, a run waits for `let` to allow it."""

    def __init__(self, *, held: bool = False) -> None:
        self._permits = Semaphore(0 if held else EVERYTHING)
        self.runs: list[list[str]] = []
        self.threads: set[int] = set()
        self.failing: set[str] = set()

    def run(self, items: Sequence[str]) -> Vectors:
        self.runs.append(list(items))
        self.threads.add(get_ident())
        assert self._permits.acquire(timeout=30)
        if self.failing & set(items):
            raise EmbeddingError("cannot embed this")
        return np.array([[len(item)] for item in items], np.float32)

    def let(self, runs: int) -> None:
        self._permits.release(runs)

    def lane(self, *, budget: int = 100, workers: int = 1) -> Lane[str]:
        return Lane(self.run, length=len, dimensions=1, budget=budget, workers=workers)


async def until(condition: Callable[[], bool]) -> None:
    """Give way to threads and tasks until the condition holds."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_question_does_not_wait_for_bulk_work() -> None:
    """While a bulk batch is being computed and others queue, a question is answered."""
    bulk, urgent = Machine(held=True), Machine()
    batcher = MicroBatcher(urgent=urgent.lane(), bulk=bulk.lane())
    work = asyncio.create_task(batcher.embed(["x" * 60] * 20))
    await until(lambda: bool(bulk.runs))
    assert (await batcher.embed(["question"], urgent=True)).tolist() == [[8.0]]
    assert not work.done()
    bulk.let(EVERYTHING)
    assert (await work).tolist() == [[60.0]] * 20
    await batcher.close()


async def test_bulk_work_is_cut_into_small_batches() -> None:
    """No batch holds more than the budget, padding included; the longest texts go first, rows come back in order."""
    machine = Machine()
    lane = machine.lane(budget=100)
    items = ["x" * length for length in (5, 90, 40, 45, 150, 8, 30)]
    assert (await lane.embed(items)).ravel().tolist() == [5, 90, 40, 45, 150, 8, 30]
    assert [[len(item) for item in run] for run in machine.runs] == [[150], [90], [45, 40], [30], [8, 5]]
    await lane.close()


async def test_questions_that_wait_share_the_next_run() -> None:
    """While one question is computed, those that arrive are merged into one batch."""
    machine = Machine(held=True)
    lane = machine.lane()
    first = asyncio.create_task(lane.embed(["one"]))
    await until(lambda: len(machine.runs) == 1)
    others = [asyncio.create_task(lane.embed([text])) for text in ("two", "tri", "four")]
    await asyncio.sleep(0)
    machine.let(EVERYTHING)
    rows = [await task for task in (first, *others)]
    assert [row.tolist() for row in rows] == [[[3.0]], [[3.0]], [[3.0]], [[4.0]]]
    assert machine.runs == [["one"], ["two", "tri", "four"]]
    await lane.close()


async def test_a_short_question_is_not_padded_to_a_long_one() -> None:
    """Merging stops where padding would cost more than a quarter."""
    machine = Machine(held=True)
    lane = machine.lane(budget=1000)
    tasks = [asyncio.create_task(lane.embed([text])) for text in ("x", "long" * 20, "short", "brief", "long" * 19)]
    await until(lambda: len(machine.runs) == 1)
    await asyncio.sleep(0)
    machine.let(EVERYTHING)
    await asyncio.gather(*tasks)
    assert machine.runs == [["x"], ["long" * 20, "long" * 19], ["short", "brief"]]
    await lane.close()


async def test_two_bulk_jobs_share_the_machine() -> None:
    """A small job that comes second does not wait for the whole of a large one."""
    machine = Machine(held=True)
    lane = machine.lane(budget=10)
    large = asyncio.create_task(lane.embed(["large job"] * 10))
    await until(lambda: len(machine.runs) == 1)
    small = asyncio.create_task(lane.embed(["small job"]))
    await asyncio.sleep(0)
    machine.let(EVERYTHING)
    await small
    assert ["small job"] in machine.runs[:3]
    await large
    await lane.close()


async def test_cancelling_one_caller_hurts_no_other() -> None:
    """Of two callers in one batch one leaves: the other gets its rows, and later callers theirs."""
    machine = Machine(held=True)
    lane = machine.lane()
    running = asyncio.create_task(lane.embed(["running"]))
    await until(lambda: len(machine.runs) == 1)
    leaves, stays = (asyncio.create_task(lane.embed([text])) for text in ("leaves", "stays!"))
    await asyncio.sleep(0)
    running.cancel()
    machine.let(1)
    await until(lambda: len(machine.runs) == 2)
    assert machine.runs[1] == ["leaves", "stays!"]
    leaves.cancel()
    machine.let(EVERYTHING)
    assert (await stays).tolist() == [[6.0]]
    assert (await lane.embed(["later"])).tolist() == [[5.0]]
    for task in (running, leaves):
        with pytest.raises(asyncio.CancelledError):
            await task
    await lane.close()


async def test_cancelled_bulk_work_is_not_computed() -> None:
    """What is not in a batch yet when its caller leaves costs nothing more."""
    machine = Machine(held=True)
    lane = machine.lane(budget=10)
    work = asyncio.create_task(lane.embed(["some text"] * 50))
    await until(lambda: len(machine.runs) == 1)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    machine.let(EVERYTHING)
    await lane.embed(["next"])
    assert machine.runs == [["some text"], ["next"]]
    await lane.close()


async def test_an_error_reaches_its_caller_and_the_next_one_is_served() -> None:
    machine = Machine()
    machine.failing = {"bad"}
    lane = machine.lane(budget=3)
    with pytest.raises(EmbeddingError, match="cannot embed this"):
        await lane.embed(["bad", "ok", "ok"])
    assert (await lane.embed(["good"])).tolist() == [[4.0]]
    await lane.close()


async def test_closing_finishes_what_runs_and_fails_what_waits() -> None:
    """Nobody is left waiting for ever, and nothing is accepted afterwards."""
    machine = Machine(held=True)
    lane = machine.lane()
    runs = asyncio.create_task(lane.embed(["runs"]))
    await until(lambda: len(machine.runs) == 1)
    waits = asyncio.create_task(lane.embed(["waits"]))
    await asyncio.sleep(0)
    closing = asyncio.create_task(lane.close())
    with pytest.raises(EmbeddingError, match="closed"):
        await waits
    machine.let(EVERYTHING)
    assert (await runs).tolist() == [[4.0]]
    await closing
    with pytest.raises(EmbeddingError, match="closed"):
        await lane.embed(["after"])
    await lane.close()


async def test_nothing_in_nothing_out() -> None:
    machine = Machine()
    lane = machine.lane()
    assert (await lane.embed([])).shape == (0, 1)
    assert machine.runs == []
    await lane.close()


async def test_bulk_work_uses_all_its_workers() -> None:
    """With two workers, two batches are computed at once."""
    machine = Machine(held=True)
    lane = machine.lane(budget=10, workers=2)
    work = asyncio.create_task(lane.embed(["some text"] * 6))
    await until(lambda: len(machine.runs) == 2)
    machine.let(EVERYTHING)
    assert (await work).shape == (6, 1)
    assert len(machine.threads) == 2
    await lane.close()


@given(st.lists(st.lists(st.integers(1, 300), max_size=20), max_size=5), st.integers(1, 600))
def test_every_item_is_taken_once_within_the_budget(jobs: list[list[int]], budget: int) -> None:
    """Whatever waits: no batch over the budget but a single item, little padding, nothing lost or twice."""

    async def empty() -> tuple[list[tuple[int, int]], list[list[int]]]:
        waiting = deque(request(lengths) for lengths in jobs)
        numbers = {id(one): number for number, one in enumerate(waiting)}
        taken: list[tuple[int, int]] = []
        sizes: list[list[int]] = []
        while waiting:
            batch = take(waiting, budget)
            taken += [(numbers[id(one)], position) for one, position in batch]
            sizes.append([one.lengths[position] for one, position in batch])
        return taken, sizes

    taken, sizes = asyncio.run(empty())
    assert sorted(taken) == [(job, item) for job, lengths in enumerate(jobs) for item in range(len(lengths))]
    assert_bounded([size for size in sizes if size], budget)


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(1, 600))
def test_one_job_alone_is_cut_by_the_same_rule(lengths: list[int], budget: int) -> None:
    """Work that nobody shares: each position once, longest first, within the budget."""
    cut = batches(lengths, budget)
    assert sorted(position for batch in cut for position in batch) == list(range(len(lengths)))
    sizes = [[lengths[position] for position in batch] for batch in cut]
    assert_bounded(sizes, budget)
    flat = [size for batch in sizes for size in batch]
    assert flat == sorted(flat, reverse=True)


def assert_bounded(sizes: list[list[int]], budget: int) -> None:
    for batch in sizes:
        padded = max(batch) * len(batch)
        assert len(batch) == 1 or padded <= budget
        assert padded <= 1.25 * sum(batch)


def request(lengths: list[int]) -> Request[str]:
    return Request(
        items=[""] * len(lengths),
        lengths=lengths,
        pending=sorted(range(len(lengths)), key=lengths.__getitem__),
        vectors=np.empty((len(lengths), 1), np.float32),
        missing=len(lengths),
        result=asyncio.get_running_loop().create_future(),
    )
