"""The embedded store keeps the contract."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from rag.ports import KnowledgeStore, Vectors
from rag.stores.embedded import EmbeddedStore
from rag.stores.view import SegmentView
from tests.stores.contract import OpenStore, Probe, StoreContract


class EmbeddedProbe:
    """Looks through a view."""

    async def by_words(self, store: KnowledgeStore, word: str, collections: frozenset[str]) -> list[str]:
        view = await _view(store, collections)
        scores = view.text_scores([word], "marked", k1=1.2, b=0.75).scores
        return _documents(view, scores, above=0.0)

    async def by_meaning(self, store: KnowledgeStore, vector: Vectors, collections: frozenset[str]) -> list[str]:
        view = await _view(store, collections)
        scores = view.cosines(vector)
        return [] if scores is None else _documents(view, scores, above=-1.0)

    async def named_by(self, store: KnowledgeStore, document: str, collections: frozenset[str]) -> set[str]:
        view = await _view(store, collections)
        ids = [info.document for info in view.infos(view.first_row[:-1].tolist())]
        rows = np.flatnonzero(view.document_of == ids.index(document)).tolist()
        return {ids[link.target] for link in view.links_from(rows, limit=100)}

    async def texts(self, store: KnowledgeStore, word: str, collections: frozenset[str]) -> set[str]:
        view = await _view(store, collections)
        rows = np.flatnonzero(view.text_scores([word], "marked", k1=1.2, b=0.75).scores)
        return {info.text for info in view.infos(rows.tolist())}


async def _view(store: KnowledgeStore, collections: frozenset[str]) -> SegmentView:
    assert isinstance(store, EmbeddedStore)
    return await asyncio.to_thread(store.view, collections)


def _documents(view: SegmentView, scores: Vectors, *, above: float) -> list[str]:
    rows = [row for row in np.argsort(-scores, kind="stable").tolist() if scores[row] > above]
    return list(dict.fromkeys(info.document for info in view.infos(rows)))


class TestEmbeddedStore(StoreContract):
    """All of it, on a file."""

    @pytest.fixture
    def open_store(self, open_embedded: OpenStore) -> OpenStore:
        return open_embedded

    @pytest.fixture
    def probe(self) -> Probe:
        return EmbeddedProbe()
