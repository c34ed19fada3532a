"""Removing a document as people mean it: the whole file, not the first of the parts it was cut into."""

from __future__ import annotations

import re

from rag.ports import KnowledgeStore

_PART = re.compile(r"#(?:part-\d+|rows-\d+-\d+)")
"""How `rag.ingest.parse` marks what follows the first part of a long text or a long table."""


async def remove_document(store: KnowledgeStore, collection: str, document_id: str) -> int:
    """Remove a document with its further parts, from whatever source it came; how many records went.

    A part that is named itself goes alone. Raises a `StoreError`.
    """
    removed = 0
    while (found := await store.document(collection, document_id)) is not None:
        parts = [
            other
            for other, ingested in (await store.ingested(collection, found.source)).items()
            if ingested.file == found.file
            and other.startswith(document_id)
            and _PART.fullmatch(other, len(document_id))
        ]
        removed += await store.remove(collection, [document_id, *parts], source=found.source)
    return removed
