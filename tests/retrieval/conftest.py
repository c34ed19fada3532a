"""A small searchable library: real chunker, real store, an embedder that counts words."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from rag.analyse import analyse
from rag.ingest.chunk import build_document
from rag.ingest.parse.document import Block, ParsedDocument
from rag.ports import Vectors
from rag.records import Document
from rag.retrieval.search import Search
from rag.stores.embedded import EmbeddedStore

DIMENSIONS = 256


class WordCounts:
    """Texts that share words are near each other; understands every language."""

    name = "word-counts"
    dimensions = DIMENSIONS
    languages = None

    def __init__(self) -> None:
        self.asked = 0

    async def embed(self, texts: Sequence[str], *, urgent: bool = False) -> Vectors:
        self.asked += 1
        matrix = np.zeros((len(texts), DIMENSIONS), np.float32)
        for row, text in zip(matrix, texts, strict=True):
            row[0] = 0.01  # no text is the zero vector
            for term in analyse(text).folded:
                row[1 + zlib.crc32(term.encode()) % (DIMENSIONS - 1)] += 1
        return np.asarray(matrix / np.linalg.norm(matrix, axis=1, keepdims=True), np.float32)

    async def close(self) -> None: ...


def document(id: str, text: str, *, title: str | None = None, collection: str = "public") -> Document:  # noqa: A002 - the record's word
    """One document of paragraphs; a line that begins with # is a heading."""
    blocks = tuple(
        Block(kind="heading", text=part.lstrip("# "), level=2)
        if part.startswith("#")
        else Block(kind="text", text=part)
        for part in text.split("\n\n")
    )
    return build_document(
        ParsedDocument(id=None, title=title or id, blocks=blocks),
        collection=collection,
        source="folder",
        document_id=id,
        file=id,
        content_hash=str(zlib.crc32(text.encode())),
        size=len(text),
    )


Library = Callable[..., Awaitable[Search]]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path / "knowledge.db")
    yield store
    await store.close()


@pytest.fixture
def library(store: EmbeddedStore) -> Library:
    """Put documents (more each time it is called) and get the search over them."""
    embedder = WordCounts()

    async def put(*documents: Document, vectors: bool = True) -> Search:
        await store.put(documents)
        while vectors and (waiting := await store.pending(64)):
            matrices = [(each.key, await embedder.embed(each.texts)) for each in waiting]
            await store.attach(embedder.name, embedder.dimensions, matrices)
        await store.refresh()
        return Search(store, embedder)

    return put
