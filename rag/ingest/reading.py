"""The first half of an ingest: every file read in a parsing process, its documents written, its outcome told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rag.errors import IngestError
from rag.ingest.batches import Batches
from rag.ingest.discover import SourceFile
from rag.ingest.frames import Job, Same, Trouble
from rag.ingest.options import IngestOptions
from rag.ingest.outcome import FileOutcome, Outcome
from rag.ingest.sandbox import ParserPool, Unchanged
from rag.ports import Ingested, KnowledgeStore
from rag.records import Document

MOST_NAMES = 50_000
"""Names are counted up to here: the figure is for people, and a file can be a dictionary."""


@dataclass(slots=True)
class _Tally:
    """What one file has given so far."""

    ids: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    written: int = 0
    same: int = 0
    chunks: int = 0
    names: set[str] = field(default_factory=set)
    has_trouble: bool = False
    held: Document | None = None
    """The file's own document, kept back until its further parts are written: it carries the mark of completeness."""


@dataclass(slots=True, kw_only=True)
class Reading:
    """Reads files and writes what they give."""

    store: KnowledgeStore
    pool: ParserPool
    batches: Batches
    options: IngestOptions
    known: Mapping[str, Mapping[str, Ingested]]
    """By source, what the store holds of it."""
    whole: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    """By source and file, the ids that a file gave which was read to its end without trouble."""
    _before: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    _owners: dict[tuple[str, str], str] = field(default_factory=dict)

    async def read(self, files: Iterable[SourceFile]) -> None:
        """Read all `files`, as many at once as there are parsing processes. Raises a `StoreError`."""
        files = tuple(files)
        self._claim(files)
        waiting = iter(files)
        tasks = [asyncio.create_task(self._read_some(waiting)) for _ in range(self.pool.processes)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self.batches.flush()

    def _claim(self, files: tuple[SourceFile, ...]) -> None:
        """Within a source an id belongs to one file: to the one it is the path of, else to the one that had it."""
        present = {(file.source, file.id) for file in files}
        for source, documents in self.known.items():
            for identity, ingested in documents.items():
                self._before.setdefault((source, ingested.file), {})[identity] = ingested.content_hash
                if (source, ingested.file) in present:
                    self._owners[source, identity] = ingested.file
        self._owners.update({(file.source, file.id): file.id for file in files})

    async def _read_some(self, files: Iterable[SourceFile]) -> None:
        for file in files:
            await self._read_file(file)

    async def _read_file(self, file: SourceFile) -> None:
        before = self._before.get((file.source, file.id), {})
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
                    if self._may_write(file, result.id, tally):
                        tally.same += 1
                elif self._may_write(file, result.document.id, tally):
                    tally.notes.extend(result.warnings)
                    await self._take(result.document, tally, is_own=result.is_own)
        except Unchanged:
            await self._settle(file, "unchanged", _Tally(same=len(before)))
        except IngestError as error:
            await self._fail(file, tally, str(error), before)
        else:
            await self._complete(file, tally, before)

    def _may_write(self, file: SourceFile, identity: str, tally: _Tally) -> bool:
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
        if len(tally.names) < MOST_NAMES:
            for chunk in document.chunks:
                for sentence in chunk.sentences:
                    tally.names.update(_longest(sentence.names))
        if not is_own and tally.held is None:
            tally.held = document
        else:
            await self.batches.add(document)

    async def _complete(self, file: SourceFile, tally: _Tally, before: Mapping[str, str]) -> None:
        await self._remove_parts(file, tally, before)
        if tally.held is not None:
            await self.batches.add(tally.held)
        if not tally.has_trouble:
            self.whole.setdefault(file.source, {})[file.id] = tally.ids
        if tally.written + tally.same == 0:
            await self._settle(file, "failed", tally, reason="holds no document that could be read")
        elif tally.written == 0:
            await self._settle(file, "unchanged", tally)
        else:
            await self._settle(file, "updated" if before else "added", tally)

    async def _fail(self, file: SourceFile, tally: _Tally, reason: str, before: Mapping[str, str]) -> None:
        """Documents written before the trouble stay, and so does an earlier version of the others."""
        if before:
            reason += f"; the {'earlier version stays' if len(before) == 1 else 'earlier versions stay'}"
        if tally.held is not None:
            tally.written -= 1
        await self._settle(file, "failed", tally, reason=reason)

    async def _settle(self, file: SourceFile, outcome: Outcome, tally: _Tally, reason: str | None = None) -> None:
        await self.batches.settle(
            FileOutcome(
                file=file.id,
                source=file.source,
                outcome=outcome,
                reason=reason,
                notes=tuple(tally.notes),
                is_partial=tally.has_trouble,
                documents=tally.written + tally.same,
                chunks=tally.chunks,
                names=min(len(tally.names), MOST_NAMES),
            ),
            file.size,
        )

    async def _remove_parts(self, file: SourceFile, tally: _Tally, before: Mapping[str, str]) -> None:
        """Parts that a file used to be cut into and no longer is belong to its old version."""
        gone = [identity for identity in before if identity.startswith(f"{file.id}#") and identity not in tally.ids]
        if gone and not self.options.is_dry_run:
            await self.store.remove(self.options.collection, gone, source=file.source)


def _longest(names: Iterable[str]) -> list[str]:
    """Those that are no part of another: `nguyen van an` is indexed as `nguyen van`, `van an`, ... as well."""
    kept: list[str] = []
    whole = " "
    for name in sorted(names, key=len, reverse=True):
        if f" {name} " not in whole:
            kept.append(name)
            whole += f"{name} | "
    return kept
