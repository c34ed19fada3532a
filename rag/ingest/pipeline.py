"""Files into the store: read in parsing processes, searchable by full text at once, vectors after.

What holds at every moment, also after `kill -9`: a document is in the store as a whole, old or new; what has no
vectors yet is marked as pending and finished by the next ingest; a file counts as done only when all of it is in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rag.errors import IngestError, InputError
from rag.ingest.discover import Discovered, SourceFile, check_collection, discover
from rag.ingest.frames import Job, Same, Trouble
from rag.ingest.outcome import FileOutcome, IngestReport, Outcome, Progress, eta_s
from rag.ingest.parse import MAX_FILE_BYTES
from rag.ingest.sandbox import ParserPool, Unchanged
from rag.ingest.sync import SyncPlan, check_same_folder, plan_sync
from rag.ingest.vectors import attach_pending
from rag.ports import Embedder, Ingested, KnowledgeStore
from rag.records import Document

OnProgress = Callable[[Progress], None]
Confirm = Callable[[SyncPlan], Awaitable[bool]]

_BATCH_CHUNKS = 512
_BATCH_S = 0.5
"""A document waits at most so long for others to share its transaction."""
_TEXTS_PER_CHUNK = 8
"""For the first guess at the time left: a chunk and its sentences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """How to ingest."""

    collection: str = "public"
    is_sync: bool = False
    """Remove what vanished from the same sources."""
    is_dry_run: bool = False
    """Read everything and change nothing."""
    max_bytes: int = MAX_FILE_BYTES
    """Larger files are refused."""


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
) -> IngestReport:
    """As `ingest`, for files that are known already (uploads)."""
    check_collection(options.collection)
    if embedder is not None:
        await store.check_embedding(embedder.name, embedder.dimensions)
    run = _Run(store=store, pool=pool, options=options, found=found, on_progress=on_progress or (lambda _event: None))
    await run.load()
    await run.read_all()
    removed, kept = await run.sync(confirm) if options.is_sync else ((), ())
    text_s = run.elapsed()
    if embedder is not None and not options.is_dry_run:
        await run.embed(embedder)
    if not options.is_dry_run:
        await store.refresh()
    return IngestReport(
        outcomes=tuple(run.outcomes),
        removed=removed,
        kept=kept,
        chunks=run.chunks,
        vectors=run.vectors,
        bytes=run.bytes_done,
        text_s=text_s,
        total_s=run.elapsed(),
    )


@dataclass(slots=True)
class _Tally:
    """What one file has given so far."""

    ids: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    written: int = 0
    same: int = 0
    chunks: int = 0
    has_trouble: bool = False
    held: Document | None = None
    """The file's own document, kept back until its further parts are written: it carries the mark of completeness."""


