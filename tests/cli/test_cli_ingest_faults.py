"""`grapevine ingest` and what may go wrong with it, as somebody at a terminal meets it."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rag.stores.embedded import EmbeddedStore
from tests.emulators.embeddings import EmbeddingsServer
from tests.support.knowledge import make_document
from tests.support.process import COMMAND, Finished, environment, grapevine


@pytest.fixture
async def embeddings() -> AsyncIterator[EmbeddingsServer]:
    """An embedder that needs no start-up time, and can be held."""
    async with EmbeddingsServer() as server:
        yield server


class Terminal:
    """Runs commands over one data folder."""

    def __init__(self, data: Path, embeddings: EmbeddingsServer) -> None:
        self.data = data
        self.settings: dict[str, Any] = {
            "EMBEDDING_MODEL": "openai:hashed@16",
            "EMBEDDING_BASE_URL": embeddings.base_url,
            "EMBEDDING_API_KEY": "sk-secret",
        }

    async def __call__(self, *args: str | Path, **settings: str) -> Finished:
        return await grapevine(*map(str, args), data=self.data, **{**self.settings, **settings})

    async def start(self, *args: str | Path, before: str = "") -> asyncio.subprocess.Process:
        """A command that is not waited for; `before`: what the shell does first."""
        return await asyncio.create_subprocess_exec(
            *("sh", "-c", f'{before}exec "$@"', "sh", *COMMAND, *map(str, args)),
            env=environment(self.data, **self.settings),
            cwd=self.data.parent,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def documents(self) -> list[Any]:
        """What `documents list` shows."""
        return list(json.loads((await self("documents", "list", "--json")).out))


@pytest.fixture
def run(tmp_path: Path, embeddings: EmbeddingsServer) -> Terminal:
    return Terminal(tmp_path / "data", embeddings)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty short documents."""
    path = tmp_path / "docs"
    path.mkdir()
    for number in range(40):
        (path / f"{number:02}.md").write_text(f"# Title {number}\n\nThe fee of product {number} is {number}.\n")
    return path


def is_one_line(finished: Finished) -> bool:
    return finished.err.startswith("grapevine: ") and finished.err.count("\n") == 1


async def test_two_ingests_at_once(run: Terminal, folder: Path) -> None:
    """Two processes take in the same folder at the same time: both succeed, every document is there once"""
    first, second = await asyncio.gather(run("ingest", folder), run("ingest", folder))
    assert (first.code, second.code) == (0, 0), first.err + second.err
    found = await run.documents()
    assert [item["id"] for item in found] == [f"{number:02}.md" for number in range(40)]
    assert {item["pending"] for item in found} == {0}


async def test_a_killed_ingest_is_finished_by_the_next(
    run: Terminal, folder: Path, embeddings: EmbeddingsServer
) -> None:
    """After kill -9 while vectors are made the text is there; the next run reads nothing again and makes the vectors"""
    embeddings.permits = asyncio.Semaphore(0)
    process = await run.start("ingest", folder)
    store = EmbeddedStore(run.data / "knowledge.db")
    try:
        while not embeddings.requests:
            await asyncio.sleep(0.02)
        counts = (await store.counts())["public"]
        assert (counts.documents, counts.pending) == (40, 40)
    finally:
        process.send_signal(signal.SIGKILL)
        await process.communicate()
        await store.close()
    embeddings.permits = None
    report = json.loads((await run("ingest", "--json", folder)).out)
    assert report["counts"] == {"unchanged": 40}
    assert report["vectors"] >= 40
    assert {item["pending"] for item in await run.documents()} == {0}


