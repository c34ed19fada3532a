"""Several processes on one file: killed, at once, and one behind the other's back."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from rag.stores.embedded import EmbeddedStore
from tests.stores.conftest import noon
from tests.support.knowledge import embed_all
from tests.support.store_process import PARTS

PUBLIC = frozenset({"public"})


async def start(*arguments: object) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.store_process", *map(str, arguments), stdout=asyncio.subprocess.PIPE
    )


async def test_a_killed_ingest_is_continued(database: Path) -> None:
    """After kill -9 every acknowledged document is there and whole, and the vectors still missing are made"""
    process = await start("ingest", database, 0, 1_000_000)
    assert process.stdout is not None
    written = embedded = 0
    async for line in process.stdout:
        kind, number = line.split()
        written, embedded = (int(number) + 1, embedded) if kind == b"written" else (written, int(number) + 1)
        if embedded >= 12:
            break
    process.kill()
    await process.communicate()

    store = EmbeddedStore(database, now=noon)
    await store.check()
    counts = (await store.counts())["public"]
    assert counts.documents >= written
    assert counts.chunks == PARTS * counts.documents
    assert 0 < counts.pending <= counts.chunks - embedded
    assert await embed_all(store) == counts.pending
    await store.refresh()
    view = await asyncio.to_thread(store.view, PUBLIC)
    assert view.rows == counts.chunks
    assert (await store.counts())["public"].pending == 0
    await store.close()


async def test_two_processes_ingest_at_once(store: EmbeddedStore, database: Path) -> None:
    """Two processes and this one write at the same time, and everything of all three is there"""
    others = [await start("ingest", database, first, first + 15) for first in (0, 100)]
    async with asyncio.timeout(60):
        for process in others:
            await process.communicate()
    assert [process.returncode for process in others] == [0, 0]
    await embed_all(store)
    counts = (await store.counts())["public"]
    assert (counts.documents, counts.chunks, counts.pending) == (30, 30 * PARTS, 0)


async def test_a_running_reader_follows_another_process(store: EmbeddedStore, database: Path) -> None:
    """What another process ingests is served and what it removes is not, without this one being told"""
    await store.load()

    async def rows() -> int:
        return (await asyncio.to_thread(store.view, PUBLIC)).rows

    async with asyncio.timeout(60):
        await (await start("ingest", database, 0, 3)).communicate()
        while await rows() != 3 * PARTS:
            await asyncio.sleep(0.01)
        await (await start("remove", database, "d0", "d2")).communicate()
        while await rows() != PARTS:
            await asyncio.sleep(0.01)
