"""Files into the store: read in parsing processes, searchable by full text at once, vectors after.

What holds at every moment, also after `kill -9`: a document is in the store as a whole, old or new; what has no
vectors yet is marked as pending and finished by the next ingest; a file counts as done only when all of it is in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from rag.errors import InputError
from rag.ingest.batches import Batches
from rag.ingest.discover import Discovered, check_collection, discover
from rag.ingest.meter import Meter, OnProgress
from rag.ingest.options import IngestOptions
from rag.ingest.outcome import IngestReport
from rag.ingest.reading import Reading
from rag.ingest.sandbox import ParserPool
from rag.ingest.sync import SyncPlan, check_same_folder, plan_sync
from rag.ingest.vectors import attach_pending
from rag.ports import Embedder, Ingested, KnowledgeStore
from rag.records import Document

__all__ = ["Confirm", "IngestOptions", "OnProgress", "ingest", "ingest_files"]

Confirm = Callable[[SyncPlan], Awaitable[bool]]

_TEXTS_PER_CHUNK = 8
"""For the first guess at the time left: a chunk and its sentences."""


async def ingest(
    paths: Sequence[str | Path],
    *,
    store: KnowledgeStore,
    embedder: Embedder | None,
    options: IngestOptions,
    pool: ParserPool,
    source: str | None = None,
    on_progress: OnProgress | None = None,
    confirm: Confirm | None = None,
) -> IngestReport:
    """Everything under `paths` into the store; returns when text and vectors are in place.

    `source` overrides the name made of the folder. `confirm` is asked before a sync removes more than a fifth of a
    source; without it such documents are kept. Without `embedder` nothing gets vectors.

    Raises `InputError` (a path, a collection name, a sync of the wrong folder), `StoreError`, `EmbeddingError`.
    What one file suffers is in the report.
    """
    check_collection(options.collection)
    found = await asyncio.to_thread(discover, paths, source=source)
    if options.is_sync and not found.folders:
        raise InputError("--sync compares a whole folder with what was ingested of it before; name the folder")
    return await ingest_files(
        found, store=store, embedder=embedder, options=options, pool=pool, on_progress=on_progress, confirm=confirm
    )


async def ingest_files(
    found: Discovered,
    *,
    store: KnowledgeStore,
    embedder: Embedder | None,
    options: IngestOptions,
    pool: ParserPool,
    on_progress: OnProgress | None = None,
    confirm: Confirm | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> IngestReport:
    """As `ingest`, for files that are known already (uploads)."""
    check_collection(options.collection)
    if embedder is not None:
        await store.check_embedding(embedder.name, embedder.dimensions)
    known = await _known(found, store, options)
    meter = Meter(found=found, on_progress=on_progress or _unwatched, clock=clock)
    for outcome in found.set_aside:
        meter.settled(outcome)
    batches = Batches(put=_not_put if options.is_dry_run else store.put, meter=meter, clock=clock)
    reading = Reading(store=store, pool=pool, batches=batches, options=options, known=known)
    await reading.read(found.files)
    removed, kept = await _sync(found, store, options, reading, confirm) if options.is_sync else ((), ())
    text_s = meter.elapsed_s()
    if embedder is not None and not options.is_dry_run:
        await _embed(store, embedder, meter)
    if not options.is_dry_run:
        await store.refresh()
    return IngestReport(
        outcomes=tuple(meter.outcomes),
        removed=removed,
        kept=kept,
        chunks=meter.chunks,
        vectors=meter.vectors,
        bytes=meter.bytes_done,
        text_s=text_s,
        total_s=meter.elapsed_s(),
    )


async def _known(
    found: Discovered, store: KnowledgeStore, options: IngestOptions
) -> Mapping[str, Mapping[str, Ingested]]:
    """By source, what the store holds of it. Raises `InputError` for a sync of the wrong folder."""
    sources = dict.fromkeys([*(file.source for file in found.files), *found.folders])
    known = {source: await store.ingested(options.collection, source) for source in sources}
    if options.is_sync:
        for source in found.folders:
            check_same_folder(source, known[source], [file.id for file in found.files if file.source == source])
    return known


async def _sync(
    found: Discovered, store: KnowledgeStore, options: IngestOptions, reading: Reading, confirm: Confirm | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Remove what vanished; returns what was removed and what was kept."""
    removed: list[str] = []
    kept: list[str] = []
    for source in found.folders:
        present = [file.id for file in found.files if file.source == source]
        present += [outcome.file for outcome in found.set_aside if outcome.source == source]
        plan = plan_sync(
            source,
            reading.known[source],
            files=present,
            read=reading.whole.get(source, {}),
            unreadable=[folder for place, folder in found.unreadable if place == source],
        )
        if not plan.removed:
            continue
        if options.is_dry_run:
            removed.extend(plan.removed)
        elif plan.needs_asking and not (confirm is not None and await confirm(plan)):
            kept.extend(plan.removed)
        else:
            await store.remove(options.collection, plan.removed, source=source)
            removed.extend(plan.removed)
    return tuple(removed), tuple(kept)


async def _embed(store: KnowledgeStore, embedder: Embedder, meter: Meter) -> None:
    """Give everything pending its vectors, this ingest's and what an interrupted one left."""
    pending = sum(counts.pending for counts in (await store.counts()).values())
    meter.vectors_begin(pending * _TEXTS_PER_CHUNK)
    await attach_pending(store, embedder, on_texts=meter.embedded)
    if pending:
        meter.embedded(0, is_all=True)


async def _not_put(_documents: Sequence[Document]) -> None:
    return None


def _unwatched(_event: object) -> None:
    return None
