"""The embedded store: one SQLite file, searched in memory, shared by any number of processes.

`EmbeddedStore` is the admin's side (`rag.ports.KnowledgeStore`, async), the ranking's side
(`rag.retrieval.view.Knowledge`, to be called from a thread) and keeps the FAQs (`rag.cache.faq.FaqStore`). One thread
writes, a few read, and one follows the file.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from rag.cache.faq import Faq, PutOutcome
from rag.errors import StoreUnavailable
from rag.extracted import UnreadChunk
from rag.ports import CollectionCounts, DocumentPage, Ingested, PendingChunk, StoredDocument, Vectors
from rag.records import Document
from rag.retrieval.view import ChunkInfo
from rag.stores import dump, extracted, faqs, reader, schema, writer
from rag.stores.connection import damaged, explained
from rag.stores.file import StoreFile
from rag.stores.follower import POLL_S, Follower
from rag.stores.snapshot import Snapshot
from rag.stores.view import SegmentView
from rag.transfer.ports import Dumped, DumpPage, Embedding

_Asked = ParamSpec("_Asked")
_Answer = TypeVar("_Answer")

_READERS = 4
_VIEWS_KEPT = 32


def _cores() -> int:
    return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _local_now() -> datetime:
    return datetime.now(tz=UTC).astimezone()


class EmbeddedStore:
    """A `knowledge.db`. Opened (and created) at first use or by `open`, in a thread."""

    def __init__(self, path: Path, *, now: Callable[[], datetime] = _local_now, poll_s: float = POLL_S) -> None:
        """`now`: in the zone whose midnight documents expire at; `poll_s`: how often to look for others' changes."""
        self._path = path
        self._now = now
        self._follower = Follower(path, self._today, poll_s)
        self._local = threading.local()
        self._files: list[StoreFile] = []
        self._files_lock = threading.Lock()
        self._writer = writer.Writer(self._connection, now)
        self._write_pool = ThreadPoolExecutor(1, thread_name_prefix="knowledge-writer")
        self._cores = (
            ThreadPoolExecutor(cores, thread_name_prefix="knowledge-core") if (cores := _cores()) > 1 else None
        )
        self._read_pool = ThreadPoolExecutor(_READERS, thread_name_prefix="knowledge-reader")
        self._views: tuple[Snapshot | None, dict[frozenset[str], SegmentView]] = (None, {})
        self._is_closed = False

    # What ranking asks; synchronous.

    def view(self, collections: frozenset[str]) -> SegmentView:
        """The present state of these collections. Raises a `StoreError`."""
        snapshot = self._follower.current
        known, views = self._views
        if known is not snapshot or len(views) > _VIEWS_KEPT:
            views = {}
            self._views = snapshot, views
        view = views.get(collections)
        if view is None:
            view = views[collections] = SegmentView(snapshot, collections, self._cores)
        return view

    def find(self, passage_id: str, collections: frozenset[str]) -> ChunkInfo | None:
        """One chunk by id, if it is permitted and its document valid today. Raises a `StoreError`."""
        with explained(self._path):
            return reader.passage(self._connection(), passage_id, collections, self._today())

    @property
    def memory_bytes(self) -> int:
        """What the search arrays of the present snapshot take."""
        return self._follower.current.nbytes

    # What ingest and admins ask.

    async def open(self) -> None:
        """Open the file (create it) and see whether it can be used. Loads nothing."""
        await self._in_reader(self._connection)

    async def load(self) -> None:
        """Have everything that searching needs in memory, and keep it up to date from now on."""
        await self._in_reader(self._follower.refresh)

    async def put(self, documents: Sequence[Document]) -> None:
        """Write documents, each in place of its former version."""
        if documents:
            await self._write(self._writer.put, documents)

    async def pending(self, limit: int, *, after: int = 0) -> tuple[PendingChunk, ...]:
        """Chunks that wait for vectors."""
        return await self._read(writer.pending, limit, after)

    async def attach(self, embedder: str, dimensions: int, vectors: Sequence[tuple[int, Vectors]]) -> int:
        """Give chunks their vectors."""
        return await self._write(self._writer.attach, embedder, dimensions, vectors)

    async def check_embedding(self, embedder: str, dimensions: int) -> None:
        """Raises `EmbeddingMismatch` if the vectors come from another model."""
        await self._read(schema.check_embedding, embedder, dimensions)

    async def reset_vectors(self, embedder: str, dimensions: int) -> int:
        """Forget all vectors, for another model."""
        return await self._write(self._writer.reset_vectors, embedder, dimensions)

    async def remove(self, collection: str, ids: Sequence[str], *, source: str | None = None) -> int:
        """Remove documents with everything they left."""
        return await self._write(self._writer.remove, collection, ids, source)

    async def ingested(self, collection: str, source: str) -> Mapping[str, Ingested]:
        """By document id, everything from this source."""
        return await self._read(reader.ingested, collection, source)

    async def documents(
        self, collections: frozenset[str], *, after: str | None = None, limit: int = 100, source: str | None = None
    ) -> DocumentPage:
        """A page of documents."""

        def page(connection: sqlite3.Connection) -> DocumentPage:
            return reader.documents(connection, collections, after=after, limit=limit, source=source)

        return await self._read(page)

    async def document(self, collection: str, id: str, *, source: str | None = None) -> StoredDocument | None:  # noqa: A002 - the port's word
        """One document."""
        return await self._read(reader.document, collection, id, source)

    async def counts(self) -> Mapping[str, CollectionCounts]:
        """By collection that holds documents."""
        return await self._read(reader.counts)

    async def epoch(self, collections: frozenset[str]) -> int:
        """The number of the last change to one of these collections."""
        return await self._read(reader.epoch, collections)

    async def embedding(self) -> Embedding | None:
        """The model of the stored vectors; None as long as there are none."""
        return await self._read(dump.embedding)

    async def dump(self, collections: frozenset[str], *, after: int = 0, limit: int = 512) -> DumpPage:
        """The next documents with their vectors, in order of ingest."""
        return await self._read(dump.page, collections, after, limit)

    async def restore(self, documents: Sequence[Dumped], embedding: Embedding | None) -> None:
        """Write documents together with their vectors."""
        if documents:
            await self._write(self._writer.restore, documents, embedding)

    async def enrich(self, documents: Sequence[Dumped], embedding: Embedding | None) -> None:
        """The same for documents that got other names only; those that changed meanwhile stay as they are."""
        if documents:
            await self._write(self._writer.enrich, documents, embedding)

    async def unread(self, collection: str, limit: int, *, after: int = 0) -> tuple[UnreadChunk, ...]:
        """Chunks that no language model has read."""
        return await self._read(extracted.unread, collection, limit, after)

    async def keep_extracted(self, collection: str, found: Mapping[str, str]) -> None:
        """Keep what one found."""
        await self._write(lambda: extracted.keep(self._connection(), collection, found))

    async def extracted(self, collection: str) -> Mapping[str, str]:
        """By digest, what was found in this collection."""
        return await self._read(extracted.of_collection, collection)

    async def put_faq(self, faq: Faq) -> None:
        """Add a FAQ, or replace the one with its id."""
        await self._write(lambda: faqs.put(self._connection(), faq))

    async def put_faq_if(self, faq: Faq, *, epoch: int, former: Faq | None) -> PutOutcome:
        """The same, if neither the collection's documents nor the FAQ changed meanwhile."""
        return await self._write(lambda: faqs.put_if(self._connection(), faq, epoch, former))

    async def remove_faq(self, faq_id: str) -> Faq | None:
        """Remove and return a FAQ; None if there is none."""
        return await self._write(lambda: faqs.remove(self._connection(), faq_id))

    async def faq(self, faq_id: str) -> Faq | None:
        """One FAQ; None if there is none."""
        return await self._read(faqs.one, faq_id)

    async def faqs(self) -> tuple[Faq, ...]:
        """All FAQs."""
        return await self._read(faqs.everything)

    async def faq_version(self) -> int:
        """Grows with every change to any FAQ."""
        return await self._read(faqs.version)

    async def refresh(self) -> None:
        """Return once views show everything that was written before; nothing to do where none was asked for yet."""
        if self._follower.is_started:
            await self._in_reader(self._follower.refresh)

    async def check(self) -> None:
        """Read the whole file and raise `StoreCorrupt` if SQLite finds it damaged."""
        found = await self._read(reader.check)
        if found is not None:
            raise damaged(self._path, found)

    async def close(self) -> None:
        """Finish what is being written and close the file. Later calls raise `StoreUnavailable`."""
        if not self._is_closed:
            self._is_closed = True
            await asyncio.to_thread(self._shut)

    def _shut(self) -> None:
        self._write_pool.shutdown()
        self._read_pool.shutdown()
        if self._cores is not None:
            self._cores.shutdown()
        self._follower.close()
        with self._files_lock:
            for file in self._files:
                file.close()

    def _today(self) -> date:
        return self._now().date()

    def _connection(self) -> sqlite3.Connection:
        """This thread's own."""
        file: StoreFile | None = getattr(self._local, "file", None)
        if file is None:
            file = self._local.file = StoreFile(self._path)
            with self._files_lock:
                self._files.append(file)
        file.reopened()
        return file.connection

    async def _read(
        self,
        ask: Callable[Concatenate[sqlite3.Connection, _Asked], _Answer],
        *args: _Asked.args,
        **kwargs: _Asked.kwargs,
    ) -> _Answer:
        def run() -> _Answer:
            return ask(self._connection(), *args, **kwargs)

        return await self._in_reader(run)

    async def _write(self, change: Callable[_Asked, _Answer], *args: _Asked.args, **kwargs: _Asked.kwargs) -> _Answer:
        def run() -> _Answer:
            with explained(self._path):
                return change(*args, **kwargs)

        self._must_be_open()
        return await asyncio.get_running_loop().run_in_executor(self._write_pool, run)

    async def _in_reader(self, ask: Callable[[], _Answer]) -> _Answer:
        def run() -> _Answer:
            with explained(self._path):
                return ask()

        self._must_be_open()
        return await asyncio.get_running_loop().run_in_executor(self._read_pool, run)

    def _must_be_open(self) -> None:
        if self._is_closed:
            raise StoreUnavailable(f"the store {self._path} is closed.")
