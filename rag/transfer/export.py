"""Writing a store's knowledge as lines, a page at a time: memory is bounded by the largest document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from rag.errors import InputError
from rag.transfer.lines import FORMAT, EmbeddingLine, End, Header, document_line, faq_line, plain_line
from rag.transfer.ports import TransferStore

_CHUNKS_A_PAGE = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """How far an export or an import is."""

    documents: int = 0
    chunks: int = 0
    faqs: int = 0
    unchanged: int = 0
    """Documents that the store had already."""
    without_vectors: int = 0
    """Chunks that travel without: they waited for their vectors, or were told to leave them."""
    chunks_total: int = 0


async def lines(
    store: TransferStore,
    collections: frozenset[str] | None = None,
    *,
    on_progress: Callable[[Moved], None] = lambda _moved: None,
) -> AsyncIterator[bytes]:
    """The lines of an export, in pieces of several; None: all collections.

    Documents that change meanwhile are in it in their former or in their new version, or both, the newer one later.
    Raises `InputError` for an unknown collection, or if the vectors were replaced by another model's meanwhile.
    """
    counts, faqs = await store.counts(), await store.faqs()
    existing = frozenset(counts) | {faq.collection for faq in faqs}
    wanted = existing if collections is None else collections
    if unknown := wanted - existing:
        known = ", ".join(sorted(existing)) or "none yet"
        raise InputError(f"there is no collection {', '.join(sorted(unknown))}; there are: {known}.")
    embedding = await store.embedding()
    held = [counts[name] for name in sorted(wanted) if name in counts]
    total = sum(each.chunks for each in held)
    model = None if embedding is None else EmbeddingLine(model=embedding.model, dimensions=embedding.dimensions)
    yield plain_line(
        Header(
            format=FORMAT,
            embedding=model,
            collections=tuple(sorted(wanted)),
            documents=sum(each.documents for each in held),
            chunks=total,
        )
    )
    moved, after = Moved(chunks_total=total), 0
    while True:
        page = await store.dump(wanted, after=after, limit=_CHUNKS_A_PAGE)
        if page.embedding != embedding and any(any(each.vectors) for each in page.documents):
            raise InputError(
                "the vectors were being replaced by those of another model; export again when that is done."
            )
        yield b"".join(map(document_line, page.documents))
        moved = replace(
            moved,
            documents=moved.documents + len(page.documents),
            chunks=moved.chunks + sum(len(each.vectors) for each in page.documents),
            without_vectors=moved.without_vectors + sum(each.vectors.count(None) for each in page.documents),
        )
        on_progress(moved)
        if page.after is None:
            break
        after = page.after
    chosen = [faq for faq in await store.faqs() if faq.collection in wanted]
    yield b"".join(map(faq_line, chosen))
    yield plain_line(End(documents=moved.documents, chunks=moved.chunks, faqs=len(chosen)))
    on_progress(replace(moved, faqs=len(chosen)))
