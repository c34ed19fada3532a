from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from rag.ingest.discover import Discovered
from rag.ingest.outcome import FileOutcome, IngestReport, Progress
from rag.ingest.pipeline import Confirm, IngestOptions, ingest, ingest_files
from rag.ingest.sandbox import ParserPool
from rag.ports import Embedder
from rag.stores.embedded import EmbeddedStore
from tests.support.hashing import HashingEmbedder


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    opened = EmbeddedStore(tmp_path / "knowledge.db")
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "docs"
    path.mkdir()
    return path


@pytest.fixture
async def pool() -> AsyncIterator[ParserPool]:
    async with ParserPool() as pool:
        yield pool


class Ingest:
    """`ingest` with what every test would say anyway."""

    def __init__(self, store: EmbeddedStore, pool: ParserPool) -> None:
        self._store = store
        self._pool = pool

    async def __call__(
        self,
        *paths: Path,
        embedder: Embedder | None = None,
        is_sync: bool = False,
        is_dry_run: bool = False,
        collection: str = "public",
        max_bytes: int = 2**26,
        confirm: Confirm | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> IngestReport:
        return await ingest(
            paths,
            store=self._store,
            embedder=embedder or HashingEmbedder(),
            options=IngestOptions(collection=collection, is_sync=is_sync, is_dry_run=is_dry_run, max_bytes=max_bytes),
            pool=self._pool,
            confirm=confirm,
            on_progress=on_progress,
        )

    async def found(self, found: Discovered) -> IngestReport:
        return await ingest_files(
            found, store=self._store, embedder=HashingEmbedder(), options=IngestOptions(), pool=self._pool
        )

    async def one(self, path: Path, content: bytes | str) -> FileOutcome:
        """The outcome of a single file with this content."""
        await asyncio.to_thread(path.write_bytes, content if isinstance(content, bytes) else content.encode())
        report = await self(path)
        assert len(report.outcomes) == 1
        return report.outcomes[0]

    async def ids(self, collection: str = "public") -> list[str]:
        page = await self._store.documents(frozenset({collection}), limit=1000)
        return [document.id for document in page.documents]

    async def pending(self) -> int:
        return sum(counts.pending for counts in (await self._store.counts()).values())


@pytest.fixture
def ingested(store: EmbeddedStore, pool: ParserPool) -> Ingest:
    return Ingest(store, pool)


@pytest.fixture
def write(folder: Path) -> Callable[..., Path]:
    """Writes `name=content` files into the folder and returns the folder."""

    def written(files: dict[str, str | bytes]) -> Path:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder

    return written
