"""What a language model finds in documents that somebody may not read changes nothing that they see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.wiring import open_extractor
from rag.ingest.llm_extract.run import ExtractionReport, Plan, extract
from tests.leaks.test_leaks_doors import ACCESS, PUBLIC, QUESTIONS, STAFF
from tests.support.extraction import Reader, entity, relation
from tests.support.neo4j import empty_neo4j
from tests.support.services import Neo4jServer
from tests.support.tenants import House, Seen, opened_house, visit

FACTS = {
    "goodwill limit": {
        "entities": [entity("Marigold", 0), entity("Payout limits", 0), entity("Theft cover", 0)],
        "relations": [relation("Marigold", "signs above", "Payout limits")],
    },
    "claim": {"entities": [entity("Goodwill", 0), entity("Claims", 0)]},
    "heft cover": {"entities": [entity("Theft cover", 0)]},
}


@pytest.fixture
async def reader() -> AsyncIterator[Reader]:
    async with Reader(FACTS) as running:
        yield running


@pytest.fixture(params=["embedded", pytest.param("neo4j", marks=pytest.mark.services)])
async def neo4j(request: pytest.FixtureRequest) -> AsyncIterator[Neo4jServer | None]:
    """Each store in turn."""
    if request.param == "embedded":
        yield None
        return
    async with empty_neo4j("5") as empty:
        yield empty.server


async def extracted(house: House, collection: str) -> ExtractionReport:
    async def agreed(_plan: Plan) -> bool:
        return True

    async with open_extractor(house.core.settings) as model:
        report = await extract(house.core.store, model, collection, confirm=agreed)
    await house.core.store.refresh()
    return report


async def test_extraction_of_what_is_forbidden_changes_nothing(
    tmp_path: Path, reader: Reader, neo4j: Neo4jServer | None
) -> None:
    """Every door shows strangers the very same before and after the staff's documents were read by a model"""
    async with opened_house(tmp_path, access=ACCESS, server=reader, neo4j=neo4j) as house:
        await house.feed([*PUBLIC, *STAFF])
        assert (await extracted(house, "public")).documents > 0
        passages = await house.passage_ids(["public", "staff"])
        sent = len(reader.read)

        async def seen() -> list[Seen]:
            async with house.caller("anonymous") as client:
                return await visit(client, questions=QUESTIONS, passages=passages, collections=["public", "staff"])

        before = await seen()
        assert (await extracted(house, "staff")).relations == 1
        assert sorted(await house.passage_ids(["public", "staff"])) == sorted(passages)
        assert await seen() == before
        assert not any("Marigold" in text for text in reader.read[:sent])
