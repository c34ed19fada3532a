"""On Neo4j too, a caller sees what they would see if the forbidden collections had never been ingested."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag.ports import Vectors
from rag.retrieval.search import Search
from rag.stores.neo4j import Neo4jStore
from rag.types import Language, Mode
from tests.stores.test_store_access import COLLECTIONS, Step, steps, without_forbidden
from tests.support.knowledge import DIMENSIONS, EMBEDDER, embed, embed_all
from tests.support.neo4j import empty_neo4j

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(400)]

QUESTIONS = ("What does the fee cost under BT-03?", "Phí motorbike của Ed Wood?", "don claim", "Fees")


class Hashing:
    """Vectors that depend on the text alone."""

    name = EMBEDDER
    dimensions = DIMENSIONS
    languages: frozenset[Language] | None = None

    async def embed(self, texts: Sequence[str], *, urgent: bool = False) -> Vectors:
        return embed(texts)

    async def close(self) -> None:
        """Nothing to close."""


async def replay(store: Neo4jStore, story: Sequence[Step]) -> None:
    for step in story:
        if step.document is None:
            await store.remove(step.collection, [step.id])
        else:
            await store.put([step.document])
        if step.embeds:
            await embed_all(store)


async def told(store: Neo4jStore, collections: frozenset[str]) -> list[object]:
    """Everything that a caller can learn: passages with scores and reasons, refusals, languages, what an id opens."""
    search = Search(store, Hashing())
    everything: list[object] = [dict(await store.languages(collections))]
    for question in QUESTIONS:
        for mode in get_args(Mode):
            found = await search.retrieve(question, collections=collections, k=20, mode=mode)
            everything += [found.passages, found.is_relevant, found.language]
            for passage in found.passages:
                everything.append(await search.passage(passage.passage_id, collections=collections))
    return everything


async def ids(store: Neo4jStore, collections: frozenset[str]) -> set[str]:
    found = await Search(store, Hashing()).retrieve(QUESTIONS[0], collections=collections, k=100)
    return {passage.passage_id for passage in found.passages}


@pytest.mark.parametrize("version", ["5", "2026"])
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    story=st.lists(steps(), min_size=1, max_size=8),
    permitted=st.sets(st.sampled_from(COLLECTIONS), max_size=2),
)
def test_forbidden_collections_change_nothing_on_neo4j(version: str, story: list[Step], permitted: set[str]) -> None:
    """Passages, scores, ranks, reasons and refusals are those of a database that never held anything else"""

    async def compare() -> None:
        collections = frozenset(permitted)
        async with empty_neo4j(version) as neo4j:
            whole = neo4j.store()
            await replay(whole, story)
            seen = await told(whole, collections)
            for forbidden in await ids(whole, frozenset(COLLECTIONS) - collections):
                assert await whole.passage(forbidden, collections) is None
            await neo4j.empty()
            part = neo4j.store()
            await replay(part, without_forbidden(story, permitted))
            assert await told(part, collections) == seen

    asyncio.run(compare())
