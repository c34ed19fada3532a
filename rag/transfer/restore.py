"""Reading an export into a store: first every line is checked, then documents are written whole, a batch at a time.

So a damaged file changes nothing. An import that was killed is run again: what is there already is passed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from rag.cache.faq import Faq
from rag.cache.keys import question_key
from rag.errors import EmbeddingMismatch, InputError, StoreTooNew
from rag.transfer.export import Moved
from rag.transfer.lines import Header, with_terms
from rag.transfer.ports import Dumped, Embedding, TransferStore
from rag.transfer.reading import Item, items

_CHUNKS_A_BATCH = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a file holds, every line of it read and found sound."""

    embedding: Embedding | None
    """None also where no chunk has a vector."""
    documents: int
    chunks: int
    faqs: int


def check(file: BinaryIO, name: str) -> Checked:
    """Read all of an export. Raises `InputError` or `StoreTooNew` with the number of the line that is wrong."""
    try:
        return _checked(file, name)
    except (InputError, StoreTooNew) as error:
        raise type(error)(f"{error}. Nothing was imported.") from error


def _checked(file: BinaryIO, name: str) -> Checked:
    header: Header | None = None
    documents = chunks = faqs = 0
    has_vectors = False
    for item in items(file, name):
        match item:
            case Header():
                header = item
            case Dumped():
                documents, chunks = documents + 1, chunks + len(item.vectors)
                has_vectors = has_vectors or any(item.vectors)
            case Faq():
                faqs += 1
    return Checked(
        embedding=header.model if header and has_vectors else None, documents=documents, chunks=chunks, faqs=faqs
    )


async def restore(
    store: TransferStore,
    file: BinaryIO,
    name: str,
    *,
    checked: Checked,
    with_vectors: bool = True,
    on_progress: Callable[[Moved], None] = lambda _moved: None,
) -> Moved:
    """Write an export that was checked. Documents of the same (collection, source, id) are replaced, others stay.

    Without its vectors (`with_vectors` false) every chunk waits for new ones. Raises `EmbeddingMismatch` before
    anything is written.
    """
    embedding = checked.embedding if with_vectors else None
    await _must_fit(store, embedding, name)
    importing = _Import(store, embedding, Moved(chunks_total=checked.chunks), on_progress)
    found = items(file, name)
    while batch := await asyncio.to_thread(_batch, found):
        await importing.write(batch)
    return importing.moved


async def _must_fit(store: TransferStore, embedding: Embedding | None, name: str) -> None:
    known = await store.embedding()
    if embedding is not None and known is not None and embedding != known:
        raise EmbeddingMismatch(
            f"the vectors in {name} come from {embedding.model} ({embedding.dimensions} dimensions), those of the "
            f"store from {known.model} ({known.dimensions}). Import into an empty store, or use `grapevine import "
            "--re-embed`: it leaves the file's vectors aside and computes them anew."
        )


class _Import:
    """One run over a file's items."""

    def __init__(
        self,
        store: TransferStore,
        embedding: Embedding | None,
        moved: Moved,
        on_progress: Callable[[Moved], None],
    ) -> None:
        self._store = store
        self._embedding = embedding
        self._on_progress = on_progress
        self._faqs: dict[tuple[str, str, str], Faq] | None = None
        self._written: set[str] = set()
        self.moved = moved

    async def write(self, batch: Sequence[Dumped | Faq]) -> None:
        """Documents in one transaction, FAQs one by one after them: a document that is replaced outdates FAQs."""
        documents = [each for each in batch if isinstance(each, Dumped)]
        if self._embedding is None:
            documents = [replace(each, vectors=(None,) * len(each.vectors)) for each in documents]
        has_same = await asyncio.gather(*map(self._has_same, documents))
        fresh = [each for each, is_there in zip(documents, has_same, strict=True) if not is_there]
        if fresh:
            await self._store.restore(await asyncio.to_thread(lambda: list(map(with_terms, fresh))), self._embedding)
        faqs = [each for each in batch if isinstance(each, Faq)]
        for faq in faqs:
            await self._put_faq(faq)
        self.moved = replace(
            self.moved,
            documents=self.moved.documents + len(documents),
            unchanged=self.moved.unchanged + len(documents) - len(fresh),
            chunks=self.moved.chunks + sum(len(each.vectors) for each in documents),
            without_vectors=self.moved.without_vectors + sum(each.vectors.count(None) for each in documents),
            faqs=self.moved.faqs + len(faqs),
        )
        self._on_progress(self.moved)

    async def _has_same(self, dumped: Dumped) -> bool:
        document = dumped.document
        there = await self._store.document(document.collection, document.id, source=document.source)
        if there is None:
            return False
        is_same = (there.content_hash, there.chunks, there.title, there.url, there.valid_from, there.valid_until) == (
            *(document.content_hash, len(document.chunks), document.title, document.url),
            *(document.valid_from, document.valid_until),
        )
        read = sum(chunk.extracted is not None for chunk in document.chunks)
        return is_same and there.pending <= dumped.vectors.count(None) and there.extracted >= read

    async def _put_faq(self, faq: Faq) -> None:
        """The file's answer takes the place of any other to the same question."""
        if self._faqs is None:
            self._faqs = {_asked(known): known for known in await self._store.faqs()}
        known = self._faqs.get(_asked(faq))
        self._written.add(faq.id)
        if known == faq:
            return
        await self._store.put_faq(faq)
        if known is not None and known.id not in self._written:
            await self._store.remove_faq(known.id)
        self._faqs[_asked(faq)] = faq


def _asked(faq: Faq) -> tuple[str, str, str]:
    return faq.collection, faq.language, question_key(faq.question)


def _batch(found: Iterator[Item]) -> list[Dumped | Faq]:
    batch: list[Dumped | Faq] = []
    weight = 0
    for item in found:
        if not isinstance(item, Header):
            batch.append(item)
            weight += len(item.vectors) if isinstance(item, Dumped) else 1
        if weight >= _CHUNKS_A_BATCH:
            break
    return batch
