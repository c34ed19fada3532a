"""Two empty stores, and an export as bytes."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rag.stores.embedded import EmbeddedStore
from rag.transfer.export import Moved, lines
from rag.transfer.ports import TransferStore
from rag.transfer.restore import check, restore


def noon() -> datetime:
    return datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path / "from.db", now=noon)
    yield store
    await store.close()


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path / "to.db", now=noon)
    yield store
    await store.close()


async def exported(store: TransferStore, *collections: str) -> bytes:
    return b"".join([piece async for piece in lines(store, frozenset(collections) or None)])


async def imported(store: TransferStore, content: bytes, *, with_vectors: bool = True) -> Moved:
    file = io.BytesIO(content)
    return await restore(store, file, "a.jsonl", checked=check(file, "a.jsonl"), with_vectors=with_vectors)
