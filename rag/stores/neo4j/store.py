"""The knowledge in Neo4j: documents, chunks, names and FAQs as a graph, shared by any number of processes.

`Neo4jStore` is the admin's side (`rag.ports.KnowledgeStore`), the ranking's side
(`rag.retrieval.view.QueriedKnowledge`) and keeps the FAQs (`rag.cache.faq.FaqStore`). It connects at first use, and
again whenever the server is back: nothing here has to be built anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime

from neo4j import AsyncDriver

from rag.errors import StoreError
from rag.extracted import UnreadChunk
from rag.ports import CollectionCounts, DocumentPage, Ingested, PendingChunk, StoredDocument, Vectors
from rag.records import Document
from rag.retrieval.candidates import POOL
from rag.retrieval.question import Asked, ask
from rag.retrieval.view import ChunkInfo
from rag.stores.neo4j import attaching, dump, extracted, reader, schema, writer
from rag.stores.neo4j.connection import COLD_S, Connection, PoolGauges, Transaction
from rag.stores.neo4j.encoding import pack_vectors
from rag.stores.neo4j.faq_nodes import FaqNodes
from rag.stores.neo4j.retrieval import Retrieval
from rag.stores.neo4j.rows import Given, given_vectors
from rag.stores.neo4j.schema import Server, VectorOptions
from rag.stores.neo4j.upkeep import Upkeep
from rag.stores.neo4j.view import FetchedView
from rag.transfer.ports import Dumped, DumpPage, Embedding
from rag.types import Language

CHUNKS_AT_ONCE = 500
"""Chunks in one transaction of a reset; larger ones gain nothing and hold everybody up."""
_WAITING_S = 60.0
"""For what ingest reads; nobody waits for it."""
_WARM_UPS = 30
"""Queries at the start: the first one takes the server 1.5 to 3 s, the hundredth 12 ms."""


def _local_now() -> datetime:
    return datetime.now(tz=UTC).astimezone()


class Neo4jStore(FaqNodes):
    """A database of a Neo4j server, 5.26 LTS or newer. The driver is the store's from then on: `close` closes it."""

    def __init__(
        self,
        driver: AsyncDriver,
        *,
        address: str,
        database: str = "neo4j",
        pool_size: int = 50,
        vectors: VectorOptions | None = None,
        now: Callable[[], datetime] = _local_now,
    ) -> None:
        """`address`: how messages call the server, without credentials; `now`: in the zone where documents expire."""
        self._connection = Connection(driver, address=address, database=database, pool_size=pool_size)
        self._now = now
        self._opening = asyncio.Lock()
        self._opened: tuple[Server, Retrieval] | None = None
        self._upkeep = Upkeep(self._connection, vectors or VectorOptions())

    # What ranking asks.

    async def languages(self, collections: frozenset[str]) -> Mapping[Language, int]:
        """How many chunks in which language. Raises a `StoreError`."""
        return await (await self._retrieval()).languages(collections)

    async def view_for(
        self, asked: Asked, collections: frozenset[str], *, pool: int, seconds: float | None = None
    ) -> FetchedView:
        """What there is for this question, in one round trip. Raises a `StoreError`."""
        async with self._connection.bounded(COLD_S if seconds is None else seconds):
            return await (await self._retrieval()).view(asked, collections, pool=pool)

    async def passage(self, passage_id: str, collections: frozenset[str]) -> ChunkInfo | None:
        """One chunk by id, if it is permitted and its document valid today. Raises a `StoreError`."""
        return await (await self._retrieval()).passage(passage_id, collections)

    @property
    def gauges(self) -> PoolGauges:
        """How the connections are doing."""
        return self._connection.gauges

    # What ingest and admins ask.

    async def open(self) -> None:
        """Connect, and bring the schema up to date. Raises what is wrong."""
        await self._retrieval()

    async def load(self) -> None:
        """Have lost indexes made again, and statistics, connections and the server's compiled queries warm."""
        server, retrieval = await self._ready()
        await self._upkeep.make_lost(server)
        retrieval.trust_indexes()
        known = await retrieval.refresh()
        names = frozenset(known.collections)
        if not names:
            return
        for start in range(0, _WARM_UPS, 5):
            asked = ask(f"What is warm at the start {start}?")
            views = [retrieval.view(asked, names, pool=POOL) for _ in range(5)]
            with contextlib.suppress(StoreError):  # an index that is being made: questions will say so
                await asyncio.gather(*views)

    async def put(self, documents: Sequence[Document]) -> None:
        """Write documents, each in place of its former version."""
        if not documents:
            return
        await self._put([(document, {}) for document in documents])

    async def _put(
        self,
        documents: Sequence[tuple[Document, Given]],
        embedding: Embedding | None = None,
        *,
        is_enriched: bool = False,
    ) -> None:
        await self.open()
        groups: dict[str, list[tuple[Document, Given]]] = {}
        for document, given in documents:
            groups.setdefault(schema.checked(document.collection), []).append((document, given))
        await self._upkeep.texts(groups)
        now = self._now()

        async def work(transaction: Transaction) -> int:
            stale = 0
            for name, group in sorted(groups.items()):
                given = {place: vectors for _, each in group for place, vectors in each.items()}
                wanted = [document for document, _ in group]
                stale += await writer.put(transaction, name, wanted, now, given, embedding, is_enriched=is_enriched)
            return stale

        if await self._connection.write(work):
            await self._sweep()

    async def embedding(self) -> Embedding | None:
        """The model of the stored vectors."""
        await self.open()
        known = await reader.embedding(self._connection)
        return None if known is None else Embedding(*known)

    async def dump(self, collections: frozenset[str], *, after: int = 0, limit: int = 512) -> DumpPage:
        """The next documents of these collections, for `grapevine export`."""
        await self.open()
        return await dump.page(self._connection, collections, after, limit)

    async def restore(self, documents: Sequence[Dumped], embedding: Embedding | None) -> None:
        """Write documents with the vectors they come with; chunks that come without are treated as in `put`."""
        if documents:
            await self._restore(documents, embedding)

    async def enrich(self, documents: Sequence[Dumped], embedding: Embedding | None) -> None:
        """The same for documents that got other names only; those that changed meanwhile stay as they are."""
        if documents:
            await self._restore(documents, embedding, is_enriched=True)

    async def _restore(
        self, documents: Sequence[Dumped], embedding: Embedding | None, *, is_enriched: bool = False
    ) -> None:
        given = [given_vectors(each, embedding) for each in documents]
        await self._put(
            [(each.document, vectors) for each, vectors in zip(documents, given, strict=True)],
            embedding if any(given) else None,
            is_enriched=is_enriched,
        )
        if embedding is not None:
            changed = Counter(each.document.collection for each in documents for v in each.vectors if v is not None)
            server, _ = await self._ready()
            await self._upkeep.vectors(server, changed, embedding.dimensions)

    async def unread(self, collection: str, limit: int, *, after: int = 0) -> tuple[UnreadChunk, ...]:
        """Chunks that no language model has read."""
        await self.open()
        return await extracted.unread(self._connection, collection, limit, after)

    async def keep_extracted(self, collection: str, found: Mapping[str, str]) -> None:
        """Keep what one found."""
        await self.open()
        await self._connection.write(lambda t: extracted.keep(t, collection, found))

    async def extracted(self, collection: str) -> Mapping[str, str]:
        """By digest, what was found in this collection."""
        await self.open()
        return await extracted.of_collection(self._connection, collection)

    async def pending(self, limit: int, *, after: int = 0) -> tuple[PendingChunk, ...]:
        """Chunks that wait for vectors."""
        await self.open()
        rows = await self._connection.read(reader.PENDING, {"after": after, "limit": limit}, seconds=_WAITING_S)
        return attaching.pending_chunks(rows)

    async def attach(self, embedder: str, dimensions: int, vectors: Sequence[tuple[int, Vectors]]) -> int:
        """Give chunks their vectors."""
        await self.open()
        packed = {key: pack_vectors(matrix, dimensions) for key, matrix in vectors}
        changed, states = await self._connection.write(lambda t: attaching.attach(t, embedder, dimensions, packed))
        server, _ = await self._ready()
        await self._upkeep.vectors(server, changed, dimensions, states)
        return changed.total()

    async def check_embedding(self, embedder: str, dimensions: int) -> None:
        """Raises `EmbeddingMismatch` if the vectors come from another model."""
        await self.open()
        attaching.check_embedding(await reader.embedding(self._connection), embedder, dimensions)

    async def reset_vectors(self, embedder: str, dimensions: int) -> int:
        """Forget all vectors, for another model."""
        await self.open()

        async def forget(transaction: Transaction) -> int:
            return await attaching.forget_vectors(transaction, embedder, dimensions, CHUNKS_AT_ONCE)

        # The model is named before the indexes go, so that nobody makes one for the old model after that.
        count = await self._connection.write(forget)
        for collection in await schema.collections(self._connection):
            await schema.drop_vector_index(self._connection, collection)
        while count:
            count = await self._connection.write(forget)
        return sum(each.pending for each in (await self.counts()).values())

    async def remove(self, collection: str, ids: Sequence[str], *, source: str | None = None) -> int:
        """Remove documents with everything they left."""
        await self.open()
        return await self._connection.write(lambda t: writer.remove(t, collection, ids, source))

    async def ingested(self, collection: str, source: str) -> Mapping[str, Ingested]:
        """By document id, everything from this source."""
        await self.open()
        return await reader.ingested(self._connection, collection, source)

    async def documents(
        self, collections: frozenset[str], *, after: str | None = None, limit: int = 100, source: str | None = None
    ) -> DocumentPage:
        """A page of documents."""
        await self.open()
        return await reader.documents(self._connection, collections, after=after, limit=limit, source=source)

    async def document(self, collection: str, id: str, *, source: str | None = None) -> StoredDocument | None:  # noqa: A002 - the port's word
        """One document."""
        await self.open()
        return await reader.document(self._connection, collection, id, source)

    async def counts(self) -> Mapping[str, CollectionCounts]:
        """By collection that holds documents."""
        await self.open()
        return await reader.counts(self._connection)

    async def epoch(self, collections: frozenset[str]) -> int:
        """The number of the last change to one of these collections."""
        await self.open()
        return await reader.epoch(self._connection, collections)

    async def check(self) -> None:
        """Raises `StoreUnavailable` if an index is missing its work: being made, or failed."""
        await self.open()
        await schema.check_indexes(self._connection)

    async def refresh(self) -> None:
        """Nothing to do: every question asks the server."""

    async def close(self) -> None:
        """Close the connections. Later calls raise `StoreUnavailable`."""
        await self._connection.close()

    async def _retrieval(self) -> Retrieval:
        return (await self._ready())[1]

    async def _ready(self) -> tuple[Server, Retrieval]:
        if self._opened is None:
            async with self._opening:
                if self._opened is None:
                    server = await schema.inspect(self._connection)
                    await schema.prepare(self._connection)
                    # Another process was killed before its last step.
                    if await self._connection.read(writer.STALE, {"limit": 1}):
                        await self._sweep()
                    self._opened = (
                        server,
                        Retrieval(self._connection, self._today, has_search_clause=server.has_search_clause),
                    )
        return self._opened

    async def _sweep(self) -> None:
        while await self._connection.write(writer.sweep):
            pass

    def _today(self) -> date:
        return self._now().date()
