"""What ranking needs of a chunk, packed: two byte arrays are read and sent ten times faster than lists of numbers."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from rag.errors import InputError
from rag.ports import Vectors
from rag.records import Chunk, Terms
from rag.retrieval.view import Column
from rag.stores.encoding import Hasher, hash64
from rag.stores.vectors import MAX_DIMENSIONS, Quantised, fixed_point, quantised
from rag.transfer.ports import StoredVectors
from rag.types import Language

Hashes = NDArray[np.uint32]
Counts = NDArray[np.uint8]
_HEADER = struct.Struct("<QQIHH")
"""Key, document, length, terms with diacritics, terms without them."""


class Card(NamedTuple):
    """A chunk, without its vectors. Hashes of terms are in no order; `folded` is None where it equals `marked`."""

    key: int
    document: int
    """Its document's number."""
    length: int
    marked: Hashes
    marked_counts: Counts
    folded: Hashes | None
    folded_counts: Counts | None
    shown: bytes
    """For `unpack_shown`: only few are ever looked at."""


class Head(NamedTuple):
    """What a card begins with: all that is read of most."""

    key: int
    document: int
    length: int
    marked: int
    """How many terms with diacritics."""
    folded: int
    """How many without; 0 where they are the same."""

    @property
    def shown_at(self) -> int:
        """Where in the card it begins what `unpack_shown` reads."""
        return _HEADER.size + 5 * (self.marked + self.folded)

    def column_at(self, column: Column) -> tuple[int, int, int]:
        """Where in the card the hashes of a column begin, where their counts do, and how many there are."""
        counts = _HEADER.size + 4 * (self.marked + self.folded)
        if column == "folded" and self.folded:
            return _HEADER.size + 4 * self.marked, counts + self.marked, self.folded
        return _HEADER.size, counts, self.marked


class Shown(NamedTuple):
    """What people see of a chunk."""

    passage_id: str
    text: str
    heading: str
    page: int | None
    language: Language


def hash32(term: str) -> int:
    """A term's number here: a chance of 5e-5 that it is that of any of 200,000 others."""
    return hash64(term) >> 32


def hashes_of(terms: Sequence[str]) -> Hashes:
    """The hashes of a few terms, in order."""
    return np.array([hash32(term) for term in terms], dtype=np.uint32)


def pack_card(chunk: Chunk, *, key: int, document: int, passage_id: str, hasher: Hasher) -> bytes:
    """Header, hashes, counts, what is shown.

    One property, because a node's properties are a chain that is walked for each that is read.
    """
    is_folded = chunk.folded is not chunk.marked and chunk.folded != chunk.marked
    marked, counts = _hashed(chunk.marked, hasher)
    folded, folded_counts = _hashed(chunk.folded, hasher) if is_folded else (marked[:0], counts[:0])
    header = _HEADER.pack(key, document, chunk.length, len(marked), len(folded))
    shown = orjson.dumps([passage_id, chunk.text, chunk.heading, chunk.page, chunk.language])
    return b"".join([header, *(part.tobytes() for part in (marked, folded, counts, folded_counts)), shown])


def unpack_card(packed: bytes) -> Card:
    """The reverse."""
    head = unpack_head(packed)
    key, document, length, marked, folded = head
    both, start = marked + folded, _HEADER.size
    hashes = np.frombuffer(packed, "<u4", both, start)
    counts = np.frombuffer(packed, np.uint8, both, start + 4 * both)
    shown = packed[head.shown_at :]
    if not folded:
        return Card(key, document, length, hashes, counts, None, None, shown)
    return Card(key, document, length, hashes[:marked], counts[:marked], hashes[marked:], counts[marked:], shown)


def unpack_head(card: bytes) -> Head:
    """Its beginning."""
    return Head._make(_HEADER.unpack_from(card))


def unpack_columns(cards: Sequence[bytes], heads: Sequence[Head], column: Column) -> tuple[Hashes, Counts, list[int]]:
    """A column of many cards one after the other: hashes, how often each, how many are whose."""
    places = [head.column_at(column) for head in heads]
    hashes = b"".join([card[at : at + 4 * size] for card, (at, _, size) in zip(cards, places, strict=True)])
    counts = b"".join([card[at : at + size] for card, (_, at, size) in zip(cards, places, strict=True)])
    return np.frombuffer(hashes, "<u4"), np.frombuffer(counts, np.uint8), [size for _, _, size in places]


def unpack_shown(packed: bytes) -> Shown:
    """Of a card's `shown`."""
    return Shown(*orjson.loads(packed))


def _hashed(terms: Terms, hasher: Hasher) -> tuple[Hashes, Counts]:
    words = [word for word, _ in terms]
    counts = np.array([min(count, 255) for _, count in terms], dtype=np.uint8)
    return (hasher.many(words) >> np.uint64(32)).astype(np.uint32), counts


class Packed(NamedTuple):
    """The vectors of a chunk as its node keeps them."""

    embedding: bytes
    """The chunk's in eight bits, for the vector index: lists of whole numbers are indexed like those of floats, and the
    scale does not matter to a cosine."""
    vectors: bytes
    """For ranking: scales, then rows in eight bits, the chunk's first, then its sentences'."""
    fixed: bytes
    """The chunk's in fixed point, for exports."""


_UNFIT = "the embedder returned a vector that is zero or not finite; check EMBEDDING_MODEL"


def pack_vectors(matrix: Vectors, dimensions: int) -> Packed:
    """What an embedder made of a chunk and its sentences. Raises `InputError`."""
    if matrix.ndim != 2 or matrix.shape[1] != dimensions or not 0 < dimensions <= MAX_DIMENSIONS:
        raise InputError(
            f"vectors of shape {matrix.shape} do not have {dimensions} dimensions (at most {MAX_DIMENSIONS})"
        )
    if not np.isfinite(matrix).all():
        raise InputError(_UNFIT)
    # By way of what is exported, so that an import is bit-equal.
    return pack_stored(
        StoredVectors(chunk=fixed_point(matrix[0]).astype(np.int16), sentences=quantised(matrix[1:])),
    )


def pack_stored(vectors: StoredVectors) -> Packed:
    """What came from another store. Raises `InputError`."""
    fixed = vectors.as_fixed_point()
    # The server takes such vectors in silence and never finds them.
    if not fixed.any():
        raise InputError(_UNFIT)
    row, scale = quantised(vectors.as_unit()[np.newaxis])
    rows = np.vstack([row, vectors.sentences.rows])
    scales = np.append(scale, vectors.sentences.scales)
    return Packed(
        embedding=rows[0].tobytes(),
        vectors=scales.astype("<f4").tobytes() + rows.tobytes(),
        fixed=fixed.astype("<i2").tobytes(),
    )


def unpack_vectors(packed: bytes, dimensions: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(rows, scales) of `Packed.vectors`."""
    (rows, scales), _ = unpack_all([packed], dimensions)
    return rows, scales


def unpack_all(packed: Sequence[bytes], dimensions: int) -> tuple[Quantised, list[int]]:
    """Those of many chunks one after the other, and how many are whose: two large arrays cost less than many small."""
    counts = [len(each) // (dimensions + 4) for each in packed]
    scales = b"".join([each[: 4 * count] for each, count in zip(packed, counts, strict=True)])
    rows = b"".join([each[4 * count :] for each, count in zip(packed, counts, strict=True)])
    return Quantised(np.frombuffer(rows, np.int8).reshape(-1, dimensions), np.frombuffer(scales, "<f4")), counts
