from __future__ import annotations

import asyncio

import pytest
from aiogram import Bot

from adapters.ports import Final, Inbound
from bot.access import parse_access
from bot.places import Places
from bot.state.moves import MovedPlaces
from bot.state.sqlite import SqliteState
from tests.emulators.telegram import TelegramEmulator
from tests.support.answers import deltas
from tests.support.telegram_chat import BotInChats, answer, chatting, existing

OLD, NEW = -500, -100_900


async def test_each_group_reads_its_own_collections(emu: TelegramEmulator, bot: Bot) -> None:
    """What `GRAPEVINE_ACCESS` says for a group holds there, and nowhere else."""
    async with chatting(emu, bot, access="telegram:-100700=public,staff") as chats:
        emu.say("@grapevine_bot q", chat=emu.group(-100_700))
        await chats.answered("Theft is covered", -100_700)
        emu.say("@grapevine_bot q", chat=emu.group(-100_800))
        await chats.answered("Theft is covered", -100_800)
        emu.say("q")
        await chats.questions(3)
    readable = [question.audience.collections for question in chats.engine.questions]
    assert readable == [{"public", "staff"}, {"public"}, {"public"}]


async def test_talk_that_is_not_meant_for_the_bot_is_not_answered(emu: TelegramEmulator, chats: BotInChats) -> None:
    """With privacy mode off: no text, picture, reply to others, or command for another bot."""
    emu.is_privacy_on = False
    group = emu.group(-100_700, topics=(7,))
    words = emu.say("just talking", chat=group, thread=7)
    emu.say("a reply to somebody else", chat=group, thread=7, reply_to=words)
    emu.say("", chat=group, thread=7, sticker={"file_id": "f", "file_unique_id": "u", "type": "regular", "width": 1,
            "height": 1, "is_animated": False, "is_video": False})  # fmt: skip
    emu.say("/stop@another_bot", chat=group, thread=7)
    emu.say("From our channel: @grapevine_bot", chat=group, thread=7, is_automatic_forward=True)
    emu.say("@grapevine_bot and now you", chat=group, thread=7)
    message = await chats.answered("Theft is covered", group.id)
    assert message.thread_id == 7
    assert await chats.questions(1) == ["and now you"]
    assert len(emu.from_bot(group.id)) == 1


async def test_sentences_and_passages_stay_in_their_topic(emu: TelegramEmulator, chats: BotInChats) -> None:
    """Whatever is said there in answer to a command or a button."""
    group = emu.group(-100_700, topics=(7,))
    emu.say("/help@grapevine_bot", chat=group, thread=7)
    assert (await chats.answered("Just write your question", group.id)).thread_id == 7
    emu.say("@grapevine_bot q", chat=group, thread=7)
    message = await chats.answered("Theft is covered", group.id)
    await chats.pressed(message, "src:")
    assert (await chats.answered("Report a theft", group.id)).thread_id == 7


# A group becomes a supergroup.


async def test_a_supergroup_knows_what_was_said_in_the_group(emu: TelegramEmulator, chats: BotInChats) -> None:
    """A follow-up is read with what was asked before the move."""
    old = emu.group(OLD)
    emu.say("@grapevine_bot one", chat=old)
    await chats.answered("Theft is covered", OLD)
    new = emu.migrate(old, NEW)
    emu.say("@grapevine_bot and two?", chat=new)
    await chats.answered("Theft is covered", NEW)
    assert [exchange.question for exchange in chats.engine.questions[1].history] == ["one"]


async def test_a_supergroup_reads_what_the_group_could_read(emu: TelegramEmulator, bot: Bot) -> None:
    """The entry written for the old id counts, be it wider or narrower than the default, and after a restart."""
    state = SqliteState.in_memory()
    access = "telegram=public,staff telegram:-500=public"
    async with chatting(emu, bot, access=access, state=state) as chats:
        new = emu.migrate(emu.group(OLD), NEW)
        emu.say("@grapevine_bot one", chat=new)
        await chats.answered("Theft is covered", NEW)
    assert chats.engine.questions[0].audience.collections == {"public"}
    again = Places(parse_access(access), await MovedPlaces.open(state), existing=existing)
    assert await again.may_read("telegram", str(NEW)) == {"public"}
    assert await again.may_read("telegram", "-100901") == {"public", "staff"}


