"""The extraction of a collection: what no model has read is sent, what comes back is kept at once, then gives names.

The store is the queue. A run that was killed has kept everything that came back, and the next one sends the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rag.errors import ModelInterrupted, ModelTimeout, ModelTruncated, ModelUnavailable
from rag.extracted import Found, Keys, UnreadChunk, applied, decoded, encoded
from rag.ingest.llm_extract.ports import ExtractionStore, Model
from rag.ingest.llm_extract.prompt import batches, estimate, messages
from rag.ingest.llm_extract.reply import read
from rag.ingest.llm_extract.resolve import resolved
from rag.records import Chunk
from rag.resilience.deadline import Deadline
from rag.transfer.lines import with_terms
from rag.transfer.ports import Dumped

CALLS_AT_ONCE = 8
CALL_S = 180.0
"""For one call, its retries included."""
_PAGE = 480
_OF_ONE_ANSWER = (ModelInterrupted, ModelTimeout, ModelTruncated)
_FAILURES_IN_A_ROW = 5
"""An endpoint that was fine before may fail so often (an empty answer, a 500 that stays) until the run is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Of a million tokens, in whatever currency."""

    input: float
    output: float

    def of(self, input_tokens: int, output_tokens: int) -> float:
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What there is to send. Tokens are estimates."""

    model: str
    chunks: int = 0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    """None: no price is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionReport:
    """What an extraction did."""

    model: str
    is_refused: bool = False
    """Whoever was asked about the cost said no; nothing was sent."""
    chunks: int = 0
    """Read now."""
    failed: tuple[str, ...] = ()
    """Documents with chunks that got no valid answer, one for each such chunk; the next run sends them again."""
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    is_counted: bool = True
    """Whether the endpoint told the tokens of every call."""
    cost: float | None = None
    entities: int = 0
    """Of the whole collection, counted once in each chunk; and"""
    relations: int = 0
    documents: int = 0
    """Documents that got other names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an extraction is."""

    chunks: int
    chunks_total: int


Confirm = Callable[[Plan], Awaitable[bool]]


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What came back so far."""

    chunks: int = 0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    is_counted: bool = True
    failed: list[str] = field(default_factory=list)


async def extract(
    store: ExtractionStore,
    model: Model,
    collection: str,
    *,
    confirm: Confirm,
    price: Price | None = None,
    on_progress: Callable[[Progress], None] = lambda _progress: None,
    calls_at_once: int = CALLS_AT_ONCE,
) -> ExtractionReport:
    """Have `model` read what none has read of this collection, and give its sentences the names that were found.

    `confirm` is asked before anything is sent, unless there is nothing to send. Raises a `ModelError` if the endpoint
    refuses or is away, a `StoreError`; what came back before is kept.
    """
    plan = await planned(store, model.model, collection, price)
    tally = _Tally()
    if plan.chunks:
        if not await confirm(plan):
            return ExtractionReport(model=model.model, is_refused=True)

        def on_read() -> None:
            on_progress(Progress(chunks=tally.chunks + len(tally.failed), chunks_total=plan.chunks))

        reading = _Reading(store, model, collection, tally, on_read)
        await reading.run(calls_at_once)
    found = {digest: decoded(text) for digest, text in (await store.extracted(collection)).items()}
    documents = await _give_names(store, collection, found)
    return ExtractionReport(
        model=model.model,
        chunks=tally.chunks,
        failed=tuple(tally.failed),
        calls=tally.calls,
        input_tokens=tally.input_tokens,
        output_tokens=tally.output_tokens,
        is_counted=tally.is_counted,
        cost=None if price is None else price.of(tally.input_tokens, tally.output_tokens),
        entities=sum(len(each.entities) for each in found.values()),
        relations=sum(len(each.relations) for each in found.values()),
        documents=documents,
    )


async def planned(store: ExtractionStore, model: str, collection: str, price: Price | None) -> Plan:
    """What an extraction would send, and about what that costs."""
    plan = Plan(model=model)
    async for batch in _unread(store, collection):
        told, answered = estimate(batch)
        plan = replace(
            plan,
            chunks=plan.chunks + len(batch),
            calls=plan.calls + 1,
            input_tokens=plan.input_tokens + told,
            output_tokens=plan.output_tokens + answered,
        )
    return replace(plan, cost=None if price is None else price.of(plan.input_tokens, plan.output_tokens))


