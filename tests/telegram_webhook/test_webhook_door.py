from __future__ import annotations

import asyncio
import random
import sqlite3
from pathlib import Path

import pytest

from bot.state.sqlite import SqliteState
from tests.emulators.telegram import TelegramEmulator
from tests.telegram_webhook.conftest import SECRET, Door, Owing
from tests.telegram_webhook.updates import asked


async def owed(state: SqliteState) -> list[str]:
    """The events whose answers are owed, in order."""
    return await state.run(
        lambda db: [row[0] for row in db.execute("SELECT event_id FROM turns WHERE settled = 0 ORDER BY rowid")]
    )


@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET[:-1], SECRET + "x", "geheimnis-€"])
@pytest.mark.parametrize("body", [b"{", b"x" * 10_000_000], ids=["no-json", "10-MB"])
async def test_without_the_secret_nothing_is_read(door: Door, owing: Owing, secret: str | None, body: bytes) -> None:
    """A missing or wrong secret is a 401, whatever the body would have been."""
    assert await door.post(body, secret=secret) == 401
    assert not owing.accepted


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[]", b"17", b"{}", b'{"update_id": "1"}'])
async def test_what_is_no_update_is_a_400(door: Door, owing: Owing, body: bytes) -> None:
    """Telegram would never send it; a person who tries sees that it was not understood."""
    assert await door.post(body) == 400
    assert not owing.accepted


async def test_ten_megabytes_are_too_many(door: Door, owing: Owing) -> None:
    """A body far larger than any update is refused, and the next delivery is taken."""
    assert await door.post(b'{"update_id": 1, "x": "' + b"x" * 10_000_000 + b'"}') == 413
    assert await door.post(asked(2)) == 200
    assert len(owing.accepted) == 1


@pytest.mark.parametrize(
    "update",
    [
        {"update_id": 5},
        {"update_id": 5, "brand_new_kind": {"id": 1}},
        {"update_id": 5, "message": {"message_id": "not a number"}},
        {"update_id": 5, "poll": {"id": "1"}},
    ],
)
async def test_an_update_of_an_unknown_kind_is_acknowledged(
    door: Door, owing: Owing, update: dict[str, object]
) -> None:
    """What this version does not understand is not asked for again, and nothing comes of it."""
    assert await door.post(update) == 200
    assert not owing.accepted


async def test_a_question_is_owed_before_it_is_acknowledged(
    door: Door, state: SqliteState, emu: TelegramEmulator
) -> None:
    """Once Telegram has its 200, the answer is owed on the disk."""
    assert await door.post(asked(11)) == 200
    assert await owed(state) == [f"telegram:{emu.bot_user.id}:11"]


async def test_while_nothing_can_be_recorded_telegram_keeps_the_update(
    door: Door, state: SqliteState, owing: Owing, tmp_path: Path
) -> None:
    """With the state file in trouble a delivery is a 503; the next one of the same update is taken, once."""

    def rename(old: str, new: str) -> None:
        with sqlite3.connect(tmp_path / "state.db") as other:
            other.execute(f"ALTER TABLE {old} RENAME TO {new}")
        other.close()

    rename("turns", "away")
    for _ in range(12):
        assert await door.post(asked(21)) == 503
    rename("away", "turns")
    assert await door.post(asked(21)) == 200
    assert await door.post(asked(21)) == 200
    assert len(owing.accepted) == 1
    assert len(await owed(state)) == 1


async def test_an_update_that_can_never_succeed_lets_the_others_pass(door: Door, owing: Owing) -> None:
    """A bug in handling one update does not hold up its chat for the day that Telegram would go on delivering it."""
    owing.bug = ZeroDivisionError()
    assert [await door.post(asked(31)) for _ in range(8)] == [500] * 7 + [200]
    owing.bug = None
    assert await door.post(asked(32)) == 200
    assert len(owing.accepted) == 1


async def test_three_hundred_updates_repeated_and_out_of_order_are_owed_once_each(
    door: Door, state: SqliteState, emu: TelegramEmulator
) -> None:
    """Every question is owed exactly once, however often and in whatever order it is delivered."""
    ids = [*range(1000, 1300), *range(1000, 1300, 3), *range(1000, 1300, 7)]
    random.Random(7).shuffle(ids)
    in_flight = asyncio.Semaphore(40)

    async def deliver(update_id: int) -> int:
        async with in_flight:
            return await door.post(asked(update_id, f"Question {update_id}?", chat=2000 + update_id % 50))

    assert set(await asyncio.gather(*(deliver(update_id) for update_id in ids))) == {200}
    assert sorted(await owed(state)) == [f"telegram:{emu.bot_user.id}:{n}" for n in range(1000, 1300)]


async def test_a_command_delivered_twice_is_done_once(door: Door, emu: TelegramEmulator) -> None:
    """A lost acknowledgement does not make the bot greet twice."""
    for _ in range(3):
        assert await door.post(asked(41, "/help")) == 200
    assert await door.post(asked(42, "/stop")) == 200
    await emu.wait_for(lambda e: e.from_bot(1001))
    assert len(emu.from_bot(1001)) == 1
