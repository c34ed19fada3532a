"""What people get from the commands while the knowledge store cannot be read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.desk import Visitor
from bot.access import parse_access
from bot.commands import Commands
from bot.conversations import Conversations
from bot.places import Places
from bot.state.moves import MovedPlaces
from bot.state.sqlite import SqliteState
from bot.state.transcripts import SqliteTranscripts
from bot.wiring.core import _cached_names
from rag.errors import StoreCorrupt
from rag.stores.embedded import EmbeddedStore
from tests.support.knowledge import make_document
from tests.support.telegram_chat import SHELVED, Shelf

VISITOR = Visitor(platform="telegram", conversation="1001", place="1001", person="1001", language="en")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    """One document."""
    store = EmbeddedStore(tmp_path / "knowledge.db")
    await store.put([make_document("a", "Text.")])
    yield store
    await store.close()


def damage(database: Path) -> None:
    """Something else lies where the database was."""
    for file in database.parent.glob(f"{database.name}*"):
        file.rename(file.with_name(f"former-{file.name}"))
    database.write_bytes(b"this is no database" * 1000)


async def test_the_collections_that_were_known_stay_known(store: EmbeddedStore, tmp_path: Path) -> None:
    """Whatever is wrong with the store, not only when it is away, FAQs go on for those who may read them."""
    now = 0.0
    names = _cached_names(store, lambda: now)
    assert await names() == {"public"}
    damage(tmp_path / "knowledge.db")
    now = 60.0
    with pytest.raises(StoreCorrupt):
        await store.counts()
    assert await names() == {"public"}


async def test_commands_are_answered_without_the_store(store: EmbeddedStore, tmp_path: Path) -> None:
    """/start greets without examples, and a source's button says that the passage is not there: neither fails."""
    state, shelf = SqliteState.in_memory(), Shelf()

    async def existing() -> frozenset[str]:
        return frozenset(await store.counts())

    places = Places(parse_access(""), await MovedPlaces.open(state), existing=existing)
    desk = Commands(
        past=Conversations(await SqliteTranscripts.open(state), may_read=places.may_read),
        passages=shelf,
        documents=shelf,
        places=places,
        examples=lambda _: {"en": ("A?", "B?", "C?")},
        retention_days=30,
        hash_key=b"k" * 32,
    )
    assert (await desk.welcome(VISITOR)).examples == ("A?", "B?", "C?")
    assert await desk.passage(VISITOR, SHELVED[-1].passage_id) is not None
    damage(tmp_path / "knowledge.db")
    welcome = await desk.welcome(VISITOR)
    assert (welcome.examples, welcome.retention_days) == ((), 30)
    assert await desk.passage(VISITOR, SHELVED[-1].passage_id) is None
    await state.close()
