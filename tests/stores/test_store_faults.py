"""What is wrong with the file is said in one line with the way back, and nothing is left half-written."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path

import pytest

from rag.errors import EmbeddingMismatch, StoreCorrupt, StoreTooNew, StoreUnavailable
from rag.stores.embedded import EmbeddedStore
from tests.stores.conftest import noon
from tests.support.knowledge import embed, embed_all, make_document

PUBLIC = frozenset({"public"})


async def test_a_file_that_is_no_database(store: EmbeddedStore, database: Path) -> None:
    """A file of something else is called damaged, and the message names it and the way back"""
    place(database, b"this is no database" * 1000)
    with pytest.raises(StoreCorrupt, match="Move it away") as caught:
        await store.open()
    assert str(database) in str(caught.value)
    assert "grapevine ingest" in str(caught.value)
    with pytest.raises(StoreCorrupt):
        await store.put([make_document("a", "Text.")])


async def test_somebody_elses_database(store: EmbeddedStore, database: Path) -> None:
    """A SQLite file of another program is left as it is"""
    place(database, b"")
    with sqlite3.connect(database) as other:
        other.execute("CREATE TABLE letters (text)")
    other.close()
    with pytest.raises(StoreCorrupt, match="not a knowledge store"):
        await store.put([make_document("a", "Text.")])
    with sqlite3.connect(database) as other:
        assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("letters",)]
    other.close()


async def test_damaged_pages_are_found(database: Path) -> None:
    """A check of the whole file finds overwritten pages"""
    store = EmbeddedStore(database, now=noon)
    await store.put([make_document(f"d{at}", "Some text. " * 200) for at in range(50)])
    await store.check()
    await store.close()
    content = bytearray(content_of(database))
    content[100_000:200_000] = b"x" * 100_000
    place(database, bytes(content))
    store = EmbeddedStore(database, now=noon)
    with pytest.raises(StoreCorrupt, match="Move it away"):
        await store.check()
    await store.close()


async def test_a_newer_file_is_not_touched(store: EmbeddedStore, database: Path) -> None:
    """A file that a newer version wrote is refused with what to do, also while running"""
    await store.put([make_document("a", "Text.")])
    await store.load()
    with sqlite3.connect(database) as newer:
        newer.execute("PRAGMA user_version=99")
    newer.close()
    with pytest.raises(StoreTooNew, match="Update Grapevine"):
        await store.refresh()
    other = EmbeddedStore(database, now=noon)
    with pytest.raises(StoreTooNew, match="format is 99"):
        await other.put([make_document("b", "Text.")])
    await other.close()


async def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """A file where the data directory should be: cause and cure, no traceback of the file system"""
    place(tmp_path / "data", b"in the way")
    store = EmbeddedStore(tmp_path / "data" / "knowledge.db", now=noon)
    with pytest.raises(StoreUnavailable, match=r"is a file\. Choose a folder as the data directory"):
        await store.open()
    await store.close()


async def test_a_directory_in_place_of_the_file(database: Path) -> None:
    """A directory where the file should be is said, and so is what to do"""
    place(database / "inside", b"")
    store = EmbeddedStore(database, now=noon)
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        await store.put([make_document("a", "Text.")])
    await store.close()


async def test_a_full_disk_keeps_nothing_of_the_change(store: EmbeddedStore) -> None:
    """When the disk is full the whole batch is refused, what was there is served, and later there is room again"""
    await store.put([make_document("kept", "Kept text.")])
    pages = await store._write(lambda: _limit_pages(store, 40))
    with pytest.raises(StoreUnavailable, match="the disk is full"):
        await store.put([make_document(f"d{at}", f"Filling {at}. " * 3000) for at in range(40)])
    await store.refresh()
    assert [each.id for each in (await store.documents(PUBLIC)).documents] == ["kept"]
    assert (await asyncio.to_thread(store.view, PUBLIC)).rows == 1
    await store._write(lambda: _limit_pages(store, pages))
    await store.put([make_document("later", "Later text.")])
    await store.check()


async def test_a_file_moved_away_is_noticed(store: EmbeddedStore, database: Path) -> None:
    """After the file is moved away, a running store writes to and serves the new one"""
    await store.put([make_document("old", "Old text.")])
    await store.load()
    move_away(database)
    await store.put([make_document("new", "New text.")])
    await store.refresh()
    view = await asyncio.to_thread(store.view, PUBLIC)
    assert [info.document for info in view.infos(range(view.rows))] == ["new"]


async def test_a_question_of_another_model_is_refused(store: EmbeddedStore) -> None:
    """A question vector of other dimensions is refused with the command that re-embeds"""
    await store.put([make_document("a", "Text.")])
    await embed_all(store)
    await store.refresh()
    view = await asyncio.to_thread(store.view, PUBLIC)
    with pytest.raises(EmbeddingMismatch, match="--re-embed"):
        view.cosines(embed(["question"])[0][:5])


async def test_a_closed_store_says_so(database: Path) -> None:
    """After closing, every use says that the store is closed"""
    store = EmbeddedStore(database, now=noon)
    await store.open()
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.counts()
    with pytest.raises(StoreUnavailable, match="closed"):
        await asyncio.to_thread(store.view, PUBLIC)


async def test_removed_text_is_not_left_in_the_file(database: Path) -> None:
    """The words of a removed document are nowhere in the files afterwards"""
    store = EmbeddedStore(database, now=noon)
    await store.put(
        [make_document("a", "The password is Zanzibarium.", "See [Zanzibarium Code].", title="Zanzibarium")]
    )
    await embed_all(store)
    await store.put([make_document("b", "Other text.")])
    await store.remove("public", ["a"])
    await store.close()
    assert b"zanzibarium" not in b"".join(content_of(path) for path in files_of(database)).lower()


def place(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def files_of(database: Path) -> list[Path]:
    """The database with what SQLite keeps beside it."""
    return sorted(database.parent.glob(f"{database.name}*"))


def move_away(database: Path) -> None:
    for path in files_of(database):
        shutil.move(path, path.with_name(f"moved-{path.name}"))


def _limit_pages(store: EmbeddedStore, pages: int) -> int:
    connection = store._connection()
    before = connection.execute("PRAGMA max_page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages}")
    return int(before)