@dataclass(slots=True, kw_only=True)
class _Run:
    """One ingest under way."""

    store: KnowledgeStore
    pool: ParserPool
    options: IngestOptions
    found: Discovered
    on_progress: OnProgress
    outcomes: list[FileOutcome] = field(default_factory=list)
    chunks: int = 0
    vectors: int = 0
    bytes_done: int = 0
    _known: dict[str, Mapping[str, Ingested]] = field(default_factory=dict)
    _by_file: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    _owners: dict[tuple[str, str], str] = field(default_factory=dict)
    _read: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)
    _batch: list[Document] = field(default_factory=list)
    _batch_chunks: int = 0
    _finished: list[tuple[SourceFile, FileOutcome]] = field(default_factory=list)
    _flushed_at: float = field(default_factory=time.monotonic)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def elapsed(self) -> float:
        return time.monotonic() - self._began

    async def load(self) -> None:
        """What the store holds of these sources. Raises `InputError` for a sync of the wrong folder."""
        names = {file.id: file for file in self.found.files}
        for source in dict.fromkeys([*(file.source for file in self.found.files), *self.found.folders]):
            known = await self.store.ingested(self.options.collection, source)
            self._known[source] = known
            for identity, ingested in known.items():
                self._by_file.setdefault((source, ingested.file), {})[identity] = ingested.content_hash
                if ingested.file in names:
                    self._owners[source, identity] = ingested.file
            if self.options.is_sync and source in self.found.folders:
                check_same_folder(source, known, [file.id for file in self.found.files if file.source == source])
        for file in self.found.files:
            self._owners[file.source, file.id] = file.id
        for outcome in self.found.set_aside:
            self.outcomes.append(outcome)
            self._report("text", latest=outcome)

    async def read_all(self) -> None:
        """Read every file, as many at once as there are parsing processes, and write what they give."""
        files = iter(self.found.files)
        tasks = [asyncio.create_task(self._read_some(files)) for _ in range(self.pool.processes)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._flush()

    async def _read_some(self, files: Iterable[SourceFile]) -> None:
        for file in files:
            await self._read_file(file)

    async def _read_file(self, file: SourceFile) -> None:
        before = self._by_file.get((file.source, file.id), {})
        job = Job(
            path=file.path,
            file_id=file.id,
            collection=self.options.collection,
            source=file.source,
            max_bytes=self.options.max_bytes,
            is_known=file.id in before,
            known=frozenset(before.values()),
        )
        tally = _Tally()
        try:
            async for result in self.pool.read(job):
                if isinstance(result, Trouble):
                    tally.notes.append(result.line)
                    tally.has_trouble = True
                elif isinstance(result, Same):
                    if self._claims(file, result.id, tally):
                        tally.same += 1
                elif self._claims(file, result.document.id, tally):
                    tally.notes.extend(result.warnings)
                    await self._take(result.document, tally, is_own=result.is_own)
        except Unchanged:
            await self._finish(
                file, FileOutcome(file=file.id, source=file.source, outcome="unchanged", documents=len(before))
            )
            return
        except IngestError as error:
            await self._fail(file, tally, str(error), before)
            return
        await self._complete(file, tally, before)

    def _claims(self, file: SourceFile, identity: str, tally: _Tally) -> bool:
        """Whether this file may write that document: within a source an id belongs to one file."""
        owner = self._owners.setdefault((file.source, identity), file.id)
        if owner != file.id:
            tally.notes.append(f"the id '{identity[:60]}' belongs to {owner}; that one was kept")
            tally.has_trouble = True
            return False
        tally.ids.add(identity)
        return True

    async def _take(self, document: Document, tally: _Tally, *, is_own: bool) -> None:
        tally.written += 1
        tally.chunks += len(document.chunks)
        if not is_own and tally.held is None:
            tally.held = document
        else:
            await self._write(document)

    async def _complete(self, file: SourceFile, tally: _Tally, before: Mapping[str, str]) -> None:
        await self._remove_parts(file, tally, before)
        if tally.held is not None:
            await self._write(tally.held)
        if not tally.has_trouble:
            self._read.setdefault(file.source, {})[file.id] = tally.ids
        count = tally.written + tally.same
        outcome: Outcome = "unchanged" if tally.written == 0 else "updated" if before else "added"
        reason = None
        if count == 0:
            outcome, reason = "failed", "holds no document that could be read"
        await self._finish(
            file,
            FileOutcome(
                file=file.id,
                source=file.source,
                outcome=outcome,
                reason=reason,
                notes=tuple(tally.notes),
                is_partial=tally.has_trouble,
                documents=count,
                chunks=tally.chunks,
            ),
        )

    async def _fail(self, file: SourceFile, tally: _Tally, reason: str, before: Mapping[str, str]) -> None:
        """Documents written before the trouble stay, and so does an earlier version of the others."""
        if before:
            reason += f"; the {'earlier version stays' if len(before) == 1 else 'earlier versions stay'}"
        await self._finish(
            file,
            FileOutcome(
                file=file.id,
                source=file.source,
                outcome="failed",
                reason=reason,
                notes=tuple(tally.notes),
                is_partial=tally.written > 0,
                documents=tally.written - (tally.held is not None),
                chunks=tally.chunks,
            ),
        )

    async def _remove_parts(self, file: SourceFile, tally: _Tally, before: Mapping[str, str]) -> None:
        """Parts that a file used to be cut into and no longer is belong to its old version."""
        gone = [identity for identity in before if identity.startswith(f"{file.id}#") and identity not in tally.ids]
        if gone and not self.options.is_dry_run:
            await self.store.remove(self.options.collection, gone, source=file.source)

    async def _write(self, document: Document) -> None:
        self._batch.append(document)
        self._batch_chunks += len(document.chunks)
        if self._batch_chunks >= _BATCH_CHUNKS:
            await self._flush()

    async def _finish(self, file: SourceFile, outcome: FileOutcome) -> None:
        self._finished.append((file, outcome))
        if not self._batch or time.monotonic() - self._flushed_at > _BATCH_S:
            await self._flush()

    async def _flush(self) -> None:
        """Write the batch in one transaction, then tell what became of its files."""
        async with self._writing:
            batch, self._batch, self._batch_chunks = self._batch, [], 0
            finished, self._finished = self._finished, []
            if batch and not self.options.is_dry_run:
                await self.store.put(batch)
            self.chunks += sum(len(document.chunks) for document in batch)
            self._flushed_at = time.monotonic()
        for file, outcome in finished:
            self.bytes_done += file.size
            self.outcomes.append(outcome)
            self._report("text", latest=outcome)

    async def sync(self, confirm: Confirm | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Remove what vanished; returns what was removed and what was kept."""
        removed: list[str] = []
        kept: list[str] = []
        for source in self.found.folders:
            plan = plan_sync(
                source,
                self._known[source],
                files={
                    *(file.id for file in self.found.files if file.source == source),
                    *(outcome.file for outcome in self.found.set_aside if outcome.source == source),
                },
                read=self._read.get(source, {}),
                unreadable=[folder for place, folder in self.found.unreadable if place == source],
            )
            if not plan.removed:
                continue
            if self.options.is_dry_run:
                removed.extend(plan.removed)
            elif plan.needs_asking and not (confirm is not None and await confirm(plan)):
                kept.extend(plan.removed)
            else:
                await self.store.remove(self.options.collection, plan.removed, source=source)
                removed.extend(plan.removed)
        return tuple(removed), tuple(kept)

    async def embed(self, embedder: Embedder) -> None:
        """Give everything pending its vectors, this ingest's and what an interrupted one left."""
        pending = sum(counts.pending for counts in (await self.store.counts()).values())
        began = time.monotonic()

        def on_texts(count: int) -> None:
            self.vectors += count
            self._report("vectors", vectors_total=total, vectors_s=time.monotonic() - began)

        total = pending * _TEXTS_PER_CHUNK
        await attach_pending(self.store, embedder, on_texts=on_texts)
        if pending:
            total = self.vectors
            self._report("vectors", vectors_total=total, vectors_s=time.monotonic() - began)

    def _report(
        self,
        stage: str,
        *,
        latest: FileOutcome | None = None,
        vectors_total: int | None = None,
        vectors_s: float = 0.0,
    ) -> None:
        bytes_total = sum(file.size for file in self.found.files)
        if stage == "text":
            left = eta_s(elapsed_s=self.elapsed(), done=self.bytes_done, total=bytes_total)
        else:
            total = max(vectors_total or 0, self.vectors)
            left = eta_s(elapsed_s=vectors_s, done=self.vectors, total=total)
        self.on_progress(
            Progress(
                stage="text" if stage == "text" else "vectors",
                files_done=len(self.outcomes),
                files_total=len(self.found.files) + len(self.found.set_aside),
                bytes_done=self.bytes_done,
                bytes_total=bytes_total,
                chunks=self.chunks,
                vectors=self.vectors,
                vectors_total=None if vectors_total is None else max(vectors_total, self.vectors),
                eta_s=left,
                latest=latest,
            )
        )
