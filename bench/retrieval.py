"""Retrieval latency over many chunks of ordinary text: question in, ranked passages out, embedding included.

    python -m bench.retrieval CORPUS.jsonl QUESTIONS.jsonl [--chunks 50000] [--rounds 3]

Documents are put together from real sentences of the corpus, with other numbers and names in each, so that terms are
as frequent and names as rare as in ordinary text. Chunk and sentence vectors are made from the vectors of the original
sentences (embedding 400,000 sentences would take two hours); the questions are embedded for real.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # BLAS threads fight onnxruntime's

import argparse
import asyncio
import json
import random
import re
import tempfile
import time
from pathlib import Path

import numpy as np

from rag.embeddings.minilm import MiniLM
from rag.ingest.chunk import build_document
from rag.ingest.parse.document import Block, ParsedDocument
from rag.ingest.sentences import split
from rag.ports import Vectors
from rag.records import Document
from rag.retrieval.search import Search
from rag.stores.embedded import EmbeddedStore

POOL = 4000
"""Distinct sentences that everything is made of."""
SENTENCES_PER_DOCUMENT = 36
PUBLIC = frozenset({"public"})
_NUMBER = re.compile(r"\d")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,}")


def sentences_of(corpus: Path, chance: random.Random) -> list[str]:
    """Distinct sentences of the corpus, in random order."""
    found: dict[str, None] = {}
    for line in corpus.read_text(encoding="utf-8").splitlines():
        for paragraph in json.loads(line)["text"].split("\n"):
            found.update(dict.fromkeys(text for _, text in split(paragraph) if 6 <= len(text.split()) <= 40))
    sentences = list(found)
    chance.shuffle(sentences)
    return sentences[:POOL]


def names(chance: random.Random, count: int = 20_000) -> list[str]:
    """Invented names; drawn with Zipf-like weights they are as rare as real ones."""
    starts, ends = (
        ["Bal", "Cor", "Dan", "El", "Far", "Gor", "Hel", "Il", "Jor", "Kel", "Lam", "Mor", "Nel", "Or", "Pel"],
        ["a", "en", "is", "o", "ur", "ash", "ley", "mont"],
    )
    return [
        chance.choice(starts) + chance.choice("aeiou") + chance.choice("bdfglmnrst") + chance.choice(ends)
        for _ in range(count)
    ]


def varied(sentence: str, pool: list[str], chance: random.Random) -> str:
    """The sentence with other numbers, and every second name another one."""
    changed = _NUMBER.sub(lambda _: str(chance.randrange(10)), sentence)
    return _NAME.sub(
        lambda match: pool[int(len(pool) * chance.random() ** 3)] if chance.random() < 0.5 else match.group(), changed
    )


def make_document(
    number: int, sentences: list[str], pool: list[str], chance: random.Random
) -> tuple[Document, dict[str, int]]:
    """A document and, for each of its sentences' texts, which original it is made of."""
    drawn = [chance.randrange(len(sentences)) for _ in range(SENTENCES_PER_DOCUMENT)]
    texts = [varied(sentences[i], pool, chance) for i in drawn]
    blocks = [Block(kind="text", text=" ".join(texts[i : i + 6])) for i in range(0, len(texts), 6)]
    title = f"{chance.choice(pool)} {chance.choice(pool)}"
    document = build_document(
        ParsedDocument(id=None, title=title, blocks=tuple(blocks)),
        collection="public",
        source="bench",
        document_id=f"{number}",
        file="bench",
        content_hash="",
        size=0,
    )
    return document, _origins(document, dict(zip(texts, drawn, strict=True)))


def _origins(document: Document, drawn: dict[str, int]) -> dict[str, int]:
    """By the sentences that the document was cut into: with other digits and names, one in 130 is cut elsewhere."""
    found = {}
    for chunk in document.chunks:
        for start, end, _ in chunk.sentences:
            text = chunk.text[start:end]
            if text not in drawn:
                words = set(text.split())
                found[text] = drawn[max(drawn, key=lambda other: len(words & set(other.split())))]
    return drawn | found


async def fill(store: EmbeddedStore, embedder: MiniLM, corpus: Path, chunks: int) -> int:
    """Put documents until there are `chunks` chunks, with vectors; returns how many there are."""
    chance = random.Random(1)
    noise = np.random.default_rng(1)
    sentences, pool = sentences_of(corpus, chance), names(chance)
    originals = await embedder.embed(sentences)
    made, number = 0, 0
    while made < chunks:
        batch: list[Document] = []
        origin: dict[str, int] = {}
        for _ in range(200):
            document, texts = make_document(number, sentences, pool, chance)
            batch.append(document)
            origin |= texts
            number += 1
        await store.put(batch)
        made += sum(len(document.chunks) for document in batch)
        while waiting := await store.pending(1000):
            vectors = [(each.key, like_originals(each.texts[1:], origin, originals, noise)) for each in waiting]
            await store.attach(embedder.name, embedder.dimensions, vectors)
    await store.refresh()
    return made


def like_originals(
    sentences: tuple[str, ...], origin: dict[str, int], originals: Vectors, noise: np.random.Generator
) -> Vectors:
    """Vectors of a chunk (the mean of its sentences') and of its sentences (the originals', a little off)."""
    places = [origin[text] for text in sentences]
    rows = originals[places] + noise.normal(0, 0.01, (len(places), originals.shape[1]))
    rows = np.vstack([rows.mean(axis=0), rows])
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


async def measure(search: Search, questions: list[str], rounds: int) -> dict[str, list[float]]:
    """Milliseconds per question, ascending: all of it, its embedding, the rest; and processor time, all threads."""
    for question in questions[:20]:
        await search.retrieve(question, collections=PUBLIC)
    taken: dict[str, list[float]] = {"all": [], "embedding": [], "rest": [], "processor": []}
    for _ in range(rounds):
        for question in questions:
            started, spent = time.perf_counter(), time.process_time()
            found = await search.retrieve(question, collections=PUBLIC)
            whole = (time.perf_counter() - started) * 1000
            embedding = found.timings.embed_ms or 0.0
            taken["all"].append(whole)
            taken["embedding"].append(embedding)
            taken["rest"].append(whole - embedding)
            taken["processor"].append((time.process_time() - spent) * 1000)
    return {name: sorted(values) for name, values in taken.items()}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--chunks", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="folder to keep the store in, used again if it is there")
    options = parser.parse_args()
    lines = options.questions.read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line)["question"] for line in lines][:150]
    embedder = await MiniLM.open()
    with tempfile.TemporaryDirectory() as folder:
        path = (options.keep or Path(folder)) / "knowledge.db"
        path.parent.mkdir(parents=True, exist_ok=True)
        is_there = path.exists()
        store = EmbeddedStore(path)
        await store.load()
        if not is_there:
            await fill(store, embedder, options.corpus, options.chunks)
        counts = await store.counts()
        taken = await measure(Search(store, embedder), questions, options.rounds)
        print(f"{counts['public'].chunks} chunks, {len(taken['all'])} questions, load {os.getloadavg()[0]:.1f}")
        for name, values in taken.items():
            p50, p95, p99 = (values[int(len(values) * share)] for share in (0.5, 0.95, 0.99))
            print(f"{name:10} p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms, least {values[0]:.1f} ms")
        await store.close()
    await embedder.close()


if __name__ == "__main__":
    asyncio.run(main())
