"""What moving needs of a store, and the records that travel: documents with the vectors that the store holds for them.

Vectors travel as stores keep them, in whole numbers: rounding them a second time could move them, and an import would
then rank a little differently from the original.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rag.cache.faq import Faq
from rag.errors import InputError
from rag.ports import CollectionCounts, StoredDocument
from rag.records import Document
from rag.stores.vectors import MAX_DIMENSIONS, MAX_LENGTH, Floats, Quantised, fixed_point


class Embedding(NamedTuple):
    """The model that vectors come from."""

    model: str
    dimensions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVectors:
    """The vectors of one chunk and of its sentences."""

    chunk: NDArray[np.int16] | NDArray[np.float32]
    """Fixed point (`rag.stores.vectors`), or floats of any length but 0 from a store that keeps those."""
    sentences: Quantised
    """A row for each sentence."""

    def as_fixed_point(self) -> NDArray[np.int16]:
        """The chunk's row; the very same where it is in fixed point already."""
        if self.chunk.dtype == np.int16:
            return self.chunk.astype(np.int16, copy=False)
        return fixed_point(self.chunk.astype(np.float32)).astype(np.int16)

    def as_unit(self) -> Floats:
        """The chunk's row with length 1."""
        row = self.chunk.astype(np.float32)
        return np.asarray(row / np.linalg.norm(row), dtype=np.float32)

    def check(self, dimensions: int, sentences: int) -> None:
        """Raises `InputError` unless every number is one that a store could have written."""
        rows, scales = self.sentences
        if not 0 < dimensions <= MAX_DIMENSIONS:
            raise InputError(f"{dimensions} dimensions are none that a store can hold (1 to {MAX_DIMENSIONS})")
        if self.chunk.shape != (dimensions,) or rows.shape != (sentences, dimensions) or scales.shape != (sentences,):
            raise InputError(f"the vectors of a chunk of {sentences} sentences do not have {dimensions} dimensions")
        length = float(np.linalg.norm(self.chunk.astype(np.float64)))
        is_sound = np.isfinite(length) and (self.chunk.dtype != np.int16 or length <= MAX_LENGTH)
        if not is_sound or not np.isfinite(scales).all() or (scales <= 0).any():
            raise InputError("a vector is too long or not finite")
        if not self.as_fixed_point().any():
            raise InputError("a chunk's vector has length 0")
        if sentences and np.linalg.norm(rows.astype(np.float64), axis=1).max() > MAX_LENGTH:
            raise InputError("a sentence's vector is too long")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dumped:
    """A document as it travels."""

    document: Document
    """As ingested. Coming out of `dump` its chunks have no terms and length 0: stores keep only hashes of terms, and
    `rag.transfer` derives them from the texts again."""
    vectors: tuple[StoredVectors | None, ...]
    """By chunk; None where it still waits for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpPage:
    """Documents in order of ingest, seen at one moment."""

    documents: tuple[Dumped, ...]
    embedding: Embedding | None
    """None as long as the store holds no vectors."""
    after: int | None
    """Where the next page begins; None on the last."""


class TransferStore(Protocol):
    """A store that can be moved. Every method may raise a `StoreError`; one that failed has changed nothing."""

    async def embedding(self) -> Embedding | None:
        """The model of the stored vectors; None as long as there are none."""
        ...

    async def dump(self, collections: frozenset[str], *, after: int = 0, limit: int = 512) -> DumpPage:
        """The next documents of these collections, as many as have `limit` chunks, but at least one.

        A document that is replaced meanwhile comes again, later: whoever writes them in this order ends with the
        newest version of each.
        """
        ...

    async def restore(self, documents: Sequence[Dumped], embedding: Embedding | None) -> None:
        """Write documents together with their vectors, each in place of its former version; all or none.

        Chunks without vectors take those the store has for the same digest, or wait for them. Raises `InputError`,
        and `EmbeddingMismatch` if there are vectors and they do not come from the model of those in the store.
        """
        ...

    async def counts(self) -> Mapping[str, CollectionCounts]: ...

    async def document(self, collection: str, id: str, *, source: str | None = None) -> StoredDocument | None: ...  # noqa: A002 - the port's word

    async def faqs(self) -> tuple[Faq, ...]: ...

    async def put_faq(self, faq: Faq) -> None: ...

    async def remove_faq(self, faq_id: str) -> Faq | None: ...
