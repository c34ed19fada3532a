"""The state file: what it keeps through restarts, what it forgets, and what it says when it cannot be used."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from bot.state import sqlite
from bot.state.ports import OwedTurn
from bot.state.sqlite import SqliteState, StateError
from bot.state.turns import SqliteTurns


def turn(event_id: str, accepted_at: float = 1.0) -> OwedTurn:
    return OwedTurn(
        event_id=event_id,
        trace_id="t" + event_id,
        platform="telegram",
        lane=event_id,
        payload=b'{"text": "How much?"}',
        accepted_at=accepted_at,
        owner="a",
    )


async def test_two_processes_claim_an_event_once(tmp_path: Path) -> None:
    """The claim holds across connections to the same file."""
    states = [await SqliteState.open(tmp_path / "state.db") for _ in range(2)]
    one, two = (SqliteTurns(state) for state in states)
    claims = await asyncio.gather(
        *(turns.claim(turn(str(n)), most_waiting=5) for n in range(20) for turns in (one, two))
    )
    assert sum(claim == 0 for claim in claims) == 20
    for state in states:
        await state.close()


async def test_an_owed_turn_survives_a_restart_with_its_message(tmp_path: Path) -> None:
    """What was accepted is still owed after reopening, together with the message it grows in."""
    state = await SqliteState.open(tmp_path / "state.db")
    turns = SqliteTurns(state)
    await turns.claim(turn("2", accepted_at=2.0), most_waiting=5)
    await turns.claim(turn("1", accepted_at=1.0), most_waiting=5)
    await turns.record("1", "a", message_id="77")
    await state.close()
    state = await SqliteState.open(tmp_path / "state.db")
    taken = await SqliteTurns(state).take_over("b", lapse_s=-1)
    assert [(owed.event_id, owed.message_id) for owed in taken] == [("1", "77"), ("2", None)]
    await state.close()


async def test_nothing_that_was_said_stays_of_a_settled_turn(tmp_path: Path) -> None:
    """Question, answer and place are gone from the file; the event is kept to recognise its repeats."""
    state = await SqliteState.open(tmp_path / "state.db")
    turns = SqliteTurns(state)
    await turns.claim(turn("1"), most_waiting=5)
    await turns.record("1", "a", message_id="77", final=b'{"text": "A lot."}')
    await turns.settle("1", "a")
    await state.close()
    with sqlite3.connect(tmp_path / "state.db") as file:
        rows = file.execute("SELECT event_id, payload, final, message_id, lane FROM turns").fetchall()
        assert rows == [("1", None, None, None, "")]


async def test_only_settled_turns_are_pruned(tmp_path: Path) -> None:
    """However old, an owed answer is never forgotten."""
    state = await SqliteState.open(tmp_path / "state.db")
    turns = SqliteTurns(state)
    for name in ("owed", "settled", "young"):
        await turns.claim(turn(name, accepted_at=100.0 if name == "young" else 1.0), most_waiting=5)
    await turns.settle("settled", "a")
    await turns.settle("young", "a")
    assert await turns.prune(before=50.0) == 1
    assert await turns.count() == 1
    await state.close()


async def test_a_file_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    """Its owed answers are found, and its claims hold."""
    with sqlite3.connect(tmp_path / "state.db") as file:
        for statement in sqlite._STEPS[0]:
            file.execute(statement)
        file.execute("PRAGMA user_version = 1")
        row = "INSERT INTO turns (event_id, trace_id, platform, payload, accepted_at, settled) VALUES "
        file.execute(row + "('owed', 't', 'telegram', X'7B7D', 1.0, 0), ('done', 't', 'telegram', NULL, 1.0, 1)")
    state = await SqliteState.open(tmp_path / "state.db")
    turns = SqliteTurns(state)
    assert [one.event_id for one in await turns.take_over("b", lapse_s=10)] == ["owed"]
    assert await turns.claim(turn("done"), most_waiting=5) is None
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
