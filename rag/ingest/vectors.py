"""The second half of an ingest: texts that the store says have no vectors yet get them, until none is left.

The store is the queue. So nothing is held in memory, a killed ingest goes on where it stopped, and what another
process left pending is finished along the way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from rag.ports import Embedder, KnowledgeStore, PendingChunk, Vectors

_CHUNKS_PER_BATCH = 64
"""Some 500 texts: long enough to sort by length within, short enough to lose little when killed."""
_BATCHES_AHEAD = 2
"""An embedder behind a network is kept busy while the store writes."""


async def attach_pending(
    store: KnowledgeStore, embedder: Embedder, *, on_texts: Callable[[int], None] = lambda _count: None
) -> int:
    """Embed everything that is pending; `on_texts` hears how many texts each batch had. Returns their sum.

    Raises `EmbeddingError`, `EmbeddingMismatch` and other `StoreError`s; what was attached before stays.
    """
    total = 0
    while True:
        texts, attached = await _one_pass(store, embedder, on_texts)
        total += texts
        # Chunks that came in behind the cursor meanwhile (another ingest) are seen by the next pass; one that
        # attached nothing would not get further next time either.
        if attached == 0:
            return total


async def _one_pass(store: KnowledgeStore, embedder: Embedder, on_texts: Callable[[int], None]) -> tuple[int, int]:
    """Go through what is pending once; how many texts were embedded, and how many chunks got their vectors."""
    total, attached, after = 0, 0, 0
    under_way: deque[tuple[tuple[PendingChunk, ...], asyncio.Task[Vectors]]] = deque()
    try:
        while True:
            batch = await store.pending(_CHUNKS_PER_BATCH, after=after)
            if batch:
                after = batch[-1].key
                texts = [text for chunk in batch for text in chunk.texts]
                under_way.append((batch, asyncio.create_task(embedder.embed(texts))))
            if not under_way:
                return total, attached
            if len(under_way) >= _BATCHES_AHEAD or not batch:
                chunks, task = under_way.popleft()
                attached += await _attach(store, embedder, chunks, await task)
                count = sum(len(chunk.texts) for chunk in chunks)
                on_texts(count)
                total += count
    finally:
        for _, task in under_way:
            task.cancel()
        await asyncio.gather(*(task for _, task in under_way), return_exceptions=True)


async def _attach(store: KnowledgeStore, embedder: Embedder, chunks: tuple[PendingChunk, ...], rows: Vectors) -> int:
    at = 0
    vectors = []
    for chunk in chunks:
        vectors.append((chunk.key, rows[at : at + len(chunk.texts)]))
        at += len(chunk.texts)
    return await store.attach(embedder.name, embedder.dimensions, vectors)
