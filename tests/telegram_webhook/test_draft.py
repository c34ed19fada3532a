from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial

import pytest
from aiogram import Bot

from adapters.live.budget import Limit, LocalBudget, per_chat
from adapters.ports import Final, Inbound
from adapters.telegram.draft import RENEW_S
from adapters.telegram.platform import TelegramPlatform
from tests.emulators.telegram import TelegramEmulator
from tests.telegram_webhook.conftest import Owing, cancelled

CHAT = 1001


def asked(chat: str = str(CHAT), *, private: bool = True) -> Inbound:
    return Inbound(
        platform="telegram",
        conversation=chat,
        sender=str(CHAT),
        text="What does theft cover cost?",
        event_id="telegram:1:1",
        received_at=0.0,
        is_private=private,
    )


def shows(words: str, emu: TelegramEmulator) -> bool:
    """Whether the person's preview has these words."""
    preview = emu.previews.shown(CHAT)
    return preview is not None and words in preview.text


@dataclass
class Handles:
    """What the process is told of where the answer grows."""

    told: list[str] = field(default_factory=list)

    async def __call__(self, handle: str) -> None:
        self.told.append(handle)


@pytest.fixture
async def drafting(bot: Bot, owing: Owing) -> AsyncIterator[TelegramPlatform]:
    """The adapter with native drafts, at a quick pace."""
    budget = LocalBudget(per_chat(Limit(20, 1)))
    platform = TelegramPlatform(bot, accept=owing.accept, stop=owing.stop, streaming="draft", budget=budget)
    yield platform
    await platform.close()


async def test_an_answer_grows_in_one_draft_and_ends_as_one_message(
    drafting: TelegramPlatform, emu: TelegramEmulator
) -> None:
    """The preview grows, is dismissed by the message, and nothing is posted twice."""
    handles = Handles()
    live = drafting.open_message(asked(), on_posted=handles)
    for n in range(4):
        live.append(f"**part{n}** of the answer. ")
        await emu.wait_for(partial(shows, f"part{n}"))
    assert not emu.from_bot(CHAT)
    await live.finish(Final(text="The whole **answer**."))
    (message,) = emu.from_bot(CHAT)
    assert message.text == "The whole answer."
    assert [entity["type"] for entity in message.entities] == ["bold"]
    assert emu.previews.shown(CHAT) is None
    assert len({draft["draft_id"] for draft in emu.drafts}) == 1
    assert handles.told[0].startswith("draft:")
    assert handles.told[-1] == str(message.message_id)


async def test_a_long_answer_goes_on_in_a_second_draft(drafting: TelegramPlatform, emu: TelegramEmulator) -> None:
    """Beyond 4,096 characters the first part becomes a message, and the rest grows below it."""
    live = drafting.open_message(asked())
    text = ("word " * 900).strip()
    live.append(text)
    await emu.wait_for(lambda e: e.from_bot(CHAT) and e.previews.shown(CHAT))
    (sealed,) = emu.from_bot(CHAT)
    await live.finish(Final(text=text))
    assert [m.edits for m in emu.from_bot(CHAT)] == [0, 0]
    assert emu.from_bot(CHAT)[0] is sealed
    assert " ".join(m.text for m in emu.from_bot(CHAT)).split() == text.split()


async def test_groups_get_edits(drafting: TelegramPlatform, emu: TelegramEmulator) -> None:
    """Telegram knows no drafts in groups: there the answer grows in a message."""
    emu.group(-100_500)
    live = drafting.open_message(asked("-100500", private=False))
    live.append("The beginning")
    await emu.wait_for(lambda e: e.from_bot(-100_500))
    await live.finish(Final(text="The beginning and the end."))
    (message,) = emu.from_bot(-100_500)
    assert message.text == "The beginning and the end."
    assert not emu.made("sendMessageDraft")


@pytest.mark.parametrize(
    ("code", "description"), [(400, "Bad Request: TEXTDRAFT_PEER_INVALID"), (404, "Not Found: method not found")]
)
async def test_where_drafts_are_refused_a_message_grows(
    drafting: TelegramPlatform, emu: TelegramEmulator, code: int, description: str
) -> None:
    """An older Bot API server, or a chat without drafts: the answer is shown all the same, after one attempt."""
    emu.fail("sendMessageDraft", code=code, description=description, times=100)
    live = drafting.open_message(asked())
    live.append("The beginning")
    await emu.wait_for(lambda e: e.from_bot(CHAT))
    await live.finish(Final(text="The beginning and the end."))
    (message,) = emu.from_bot(CHAT)
    assert message.text == "The beginning and the end."
    assert len(emu.made("sendMessageDraft")) == 1


