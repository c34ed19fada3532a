"""Questions before bulk work, in front of anything that embeds a batch on the calling thread.

Two lanes of threads: what somebody waits for never stands behind bulk work, which is cut into batches of a bounded
size. Each lane merges what waits into one batch and shares its turns between requests. All decisions are taken on the
event loop; the threads only compute.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import numpy as np

from rag.errors import EmbeddingError
from rag.ports import Vectors

Item = TypeVar("Item")
Run = Callable[[Sequence[Item]], Vectors]

_MOST_PADDING = 1.25
"""A batch is as wide as its longest text; it may hold this many times the tokens of its texts, no more."""


@dataclass(slots=True, eq=False)
class Request(Generic[Item]):
    """One caller's items and the rows that are there already."""

    items: Sequence[Item]
    lengths: Sequence[int]
    pending: list[int]
    """Positions of items not yet in a batch, shortest first: they are taken from the end, so that the last batches
    are the small ones and all threads finish at about the same time."""
    vectors: Vectors
    missing: int
    result: asyncio.Future[Vectors]


Place = tuple[Request[Item], int]


def take(waiting: deque[Request[Item]], budget: int) -> list[Place[Item]]:
    """Remove the next batch from `waiting`: the first request's longest items and what fits beside them.

    `budget` bounds the padded size, longest item times number of items; a longer item goes alone. A request that was
    not served in full goes to the end of the queue. Requests that nobody awaits any more are dropped.
    """
    chosen: list[Place[Item]] = []
    longest = total = 0
    for request in list(waiting):
        while request.pending and not request.result.done():
            length = request.lengths[request.pending[-1]]
            padded = max(longest, length) * (len(chosen) + 1)
            if chosen and (padded > budget or padded > _MOST_PADDING * (total + length)):
                break
            chosen.append((request, request.pending.pop()))
            longest, total = max(longest, length), total + length
        if not request.pending or request.result.done():
            waiting.remove(request)
        if chosen and longest * (len(chosen) + 1) > budget:
            break
    if waiting and chosen and waiting[0] is chosen[0][0]:
        waiting.rotate(-1)
    return chosen


def batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Positions cut into batches, the longest first, by the same rule: for work that nobody shares."""
    cut: list[list[int]] = []
    total = 0
    for position in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        total += lengths[position]
        padded = lengths[cut[-1][0]] * (len(cut[-1]) + 1) if cut else 0
        if not cut or padded > budget or padded > _MOST_PADDING * total:
            cut.append([])
            total = lengths[position]
        cut[-1].append(position)
    return cut


class Lane(Generic[Item]):
    """A queue of requests and the threads that work on it. To be used from one event loop."""

    def __init__(
        self,
        run: Run[Item],
        *,
        length: Callable[[Item], int],
        dimensions: int,
        budget: int,
        workers: int,
        initializer: Callable[[], object] | None = None,
    ) -> None:
        """`initializer` is called once in each thread."""
        self._run = run
        self._length = length
        self._dimensions = dimensions
        self._budget = budget
        self._waiting: deque[Request[Item]] = deque()
        self._running: set[asyncio.Future[Vectors]] = set()
        # A single thread takes what came while it was busy, as one batch. Several have one batch in store, so that
        # a busy event loop does not leave one of them idle.
        self._depth = workers + 1 if workers > 1 else 1
        self._threads = ThreadPoolExecutor(workers, "embed", initializer=initializer)
        self._is_closed = False

    async def embed(self, items: Sequence[Item]) -> Vectors:
        """One row per item. Cancelling drops what is not being computed yet."""
        if self._is_closed:
            raise EmbeddingError("the embedder is closed")
        if not items:
            return np.empty((0, self._dimensions), np.float32)
        lengths = [self._length(item) for item in items]
        request = Request(
            items=items,
            lengths=lengths,
            pending=sorted(range(len(items)), key=lengths.__getitem__),
            vectors=np.empty((len(items), self._dimensions), np.float32),
            missing=len(items),
            result=asyncio.get_running_loop().create_future(),
        )
        self._waiting.append(request)
        self._start()
        try:
            return await request.result
        finally:
            if request in self._waiting:
                self._waiting.remove(request)

    def _start(self) -> None:
        while self._waiting and len(self._running) < self._depth:
            batch = take(self._waiting, self._budget)
            if not batch:
                return
            items = [request.items[position] for request, position in batch]
            running = asyncio.get_running_loop().run_in_executor(self._threads, self._run, items)
            self._running.add(running)
            running.add_done_callback(partial(self._finish, batch))

    def _finish(self, batch: list[Place[Item]], done: asyncio.Future[Vectors]) -> None:
        self._running.discard(done)
        error = done.exception()
        for row, (request, position) in enumerate(batch):
            if request.result.done():
                continue
            if error is not None:
                request.result.set_exception(error)
                continue
            request.vectors[position] = done.result()[row]
            request.missing -= 1
            if not request.missing:
                request.result.set_result(request.vectors)
        self._start()

    async def close(self) -> None:
        """Let running batches finish, fail what waits, end the threads."""
        self._is_closed = True
        for request in self._waiting:
            if not request.result.done():
                request.result.set_exception(EmbeddingError("the embedder was closed"))
        self._waiting.clear()
        while self._running:
            await asyncio.wait(self._running)
        await asyncio.to_thread(self._threads.shutdown)


class MicroBatcher(Generic[Item]):
    """A lane for questions and one for bulk work. To be used from one event loop."""

    def __init__(self, *, urgent: Lane[Item], bulk: Lane[Item]) -> None:
        self._urgent = urgent
        self._bulk = bulk

    async def embed(self, items: Sequence[Item], *, urgent: bool = False) -> Vectors:
        """One row per item, in their order. Raises what `run` raised, or `EmbeddingError` once closed."""
        return await (self._urgent if urgent else self._bulk).embed(items)

    async def close(self) -> None:
        """Let running batches finish, fail what waits, end the threads."""
        await asyncio.gather(self._urgent.close(), self._bulk.close())
