"""Documents and vectors for store tests: small, deterministic, without an embedding model."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from datetime import date
from hashlib import blake2b
from unicodedata import combining, normalize

import numpy as np

from rag.ports import KnowledgeStore, Vectors
from rag.records import Chunk, Document, Sentence, Terms

EMBEDDER = "test-model"
DIMENSIONS = 32


def fold(text: str) -> str:
    """Without diacritics, lower case."""
    plain = "".join(letter for letter in normalize("NFD", text) if not combining(letter))
    return plain.replace("đ", "d").replace("Đ", "D").lower()


def terms(text: str) -> Terms:
    return tuple(Counter(re.findall(r"\w+", text.lower())).items())


def make_document(
    id: str,  # noqa: A002 - the record's word
    *paragraphs: str,
    collection: str = "public",
    source: str = "folder",
    title: str | None = None,
    valid_from: date | None = None,
    valid_until: date | None = None,
    language: str = "en",
    url: str | None = None,
) -> Document:
    """One chunk per paragraph; sentences end with a full stop; `[Name]` in a sentence names something."""
    title = id if title is None else title
    return Document(
        collection=collection,
        source=source,
        id=id,
        file=f"{id}.md",
        title=title,
        url=url,
        valid_from=valid_from,
        valid_until=valid_until,
        language=language,
        content_hash=blake2b("\0".join((title, *paragraphs)).encode()).hexdigest()[:16],
        size=sum(map(len, paragraphs)),
        names=(fold(title), f"@{id}"),
        title_terms=tuple(fold(title).split()),
        chunks=tuple(_chunk(ordinal, text, language) for ordinal, text in enumerate(paragraphs)),
    )


def _chunk(ordinal: int, text: str, language: str) -> Chunk:
    marked = terms(text)
    folded = terms(fold(text))
    sentences = tuple(
        Sentence(found.start(), found.end(), tuple(dict.fromkeys(fold(name) for name in _named(found.group()))))
        for found in re.finditer(r"\S[^.]*\.?", text)
    )
    return Chunk(
        ordinal=ordinal,
        text=text,
        heading="",
        page=None,
        language=language,
        marked=marked,
        folded=marked if folded == marked else folded,
        length=sum(count for _, count in marked),
        sentences=sentences,
        embedding_text=f"note: {text}",
        digest=blake2b(text.encode()).hexdigest()[:16],
    )


def _named(sentence: str) -> list[str]:
    return re.findall(r"\[([^\]]+)\]", sentence)


def embed(texts: Sequence[str]) -> Vectors:
    """Unit vectors that depend on the text alone."""
    rows = [np.random.default_rng(zlib.crc32(text.encode())).normal(size=DIMENSIONS) for text in texts]
    matrix = np.array(rows, dtype=np.float32).reshape(len(texts), DIMENSIONS)
    return np.asarray(matrix / np.linalg.norm(matrix, axis=1, keepdims=True), dtype=np.float32)


async def embed_all(store: KnowledgeStore, *, batch: int = 16, limit: int | None = None) -> int:
    """Attach vectors to everything pending (or to about `limit` chunks); how many chunks got some."""
    done = 0
    while (waiting := await store.pending(batch)) and (limit is None or done < limit):
        done += await store.attach(EMBEDDER, DIMENSIONS, [(each.key, embed(each.texts)) for each in waiting])
    return done