@pytest.mark.skipif(sys.platform != "linux", reason="the size limit of files is told differently elsewhere")
async def test_a_disk_without_room(run: Terminal, folder: Path) -> None:
    """A disk that takes no more is said in one line with what to do; what was there stays, and works with room again"""
    assert (await run("ingest", folder / "00.md")).code == 0
    (folder / "large.md").write_text(
        "\n\n".join(f"Paragraph {n} of the policy says what is paid." for n in range(3000))
    )
    process = await run.start("ingest", folder, before="ulimit -f 800; ")
    _, said = await process.communicate()
    assert process.returncode == 1
    assert b"Traceback" not in said
    assert b"knowledge.db: the disk" in said
    assert "00.md" in [item["id"] for item in await run.documents()]
    assert (await run("ingest", folder / "01.md")).code == 0


async def test_another_embedding_model(run: Terminal, folder: Path) -> None:
    """Another model is refused with the command that re-embeds; that command does, without the original files"""
    assert (await run("ingest", folder)).code == 0
    other = {"EMBEDDING_MODEL": "openai:other@24"}
    refused = await run("ingest", folder, **other)
    assert refused.code == 1
    assert is_one_line(refused)
    assert "openai:hashed@16" in refused.err
    assert "`grapevine ingest --re-embed`" in refused.err
    done = await run("ingest", "--re-embed", "--json", **other)
    assert done.code == 0, done.err
    assert json.loads(done.out)["vectors"] >= 40
    assert (await run("ingest", folder, **other)).code == 0


async def test_a_data_folder_that_cannot_be_used(run: Terminal, folder: Path) -> None:
    """A newer version's, a damaged and a foreign file are told in one line with the way back, and the way back works"""
    assert (await run("ingest", folder / "00.md")).code == 0
    database = run.data / "knowledge.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA user_version=99")
    for command in (["ingest", folder], ["documents", "list"]):
        newer = await run(*command)
        assert newer.code == 1
        assert is_one_line(newer)
        assert "newer version of Grapevine" in newer.err
        assert "Update Grapevine, or move the file away" in newer.err
    database.write_bytes(b"this was a database once" * 1000)
    damaged = await run("ingest", folder)
    assert damaged.code == 1
    assert is_one_line(damaged)
    assert "Move it away together with knowledge.db-wal and knowledge.db-shm, then run `grapevine ingest` again" in (
        damaged.err
    )
    for path in run.data.glob("knowledge.db*"):
        path.rename(path.with_suffix(f"{path.suffix}.away"))
    assert (await run("ingest", folder)).code == 0
    assert len(await run.documents()) == 40


async def test_what_is_typed_wrongly(run: Terminal, folder: Path, tmp_path: Path) -> None:
    """A wrong collection name, path or folder to sync is one clear line, and nothing is changed"""
    assert (await run("ingest", folder)).code == 0
    named = await run("ingest", folder, "--collection", "Staff-Only")
    assert (named.code, is_one_line(named), "a-z, 0-9 and _" in named.err) == (2, True, True)
    missing = await run("ingest", tmp_path / "none")
    assert (missing.code, is_one_line(missing), "there is no file or folder" in missing.err) == (1, True, True)
    await asyncio.to_thread(shutil.rmtree, folder)
    await asyncio.to_thread(folder.mkdir)
    empty = await run("ingest", folder, "--sync", "--yes")
    assert (empty.code, is_one_line(empty), "may be the wrong folder" in empty.err) == (1, True, True)
    assert len(await run.documents()) == 40


async def test_removing_a_file_removes_its_parts(run: Terminal) -> None:
    """A table that was cut into two documents goes as a whole; a file whose name only begins alike stays"""
    file, part, other = "a/fees.csv", "a/fees.csv#rows-2001-2001", "a/fees.csv#rows.md"
    store = EmbeddedStore(run.data / "knowledge.db")
    await store.put([replace(make_document(id_, "Text."), file=file) for id_ in (file, part)])
    await store.put([make_document(other, "Text.")])
    await store.close()
    removed = await run("documents", "remove", file)
    assert removed.code == 0, removed.err
    assert [item["id"] for item in await run.documents()] == [other]