async def _unread(store: ExtractionStore, collection: str) -> AsyncIterator[list[UnreadChunk]]:
    after = 0
    while page := await store.unread(collection, _PAGE, after=after):
        after = max(chunk.key for chunk in page)
        for batch in batches(page):
            yield batch


class _Reading:
    """Calls, several at once."""

    def __init__(
        self, store: ExtractionStore, model: Model, collection: str, tally: _Tally, on_read: Callable[[], None]
    ) -> None:
        self._store = store
        self._model = model
        self._collection = collection
        self._tally = tally
        self._on_read = on_read
        self._sent: set[str] = set()
        self._taking = asyncio.Lock()
        self._failures = 0
        self._has_answered = False

    async def run(self, calls_at_once: int) -> None:
        """Until everything was sent once, and what failed twice."""
        waiting = _unread(self._store, self._collection)
        tasks = [asyncio.create_task(self._work(waiting)) for _ in range(calls_at_once)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, waiting: AsyncIterator[list[UnreadChunk]]) -> None:
        while True:
            async with self._taking:
                batch = await anext(waiting, None)
                if batch is None:
                    return
                # A page may repeat what an earlier one had: equal chunks are one only within a page.
                batch = [chunk for chunk in batch if chunk.digest not in self._sent]
                self._sent.update(chunk.digest for chunk in batch)
            if batch:
                await self._read(batch)

    async def _read(self, batch: Sequence[UnreadChunk]) -> None:
        """One call; chunks that got no valid answer are sent once more, each by itself, lest one spoils the others."""
        missing = await self._ask(batch)
        for chunk in missing:
            if await self._ask([chunk]):
                self._tally.failed.append(chunk.document)
                self._on_read()

    async def _ask(self, batch: Sequence[UnreadChunk]) -> list[UnreadChunk]:
        """Keep what comes back; the chunks that are missing in it."""
        self._tally.calls += 1
        try:
            text, usage = await self._model.complete(messages(batch), deadline=Deadline.after(CALL_S))
        except (*_OF_ONE_ANSWER, ModelUnavailable) as error:
            self._failures += 1
            if self._failures >= _FAILURES_IN_A_ROW or not (self._has_answered or isinstance(error, _OF_ONE_ANSWER)):
                raise
            self._tally.is_counted = False
            return list(batch)
        self._failures, self._has_answered = 0, True
        self._tally.calls += max(0, usage.llm_calls - 1)
        self._tally.input_tokens += usage.input_tokens or 0
        self._tally.output_tokens += usage.output_tokens or 0
        self._tally.is_counted = self._tally.is_counted and None not in (usage.input_tokens, usage.output_tokens)
        found = read(text, batch)
        if found:
            await self._store.keep_extracted(
                self._collection, {digest: encoded(each) for digest, each in found.items()}
            )
            self._tally.chunks += len(found)
            self._on_read()
        return [chunk for chunk in batch if chunk.digest not in found]


async def _give_names(store: ExtractionStore, collection: str, found: Mapping[str, Found]) -> int:
    """Bring the names of sentences in line with everything found in the collection; how many documents changed."""
    wanted = await asyncio.to_thread(resolved, found)
    changed = {digest: keys for digest, keys in wanted.items() if keys != found[digest].keys}
    if not changed:
        return 0
    count, after = 0, 0
    while True:
        page = await store.dump(frozenset({collection}), after=after)
        # What was written meanwhile comes again at the end, and needs nothing any more.
        touched = [each for each in page.documents if any(_lacks(chunk, changed) for chunk in each.document.chunks)]
        if touched:
            await store.enrich(await asyncio.to_thread(_renamed, touched, changed), page.embedding)
            count += len(touched)
        if page.after is None:
            return count
        after = page.after


def _lacks(chunk: Chunk, keys: Mapping[str, Keys]) -> bool:
    wanted = keys.get(chunk.digest)
    return wanted is not None and chunk.extracted is not None and decoded(chunk.extracted).keys != wanted


def _renamed(documents: Sequence[Dumped], keys: Mapping[str, Keys]) -> list[Dumped]:
    result = []
    for each in documents:
        chunks = tuple(
            applied(chunk, decoded(chunk.extracted), keys[chunk.digest])
            if chunk.extracted is not None and chunk.digest in keys
            else chunk
            for chunk in each.document.chunks
        )
        result.append(with_terms(replace(each, document=replace(each.document, chunks=chunks))))
    return result