async def test_a_silent_model_does_not_let_the_draft_vanish(
    drafting: TelegramPlatform, emu: TelegramEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unchanged preview is sent again before its 30 seconds are over, as long as the answer is being written."""
    assert RENEW_S < 25
    monkeypatch.setattr("adapters.telegram.platform.RENEW_S", 0.1)
    live = drafting.open_message(asked())
    live.append("The beginning")
    await emu.wait_for(lambda e: len(e.drafts) >= 4)
    assert {draft["text"] for draft in emu.drafts} == {"The beginning"}
    await live.finish(Final(text="The end."))
    sent = len(emu.drafts)
    assert [m.text for m in emu.from_bot(CHAT)] == ["The end."]
    await live.close()
    assert len(emu.drafts) == sent


async def test_a_429_on_a_draft_is_honoured(drafting: TelegramPlatform, emu: TelegramEmulator) -> None:
    """No call for as long as Telegram says; then the newest text, and the whole answer in the end."""
    emu.fail("sendMessageDraft", code=429, retry_after=1)
    live = drafting.open_message(asked())
    live.append("The beginning")
    await emu.wait_for(lambda e: e.drafts)
    refused, shown = emu.made("sendMessageDraft")
    assert shown.at - refused.at >= 1.0
    delivery = await live.finish(Final(text="The beginning and the end."))
    assert delivery.throttled == 1
    assert [m.text for m in emu.from_bot(CHAT)] == ["The beginning and the end."]


async def test_after_a_crash_the_final_is_posted_anew(drafting: TelegramPlatform, emu: TelegramEmulator) -> None:
    """A draft has no message id: whoever takes the answer over goes on in the same draft and ends with a message."""
    handles = Handles()
    before = drafting.open_message(asked(), on_posted=handles)
    before.append("The beginning")
    while not handles.told:
        await asyncio.sleep(0)
    await before.close()
    live = drafting.reopen_message(asked(), handles.told[-1])
    live.append("The beginning")
    await emu.wait_for(lambda e: len(e.drafts) >= 2)
    await live.finish(Final(text="The beginning and the end."))
    assert [m.text for m in emu.from_bot(CHAT)] == ["The beginning and the end."]
    assert len({draft["draft_id"] for draft in emu.drafts}) == 1


async def test_a_draft_is_ended_although_the_setting_was_changed_meanwhile(
    platform: TelegramPlatform, emu: TelegramEmulator
) -> None:
    """With drafts switched off again, an answer that was growing in one still arrives."""
    live = platform.reopen_message(asked(), "draft:17")
    await live.finish(Final(text="The end."))
    assert [m.text for m in emu.from_bot(CHAT)] == ["The end."]


async def test_telegram_s_own_stop_button_stops_the_answer(
    drafting: TelegramPlatform, emu: TelegramEmulator, owing: Owing
) -> None:
    """The press below the draft reaches the process as a stop by the person whose chat it is."""
    running = asyncio.create_task(drafting.run())
    await emu.wait_for(lambda e: e.updates.is_polled)
    live = drafting.open_message(asked())
    live.append("The beginning")
    await emu.wait_for(lambda e: e.previews.shown(CHAT))
    emu.previews.press_stop(emu, CHAT)
    while not owing.stops:
        await asyncio.sleep(0)
    (stop,) = owing.stops
    assert (stop.conversation, stop.asker, stop.presser) == (str(CHAT), str(CHAT), str(CHAT))
    await live.finish(Final(text="The beginning", note="⏹ Stopped"))
    assert [m.text for m in emu.from_bot(CHAT)] == ["The beginning\n\n⏹ Stopped"]
    await cancelled(running)


async def test_the_emulated_draft_vanishes_and_is_refused_in_groups(emu: TelegramEmulator, bot: Bot) -> None:
    """As on the real server: thirty seconds, private chats only, dismissed by a message."""
    now = 1000.0
    emu.now = lambda: now
    await bot.send_message_draft(CHAT, 7, text="…")
    assert emu.previews.shown(CHAT)
    now += 29
    assert emu.previews.shown(CHAT)
    now += 1
    assert emu.previews.shown(CHAT) is None
    await bot.send_message_draft(CHAT, 7, text="…")
    await bot.send_message(CHAT, "The end.")
    assert emu.previews.shown(CHAT) is None
    emu.group(-100_500)
    with pytest.raises(Exception, match="TEXTDRAFT_PEER_INVALID"):
        await bot.send_message_draft(-100_500, 7, text="…")
