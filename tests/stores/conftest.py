"""Stores on temporary files, with a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rag.stores.embedded import EmbeddedStore
from tests.stores.contract import OpenStore
from tests.support.neo4j import EmptyNeo4j, empty_neo4j


def noon() -> datetime:
    return datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "data" / "knowledge.db"


@pytest.fixture
async def open_embedded(database: Path) -> AsyncIterator[OpenStore]:
    opened: list[EmbeddedStore] = []

    async def open_another() -> EmbeddedStore:
        opened.append(EmbeddedStore(database, now=noon, poll_s=0.02))
        return opened[-1]

    yield open_another
    for store in opened:
        await store.close()


@pytest.fixture
async def store(database: Path) -> AsyncIterator[EmbeddedStore]:
    store = EmbeddedStore(database, now=noon, poll_s=0.02)
    yield store
    await store.close()


@pytest.fixture(params=["5", "2026"])
async def neo4j(request: pytest.FixtureRequest) -> AsyncIterator[EmptyNeo4j]:
    """Each server of `make services` in turn, empty."""
    async with empty_neo4j(request.param) as neo4j:
        yield neo4j
