"""What `bench.graph` searches: HotpotQA, and 50,000 chunks of ordinary text, in Neo4j."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.retrieval import like_originals, make_document, names, sentences_of
from rag.embeddings.minilm import MiniLM
from rag.evaluate import AskedQuestion
from rag.ingest.pipeline import IngestOptions, ingest
from rag.ingest.sandbox import ParserPool
from rag.records import Document
from rag.stores.neo4j import Neo4jStore
from rag.stores.neo4j.connection import Connection
from rag.stores.neo4j.schema import label

REAL, LARGE = "hotpotqa", "synthetic"
_DOCUMENTS_AT_ONCE = 200
"""Four times as many are more than a transaction may hold in a heap of 1 GB."""
Batch = tuple[list[Document], dict[str, int]]
"""Documents and, by the text of a sentence, which original it is made of."""


async def fill(store: Neo4jStore, connection: Connection, embedder: MiniLM, folder: Path, chunks: int) -> None:
    """Both collections, unless they are there already."""
    there = await store.counts()
    if LARGE not in there and chunks:
        began = time.perf_counter()
        await _fill_large(store, embedder, folder / "corpus.jsonl", chunks)
        note(f"{chunks} chunks written and indexed", began)
    if REAL not in there:
        async with ParserPool() as pool:
            await ingest(
                [folder / "corpus.jsonl"],
                store=store,
                embedder=embedder,
                options=IngestOptions(collection=REAL),
                pool=pool,
            )
    for name in await store.counts():
        # Ours holds stemmed terms for questions analysed likewise; a peer asks in plain words.
        await connection.change_schema(
            f"CREATE FULLTEXT INDEX {text_index_for_peers(name)} IF NOT EXISTS FOR (n:{label(name)})"
            " ON EACH [n.embedding_head, n.text] OPTIONS {indexConfig: {`fulltext.analyzer`: 'english'}}",
            f"CALL db.awaitIndex('{text_index_for_peers(name)}', 300)",
        )


async def drop_indexes_for_peers(store: Neo4jStore, connection: Connection) -> None:
    """So that whoever uses the server next does not keep them up to date."""
    for name in await store.counts():
        await connection.change_schema(f"DROP INDEX {text_index_for_peers(name)} IF EXISTS")


def text_index_for_peers(collection: str) -> str:
    """Over title, heading and text as they are."""
    return f"bench_text_{collection}"


def note(what: str, began: float) -> None:
    """To whoever waits; the tables alone go to the standard output."""
    print(f"{what}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


async def _fill_large(store: Neo4jStore, embedder: MiniLM, corpus: Path, chunks: int) -> None:
    """As `bench.retrieval` makes them; all text first, so that the vector index is made anew once at the end."""
    chance = random.Random(1)
    sentences = sentences_of(corpus, chance)
    origin: dict[str, int] = {}
    async with asyncio.TaskGroup() as tasks:
        embedding = tasks.create_task(embedder.embed(sentences))  # while the server writes
        async for documents, origins in _batches(sentences, chance, chunks):
            origin |= origins
            await store.put(documents)
    noise = np.random.default_rng(1)
    while waiting := await store.pending(1000):
        vectors = [(each.key, like_originals(each.texts[1:], origin, embedding.result(), noise)) for each in waiting]
        await store.attach(embedder.name, embedder.dimensions, vectors)


async def _batches(sentences: list[str], chance: random.Random, chunks: int) -> AsyncIterator[Batch]:
    """Documents of so many chunks together; the next ones are made while the former are dealt with."""
    pool = names(chance)
    made, number = 0, 0

    def make() -> Batch:
        documents: list[Document] = []
        origin: dict[str, int] = {}
        for at in range(number, number + _DOCUMENTS_AT_ONCE):
            document, origins = make_document(at, sentences, pool, chance)
            documents.append(replace(document, collection=LARGE))
            origin |= origins
        return documents, origin

    batch: Batch | None = await asyncio.to_thread(make)
    while batch is not None:
        number += len(batch[0])
        made += sum(len(document.chunks) for document in batch[0])
        following = asyncio.create_task(asyncio.to_thread(make)) if made < chunks else None
        yield batch
        batch = await following if following else None


def recall_at_5(questions: Sequence[AskedQuestion], found: Sequence[Sequence[str]]) -> tuple[float, float]:
    """Share of the relevant documents among the first five; share of questions all of whose are."""
    shares = []
    for question, documents in zip(questions, found, strict=True):
        first = set(list(dict.fromkeys(documents))[:5])
        shares.append(sum(bool(names & first) for names in question.relevant) / len(question.relevant))
    return sum(shares) / len(shares), sum(share == 1 for share in shares) / len(shares)
