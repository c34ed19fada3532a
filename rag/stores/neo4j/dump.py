"""Documents of the graph as they were ingested, with their vectors, page by page."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import orjson

from rag.records import Chunk, Document, Sentence
from rag.stores.neo4j import reader
from rag.stores.neo4j.connection import Connection
from rag.stores.neo4j.encoding import unpack_vectors
from rag.stores.neo4j.statistics import ALWAYS_FROM, ALWAYS_UNTIL
from rag.stores.vectors import Quantised
from rag.transfer.ports import Dumped, DumpPage, Embedding, StoredVectors

_NUMBERS = """
MATCH (d:Document) WHERE d.number > $after AND d.collection IN $collections
RETURN d.number, d.chunks ORDER BY d.number LIMIT $limit
"""
_DOCUMENTS = """
UNWIND $numbers AS number
MATCH (d:Document {number: number})
OPTIONAL MATCH (d)-[:HAS]->(c:Chunk {document: number})
WITH d, c ORDER BY d.number, c.ordinal
RETURN properties(d), collect([c.ordinal, c.text, c.heading, c.page, c.language, c.digest, c.embedding_head,
  c.embedding_text, c.spans, c.names, c.embedding, c.vectors, c.fixed, c.extracted])
"""
_SECONDS = 120.0


async def page(connection: Connection, collections: frozenset[str], after: int, limit: int) -> DumpPage:
    """The next documents in order of ingest, as many as have `limit` chunks, but at least one."""
    known = await reader.embedding(connection)
    model = None if known is None else Embedding(*known)
    rows = await connection.read(
        _NUMBERS, {"after": after, "collections": sorted(collections), "limit": limit + 1}, seconds=_SECONDS
    )
    numbers: list[int] = []
    total = 0
    for number, count in rows:
        if numbers and total + count > limit:
            break
        numbers.append(number)
        total += count
    found = await connection.read(_DOCUMENTS, {"numbers": numbers}, seconds=_SECONDS)
    # One that is being replaced at this moment comes again, under its new number.
    documents = [_dumped(values, chunks, model) for values, chunks in found if values["chunks"] == _count(chunks)]
    is_last = len(numbers) == len(rows) <= limit
    return DumpPage(documents=tuple(documents), embedding=model, after=None if is_last else numbers[-1])


def _count(chunks: list[list[Any]]) -> int:
    return sum(chunk[0] is not None for chunk in chunks)


def _dumped(values: dict[str, Any], rows: list[list[Any]], model: Embedding | None) -> Dumped:
    rows = [row for row in rows if row[0] is not None]
    document = Document(
        collection=values["collection"],
        source=values["source"],
        id=values["id"],
        file=values["file"],
        title=values["title"],
        url=values.get("url"),
        valid_from=None if values["valid_from"] == ALWAYS_FROM else date.fromisoformat(values["valid_from"]),
        valid_until=None if values["valid_until"] == ALWAYS_UNTIL else date.fromisoformat(values["valid_until"]),
        language=values["language"],
        content_hash=values["content_hash"],
        size=values["size"],
        names=tuple(values["names"]),
        title_terms=tuple(values["title_terms"]),
        chunks=tuple(_chunk(row) for row in rows),
    )
    return Dumped(document=document, vectors=tuple(_vectors(row[10], row[11], row[12], model) for row in rows))


def _chunk(row: list[Any]) -> Chunk:
    ordinal, text, heading, page_, language, digest, head, whole, spans, names, _, _, _, found = row
    named = orjson.loads(names) if names else [()] * (len(spans) // 2)
    sentences = zip(spans[::2], spans[1::2], named, strict=True)
    return Chunk(
        ordinal=ordinal,
        text=text,
        heading=heading,
        page=page_,
        language=language,
        marked=(),
        folded=(),
        length=0,
        sentences=tuple(Sentence(start, end, tuple(each)) for start, end, each in sentences),
        embedding_text=whole if whole is not None else head + text,
        digest=digest,
        extracted=found,
    )


def _vectors(
    embedding: list[float] | bytes | None, packed: bytes | None, fixed: bytes | None, model: Embedding | None
) -> StoredVectors | None:
    if embedding is None or packed is None or model is None:
        return None
    rows, scales = unpack_vectors(packed, model.dimensions)
    # Until format 3 the indexed vector was a list of floats, and the only exact one.
    chunk = np.array(embedding, dtype=np.float32) if fixed is None else np.frombuffer(fixed, "<i2")
    return StoredVectors(chunk=chunk, sentences=Quantised(rows[1:], scales[1:]))
