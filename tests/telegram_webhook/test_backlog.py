from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import count

import pytest
from aiogram import Bot
from hypothesis import given
from hypothesis import strategies as st

from adapters.ports import Inbound
from adapters.telegram.backlog import Backlog
from adapters.telegram.platform import TelegramPlatform
from adapters.telegram.session import TelegramSession
from tests.emulators.telegram import TelegramEmulator
from tests.telegram_webhook.conftest import Owing, cancelled
from tests.telegram_webhook.updates import asked

NOW = 1_800_000_000.0


def question(n: int, *, sent_at: float | None, chat: str = "1") -> Inbound:
    return Inbound(
        platform="telegram",
        conversation=chat,
        sender=chat,
        text=f"question {n}",
        event_id=f"telegram:9:{n}",
        received_at=0.0,
        sent_at=sent_at,
    )


def backlog(accepted: list[Inbound], now: Callable[[], float] = lambda: NOW, *, quiet_s: float = 0.0) -> Backlog:
    async def accept(inbound: Inbound) -> None:
        accepted.append(inbound)

    return Backlog(accept, limit_s=600, server_time=now, quiet_s=quiet_s)


async def test_ten_thousand_waiting_updates_are_gone_through(
    emu: TelegramEmulator, bot: Bot, owing: Owing, caplog: pytest.LogCaptureFixture
) -> None:
    """Old questions: one apology a chat is owed. Young ones: each is owed an answer. The log has the count."""
    chats = range(2000, 2040)
    emu.updates.pending += [
        {**asked(n, f"question {n}", chat=chats[n % 40], age_s=3600), "_key": "x"} for n in range(1, 9_901)
    ]
    emu.updates.pending += [
        {**asked(n, f"question {n}", chat=chats[n % 40], age_s=30), "_key": "x"} for n in range(9_901, 10_001)
    ]
    platform = TelegramPlatform(bot, accept=owing.accept, stop=owing.stop, backlog_s=600)
    running = asyncio.create_task(platform.run())
    await emu.wait_for(lambda e: len(e.updates.confirmed) == 10_000, timeout_s=100)
    late = [inbound for inbound in owing.accepted if inbound.instead == "late"]
    young = [inbound for inbound in owing.accepted if inbound.instead is None]
    assert sorted(inbound.conversation for inbound in late) == [str(chat) for chat in chats]
    assert [inbound.text for inbound in young] == [f"question {n}" for n in range(9_901, 10_001)]
    await cancelled(running)
    await platform.close()
    assert "9900 questions had waited for more than 600 s and are not answered; 40 chats get an apology" in caplog.text


async def test_a_second_start_does_not_apologise_again() -> None:
    """The apology is an event of its own name: claimed once, whoever meets the chat's old questions next."""
    first, second = list[Inbound](), list[Inbound]()
    await backlog(first).accept(question(1, sent_at=NOW - 700))
    await backlog(second).accept(question(2, sent_at=NOW - 700))
    assert first[0].event_id == second[0].event_id == f"telegram:9:late:1:{int(NOW // 3600)}"


@given(ages=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
async def test_old_or_young_is_a_matter_of_the_message_s_own_date(ages: list[float]) -> None:
    """Up to ten minutes, in the future, or of unknown date: answered; older: one apology, and no answer."""
    accepted: list[Inbound] = []
    gate = backlog(accepted)
    for n, age in enumerate(ages):
        await gate.accept(question(n, sent_at=NOW - age))
    gate.tell()
    young = [f"question {n}" for n, age in enumerate(ages) if NOW - (NOW - age) <= 600]
    assert [inbound.text for inbound in accepted if inbound.instead is None] == young
    assert sum(inbound.instead == "late" for inbound in accepted) == (len(young) < len(ages))


async def test_without_a_date_a_question_is_young() -> None:
    """What cannot be known to be old is answered."""
    accepted: list[Inbound] = []
    await backlog(accepted).accept(question(1, sent_at=None))
    assert accepted[0].instead is None


@pytest.mark.parametrize("skew_s", [-86_400.0, -1200.0, 1200.0, 86_400.0])
async def test_a_wrong_clock_on_this_machine_makes_nothing_old(
    emu: TelegramEmulator, bot: Bot, owing: Owing, skew_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    """Ages go by Telegram's clock: a live question is answered, an old one is not, whatever time it is here."""
    session = bot.session
    assert isinstance(session, TelegramSession)
    wall = session._wall
    session._wall = lambda: wall() + skew_s
    platform = TelegramPlatform(
        bot, accept=owing.accept, stop=owing.stop, backlog_s=600, server_time=session.server_time
    )
    running = asyncio.create_task(platform.run())
    await emu.wait_for(lambda e: e.updates.is_polled)
    emu.updates.replay({**asked(1, "live", age_s=0), "_key": "x"})
    emu.updates.replay({**asked(2, "stale", age_s=3600), "_key": "x"})
    await emu.wait_for(lambda e: len(e.updates.confirmed) == 2)
    assert [(inbound.text, inbound.instead) for inbound in owing.accepted] == [("live", None), ("stale", "late")]
    assert abs(session.offset_s + skew_s) < 5
    assert caplog.text.count("this machine's clock is") == 1
    await cancelled(running)
    await platform.close()


async def test_the_count_is_told_once_it_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """By webhook nobody knows when the last old one has come: the log line waits for a pause."""
    caplog.set_level(logging.WARNING)
    gate = backlog([])
    for n in range(3):
        await gate.accept(question(n, sent_at=0.0))
    while not caplog.records:
        await asyncio.sleep(0)
    gate.tell()
    assert [record.getMessage() for record in caplog.records] == [
        "3 questions had waited for more than 600 s and are not answered; 1 chats get an apology"
    ]


async def test_an_apology_that_could_not_be_recorded_is_tried_again() -> None:
    """A question that fails is not confirmed, and its chat is not counted as told."""
    tries = count()
    accepted: list[Inbound] = []

    async def accept(inbound: Inbound) -> None:
        if next(tries) == 0:
            raise ConnectionError
        accepted.append(inbound)

    gate = Backlog(accept, limit_s=600, server_time=lambda: NOW)
    with pytest.raises(ConnectionError):
        await gate.accept(question(1, sent_at=0.0))
    await gate.accept(question(1, sent_at=0.0))
    gate.tell()
    assert [inbound.instead for inbound in accepted] == ["late"]
