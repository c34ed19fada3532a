"""Documents of a store as LightRAG takes them in: with a graph as a model would have drawn it, or passages alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from rag.records import Chunk, Document
from rag.stores.vectors import Floats
from rag.transfer.ports import Dumped, TransferStore

_LEAST_HELD, _LINKS_PER_CHUNK = 2, 3
_SHORTEST = 2


async def light_graph(store: TransferStore, collection: str) -> dict[str, list[Any]]:
    """Passages, names in them and what is said of them: for LightRAG's `ainsert_custom_kg`.

    A `file_path` is the place of an id in `documents`, because it keeps only what follows the last slash of a path.
    A title is described by its document's first sentence and has the document's other names too; any other name by
    the sentence that holds it first; a link by the sentence that makes it. Of a passage the three rarest names that
    other documents hold too: names of one document link nothing.
    """
    documents = [dumped.document async for dumped in _dumped(store, collection)]
    held_by: Counter[str] = Counter()
    for document in documents:
        for chunk in document.chunks:
            held_by.update({name for sentence in chunk.sentences for name in sentence.names} | {document.title.lower()})
    graph: dict[str, list[Any]] = {"documents": [document.id for document in documents], "chunks": []}
    described: dict[str, dict[str, Any]] = {}
    for at, document in enumerate(documents):
        if document.chunks:
            entity = _entity(document.title, _sentences(document.chunks[0])[0], _source(at, document.chunks[0]))
            for name in (document.title.lower(), *document.names):
                described.setdefault(name, entity)
    linked: dict[tuple[str, ...], dict[str, Any]] = {}
    for at, document in enumerate(documents):
        subject = described.get(document.title.lower(), {})
        for chunk in document.chunks:
            source, sentences = _source(at, chunk), _sentences(chunk)
            graph["chunks"].append(_passage(document, chunk, source))
            named = {
                name: place
                for place, each in reversed(list(enumerate(chunk.sentences)))
                for name in each.names
                if _is_entity(name) and held_by[name] >= _LEAST_HELD and described.get(name) is not subject
            }
            for name in sorted(named, key=lambda name: (held_by[name], name))[:_LINKS_PER_CHUNK]:
                sentence = sentences[named[name]]
                described.setdefault(name, _entity(name, sentence, source))
                ends = {"src_id": subject["entity_name"], "tgt_id": described[name]["entity_name"]}
                linked.setdefault(tuple(ends.values()), ends | {"keywords": name, "description": sentence} | source)
    graph["entities"] = list({entity["entity_name"]: entity for entity in described.values()}.values())
    graph["relationships"] = [link for link in linked.values() if link["src_id"].lower() != link["tgt_id"].lower()]
    return graph


async def light_passages(store: TransferStore, collection: str) -> tuple[dict[str, list[Any]], Floats]:
    """The same without a graph, and the passages' vectors."""
    graph: dict[str, list[Any]] = {"documents": [], "chunks": []}
    vectors = []
    async for dumped in _dumped(store, collection):
        for chunk, of_chunk in zip(dumped.document.chunks, dumped.vectors, strict=True):
            if of_chunk is not None:
                source = _source(len(graph["documents"]), chunk)
                graph["chunks"].append(_passage(dumped.document, chunk, source))
                vectors.append(of_chunk.as_unit())
        graph["documents"].append(dumped.document.id)
    return graph, np.array(vectors, np.float32)


def _passage(document: Document, chunk: Chunk, source: dict[str, str]) -> dict[str, str]:
    return {"content": f"{document.title}\n{chunk.text}", **source}


def _source(at: int, chunk: Chunk) -> dict[str, str]:
    return {"source_id": f"{at}#{chunk.ordinal}", "file_path": str(at)}


def _sentences(chunk: Chunk) -> list[str]:
    return [chunk.text[each.start : each.end] for each in chunk.sentences] or [chunk.text]


async def _dumped(store: TransferStore, collection: str) -> AsyncIterator[Dumped]:
    after: int | None = 0
    while after is not None:
        page = await store.dump(frozenset({collection}), after=after)
        for dumped in page.documents:
            yield dumped
        after = page.after


def _is_entity(name: str) -> bool:
    """LightRAG takes off quotes and blanks, and refuses what is left empty."""
    return len(re.sub(r"\W", "", name)) >= _SHORTEST and not name.startswith("@")


def _entity(name: str, description: str, source: dict[str, str]) -> dict[str, Any]:
    return {"entity_name": name, "entity_type": "name", "description": description, **source}
