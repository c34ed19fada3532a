"""Two empty stores, the second on a file or in Neo4j, and an export as bytes."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from rag.stores.embedded import EmbeddedStore
from rag.stores.neo4j import Neo4jStore
from rag.transfer.export import Moved, lines
from rag.transfer.ports import TransferStore
from rag.transfer.restore import check, restore
from tests.support.neo4j import empty_neo4j

Store = EmbeddedStore | Neo4jStore
VECTORS = ("vector", "floats", "rows", "scales")


def noon() -> datetime:
    return datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path / "from.db", now=noon)
    yield store
    await store.close()


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    """Where to, if it does not matter what it is."""
    store = EmbeddedStore(tmp_path / "to.db", now=noon)
    yield store
    await store.close()


@pytest.fixture(params=["embedded", pytest.param("5", marks=pytest.mark.services)])
async def other(request: pytest.FixtureRequest, target: EmbeddedStore) -> AsyncIterator[Store]:
    """Where to: each kind of store in turn."""
    if request.param == "embedded":
        yield target
        return
    async with empty_neo4j(request.param) as neo4j:
        yield await neo4j.open_store()


async def exported(store: TransferStore, *collections: str) -> bytes:
    return b"".join([piece async for piece in lines(store, frozenset(collections) or None)])


async def imported(store: TransferStore, content: bytes, *, with_vectors: bool = True) -> Moved:
    file = io.BytesIO(content)
    return await restore(store, file, "a.jsonl", checked=check(file, "a.jsonl"), with_vectors=with_vectors)


def without_vectors(content: bytes) -> list[object]:
    """An export, but of the vectors only how many parts chunks have: Neo4j keeps them as other numbers."""
    lines = [orjson.loads(line) for line in content.splitlines()]
    for chunk in (chunk for line in lines if line["kind"] == "document" for chunk in line["chunks"]):
        chunk["embedded"] = len([chunk.pop(name) for name in VECTORS if chunk.get(name)])
    return lines
