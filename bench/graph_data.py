"""What `bench.graph` searches: HotpotQA, and 50,000 chunks of ordinary text, in Neo4j and as LightRAG's graph."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

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
_LEAST_HELD, _LINKS_PER_CHUNK = 2, 3
_SHORTEST = 2


async def fill(store: Neo4jStore, connection: Connection, embedder: MiniLM, folder: Path, chunks: int) -> None:
    """Both collections, unless they are there already."""
    there = await store.counts()
    if LARGE not in there and chunks:
        await _fill_large(store, embedder, folder / "corpus.jsonl", chunks)
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
    for name in await store.counts():
        await connection.change_schema(f"DROP INDEX {text_index_for_peers(name)} IF EXISTS")


def text_index_for_peers(collection: str) -> str:
    """Over title, heading and text as they are."""
    return f"bench_text_{collection}"


async def _fill_large(store: Neo4jStore, embedder: MiniLM, corpus: Path, chunks: int) -> None:
    """As `bench.retrieval` makes them; all text first, so that the vector index is made anew once at the end."""
    chance = random.Random(1)
    sentences, pool = sentences_of(corpus, chance), names(chance)
    originals = await embedder.embed(sentences)
    origin: dict[str, int] = {}
    made, number = 0, 0
    while made < chunks:
        batch: list[Document] = []
        for _ in range(_DOCUMENTS_AT_ONCE):
            document, texts = make_document(number, sentences, pool, chance)
            batch.append(replace(document, collection=LARGE))
            origin |= texts
            number += 1
        await store.put(batch)
        made += sum(len(document.chunks) for document in batch)
    noise = np.random.default_rng(1)
    while waiting := await store.pending(1000):
        vectors = [(each.key, like_originals(each.texts[1:], origin, originals, noise)) for each in waiting]
        await store.attach(embedder.name, embedder.dimensions, vectors)


def recall_at_5(questions: Sequence[AskedQuestion], found: Sequence[Sequence[str]]) -> tuple[float, float]:
    """Share of the relevant documents among the first five; share of questions all of whose are."""
    shares = []
    for question, documents in zip(questions, found, strict=True):
        first = set(list(dict.fromkeys(documents))[:5])
        shares.append(sum(bool(names & first) for names in question.relevant) / len(question.relevant))
    return sum(shares) / len(shares), sum(share == 1 for share in shares) / len(shares)


async def write_light_graph(connection: Connection, path: Path) -> None:
    """HotpotQA as a model would have drawn it for LightRAG, from our own graph: the names in it, what is said of them.

    A name is described by the sentence that holds it first, a link by the sentence that makes it. Of a passage the
    three rarest names that other documents hold too: names of one document link nothing, and with all of them
    LightRAG's build takes an hour here.
    """
    rows = await connection.read(
        f"MATCH (d:Document)-[:HAS]->(c:{label(REAL)}) RETURN d.id, d.title, c.text, c.spans, c.names"
        " ORDER BY d.number, c.key",
        seconds=120.0,
    )
    held_by: Counter[str] = Counter()
    for row in rows:
        held_by.update(
            {name for names_ in (json.loads(row[4]) if row[4] else []) for name in names_} | {row[1].lower()}
        )
    graph: dict[str, list[dict[str, Any]]] = {"chunks": [], "entities": [], "relationships": []}
    described: dict[str, dict[str, Any]] = {}
    linked: dict[tuple[str, str], dict[str, Any]] = {}
    for at, (document, title, text, spans, packed) in enumerate(rows):
        source = f"{document}#{at}"
        graph["chunks"].append({"content": f"{title}\n{text}", "source_id": source, "file_path": document})
        first = text[spans[0] : spans[1]] if spans else text
        described.setdefault(title.lower(), _entity(title, first, source, document))
        per_sentence = json.loads(packed) if packed else []
        named = {
            name: place
            for place, in_sentence in reversed(list(enumerate(per_sentence)))
            for name in in_sentence
            if _is_entity(name) and name != title.lower() and held_by[name] >= _LEAST_HELD
        }
        for name in sorted(named, key=lambda name: (held_by[name], name))[:_LINKS_PER_CHUNK]:
            sentence = text[spans[2 * named[name]] : spans[2 * named[name] + 1]]
            described.setdefault(name, _entity(name, sentence, source, document))
            linked.setdefault(
                (title.lower(), name),
                {
                    "src_id": title,
                    "tgt_id": described[name]["entity_name"],
                    "description": sentence,
                    "keywords": name,
                    "source_id": source,
                    "file_path": document,
                },
            )
    graph["entities"] = list(described.values())
    graph["relationships"] = [link for link in linked.values() if link["src_id"].lower() != link["tgt_id"].lower()]
    await asyncio.to_thread(path.write_text, json.dumps(graph), encoding="utf-8")


def _is_entity(name: str) -> bool:
    """LightRAG takes off quotes and blanks, and refuses what is left empty."""
    return len(re.sub(r"\W", "", name)) >= _SHORTEST and not name.startswith("@")


def _entity(name: str, description: str, source: str, document: str) -> dict[str, Any]:
    return {
        "entity_name": name,
        "entity_type": "name",
        "description": description,
        "source_id": source,
        "file_path": document,
    }