async def test_without_a_known_move_only_the_default_may_be_read(emu: TelegramEmulator, bot: Bot) -> None:
    """An unknown group gets nothing that an entry gives to another one; one written for the new id wins."""
    async with chatting(emu, bot, access="telegram:-500=public,staff telegram:-100902=staff") as chats:
        assert await chats.places.may_read("telegram", str(NEW)) == {"public"}
        await chats.places.moved("telegram", str(OLD), str(NEW))
        assert await chats.places.may_read("telegram", str(NEW)) == {"public", "staff"}
        await chats.places.moved("telegram", str(OLD), "-100902")
        assert await chats.places.may_read("telegram", "-100902") == {"staff"}


@pytest.mark.parametrize("shown_before", ["", "Theft "])
async def test_an_answer_owed_to_the_group_arrives_in_the_supergroup(
    emu: TelegramEmulator, chats: BotInChats, shown_before: str
) -> None:
    """Learned from Telegram's refusal if need be; what was asked is answered once, whole, where the people are now."""
    going_on = asyncio.Event()
    done = answer("Theft is covered.")[-1]
    chats.engine.script = (*deltas(shown_before), going_on, *deltas("Theft is covered."[len(shown_before) :]), done)
    old = emu.group(OLD)
    emu.say("@grapevine_bot q", chat=old)
    await chats.questions(1)
    if shown_before:
        await emu.wait_for(lambda e: e.from_bot(OLD))
    emu.migrate(old, NEW, is_told=False)
    going_on.set()
    await chats.answered("Theft is covered.", NEW)
    assert len(emu.from_bot(NEW)) == 1
    assert (await chats.line()).outcome == "answered"
    assert await chats.moves.former("telegram", str(NEW)) == str(OLD)


async def test_an_answer_that_moved_is_found_again_after_a_crash(emu: TelegramEmulator, bot: Bot) -> None:
    """Its messages are remembered with their new chat: the next owner finishes them there."""
    async with chatting(emu, bot) as chats:
        old = emu.group(OLD)
        emu.migrate(old, NEW)
        inbound = Inbound(platform="telegram", conversation=str(OLD), sender="1001", text="q", event_id="e",
                          received_at=0.0, is_private=False)  # fmt: skip
        handles: list[str] = []

        async def posted(handle: str) -> None:
            handles.append(handle)
            emu.changed()

        first = chats.platform.open_message(inbound, on_posted=posted)
        first.append("the first half")
        await emu.wait_for(lambda e: handles)
        await first.close()
        second = chats.platform.reopen_message(inbound, handles[-1])
        await second.finish(Final(text="The whole answer."))
    assert [m.text for m in emu.from_bot(NEW)] == ["The whole answer."]


# People who leave.


@pytest.mark.parametrize(
    "why", ["bot was blocked by the user", "user is deactivated", "bot was kicked from the supergroup chat"]
)
async def test_who_leaves_in_the_middle_of_an_answer_ends_it_quietly(
    emu: TelegramEmulator, chats: BotInChats, caplog: pytest.LogCaptureFixture, why: str
) -> None:
    """Blocked, deleted or kicked: the engine is stopped, nothing is posted anew, and no error is logged."""
    going_on = asyncio.Event()
    chats.engine.script = (*deltas("Some words "), going_on, *deltas("and more "), asyncio.Event())
    emu.say("q")
    (message,) = await emu.wait_for(lambda e: e.from_bot(1001))
    emu.block(message.chat, why)
    going_on.set()
    async with asyncio.timeout(10):
        await chats.engine.closed.wait()
    await chats.line()
    assert len(emu.made("sendMessage")) == 1
    assert not [record for record in caplog.records if record.levelname in {"ERROR", "WARNING"}]
