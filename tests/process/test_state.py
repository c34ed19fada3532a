"""Claims and owed turns in SQLite: a claim and the debt it creates are one write that survives anything."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from bot.state.ports import OwedTurn
from bot.state.sqlite import SqliteState, StateError


def turn(event_id: str, accepted_at: float = 1.0) -> OwedTurn:
    return OwedTurn(
        event_id=event_id, trace_id="t" + event_id, platform="telegram", payload=b"{}", accepted_at=accepted_at
    )


async def test_an_event_is_claimed_once(tmp_path: Path) -> None:
    """The same delivery repeated ten times at once owes one answer."""
    state = await SqliteState.open(tmp_path / "state.db")
    claims = await asyncio.gather(*(state.claim(turn("1")) for _ in range(10)))
    assert sorted(claims) == [False] * 9 + [True]
    assert len(await state.owed()) == 1
    await state.close()


async def test_two_processes_claim_an_event_once(tmp_path: Path) -> None:
    """The claim holds across connections to the same file."""
    one, two = [await SqliteState.open(tmp_path / "state.db") for _ in range(2)]
    claims = await asyncio.gather(*(state.claim(turn(str(n))) for n in range(20) for state in (one, two)))
    assert sum(claims) == 20
    await one.close()
    await two.close()


async def test_an_owed_turn_survives_a_restart_with_its_message(tmp_path: Path) -> None:
    """What was accepted is still owed after reopening, together with the message it grows in."""
    state = await SqliteState.open(tmp_path / "state.db")
    await state.claim(turn("2", accepted_at=2.0))
    await state.claim(turn("1", accepted_at=1.0))
    await state.posted("1", "77")
    await state.close()
    state = await SqliteState.open(tmp_path / "state.db")
    assert [(owed.event_id, owed.message_id) for owed in await state.owed()] == [("1", "77"), ("2", None)]
    await state.close()


async def test_a_settled_turn_is_not_owed_but_still_claimed(tmp_path: Path) -> None:
    """A repeat of an answered event is recognised, and the question's text is gone from the file."""
    state = await SqliteState.open(tmp_path / "state.db")
    await state.claim(turn("1"))
    await state.settle("1")
    assert await state.owed() == []
    assert await state.claim(turn("1")) is False
    await state.close()
    with sqlite3.connect(tmp_path / "state.db") as file:
        assert file.execute("SELECT payload FROM turns").fetchall() == [(None,)]


async def test_only_settled_turns_are_pruned(tmp_path: Path) -> None:
    """However old, an owed answer is never forgotten."""
    state = await SqliteState.open(tmp_path / "state.db")
    for name in ("owed", "settled", "young"):
        await state.claim(turn(name, accepted_at=100.0 if name == "young" else 1.0))
    await state.settle("settled")
    await state.settle("young")
    assert await state.prune(before=50.0) == 1
    assert [owed.event_id for owed in await state.owed()] == ["owed"]
    await state.close()


async def test_a_kept_secret_stays_the_same(tmp_path: Path) -> None:
    """The key of the logs' pseudonyms is made once."""
    state = await SqliteState.open(tmp_path / "state.db")
    first = await state.kept_secret("hash-key")
    await state.close()
    state = await SqliteState.open(tmp_path / "state.db")
    assert await state.kept_secret("hash-key") == first
    assert len(first) == 32
    await state.close()


async def test_a_damaged_file_is_said(tmp_path: Path) -> None:
    """The error names the file and the way on."""
    (tmp_path / "state.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(StateError, match=r"state\.db cannot be used .* move it away"):
        await SqliteState.open(tmp_path / "state.db")


async def test_a_newer_file_is_said(tmp_path: Path) -> None:
    """A file of a newer version is left alone."""
    with sqlite3.connect(tmp_path / "state.db") as file:
        file.execute("PRAGMA user_version = 999")
    with pytest.raises(StateError, match="newer version"):
        await SqliteState.open(tmp_path / "state.db")


async def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """A data folder whose place is taken by a file is named with the setting to change."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(StateError, match="GRAPEVINE_DATA"):
        await SqliteState.open(tmp_path / "taken" / "state.db")
