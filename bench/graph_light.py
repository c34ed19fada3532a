"""HotpotQA as a model would have drawn it for LightRAG, from our own graph: the names in it, what is said of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from rag.records import Chunk, Document
from rag.transfer.ports import TransferStore

_LEAST_HELD, _LINKS_PER_CHUNK = 2, 3
_SHORTEST = 2


async def light_graph(store: TransferStore, collection: str) -> dict[str, list[Any]]:
    """The argument of LightRAG's `ainsert_custom_kg`, and `documents`: a `file_path` is the place of an id in there.

    LightRAG keeps only what follows the last slash of a path, and titles hold slashes.

    A title is described by its document's first sentence and has the document's other names too; any other name by
    the sentence that holds it first; a link by the sentence that makes it. Of a passage the three rarest names that
    other documents hold too: names of one document link nothing.
    """
    documents = [document async for document in _documents(store, collection)]
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
            graph["chunks"].append({"content": f"{document.title}\n{chunk.text}", **source})
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


def _source(at: int, chunk: Chunk) -> dict[str, str]:
    return {"source_id": f"{at}#{chunk.ordinal}", "file_path": str(at)}


def _sentences(chunk: Chunk) -> list[str]:
    return [chunk.text[each.start : each.end] for each in chunk.sentences] or [chunk.text]


async def _documents(store: TransferStore, collection: str) -> AsyncIterator[Document]:
    after: int | None = 0
    while after is not None:
        page = await store.dump(frozenset({collection}), after=after)
        for dumped in page.documents:
            yield dumped.document
        after = page.after


def _is_entity(name: str) -> bool:
    """LightRAG takes off quotes and blanks, and refuses what is left empty."""
    return len(re.sub(r"\W", "", name)) >= _SHORTEST and not name.startswith("@")


def _entity(name: str, description: str, source: dict[str, str]) -> dict[str, Any]:
    return {"entity_name": name, "entity_type": "name", "description": description, **source}
