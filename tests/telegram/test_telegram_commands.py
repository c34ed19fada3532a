from __future__ import annotations

import asyncio

import pytest
from aiogram import Bot

from bot.state.sqlite import SqliteState
from tests.emulators.telegram import TelegramEmulator
from tests.support.answers import deltas
from tests.support.telegram_chat import BotInChats, answer, chatting

CHAT = 1001


async def test_start_says_what_to_ask_and_what_is_kept(emu: TelegramEmulator, chats: BotInChats) -> None:
    """Three example questions as buttons, and a line on privacy with the days and the way out."""
    emu.say("/start")
    message = await chats.answered("Hello!")
    assert "kept for 30 days" in message.text
    assert "/forget" in message.text
    assert [button["text"] for button in message.buttons] == [
        "What does theft cover cost?", "What does “Claims guide” say?", "What does “Price list” say?",
    ]  # fmt: skip


async def test_examples_never_name_what_may_not_be_read(emu: TelegramEmulator, chats: BotInChats) -> None:
    """A document of the staff's collection is no example for a customer."""
    emu.say("/start")
    message = await chats.answered("Hello!")
    assert "Staff" not in str(message.buttons)


async def test_an_example_is_asked_by_pressing_it(emu: TelegramEmulator, chats: BotInChats) -> None:
    """The button's own words are the question; it is ticked, the others stay."""
    emu.say("/start")
    message = await chats.answered("Hello!")
    assert await chats.pressed(message, "ask:0") == ("I am on it.", False)
    await chats.answered("Theft is covered")
    assert await chats.questions(1) == ["What does theft cover cost?"]
    await chats.gone(message, "ask:0")
    assert [b["text"][:6] for b in message.buttons] == ["✓ What", "What d", "What d"]
    assert await chats.pressed(message, "used") == ("You have asked this already.", False)


async def test_the_interface_speaks_vietnamese(emu: TelegramEmulator, chats: BotInChats) -> None:
    """Greeting, examples and help follow the language of the person's app."""
    person = emu.user(1500, language_code="vi-VN")
    emu.say("/start", user=person)
    message = await chats.answered("Xin chào!", 1500)
    assert [b["text"] for b in message.buttons] == ["Phí là bao nhiêu?", "Gọi ai?", "Ở đâu?"]
    emu.say("/help", user=person)
    assert "bắt đầu lại" in (await chats.answered("Bạn chỉ cần viết câu hỏi", 1500)).text


async def test_an_unknown_command_gets_the_help(emu: TelegramEmulator, chats: BotInChats) -> None:
    """In private always; in a group only if it names this bot. It is no question in any case."""
    emu.say("/frobnicate now")
    assert "/retry" in (await chats.answered("I do not know this command")).text
    emu.is_privacy_on = False
    group = emu.group()
    emu.say("/frobnicate", chat=group)
    emu.say("/frobnicate@another_bot", chat=group)
    emu.say("/frobnicate@grapevine_bot", chat=group)
    await chats.answered("I do not know this command", group.id)
    assert len(emu.from_bot(group.id)) == 1
    assert chats.engine.questions == []


async def test_new_leaves_the_conversation_behind(emu: TelegramEmulator, chats: BotInChats) -> None:
    """What is asked after /new is read without what was said before it."""
    emu.say("one")
    await chats.answered("Theft")
    emu.say("two")
    await emu.wait_for(lambda e: len([m for m in e.from_bot(CHAT) if "Theft" in m.text]) == 2)
    assert len(chats.engine.questions[1].history) == 1
    emu.say("/new")
    await chats.answered("Let us begin anew")
    emu.say("three")
    await chats.questions(3)
    assert chats.engine.questions[2].history == ()


async def test_stop_as_a_command_ends_the_answer(emu: TelegramEmulator, chats: BotInChats) -> None:
    """The text so far stays, marked; with nothing running /stop says so."""
    chats.engine.script = (*deltas("Some words "), asyncio.Event())
    emu.say("q")
    await emu.wait_for(lambda e: e.from_bot(CHAT))
    emu.say("/stop")
    assert (await chats.answered("Stopped")).text.startswith("Some words")
    emu.say("/stop")
    await chats.answered("There is no answer being written")


async def test_retry_answers_the_last_question_again(emu: TelegramEmulator, chats: BotInChats) -> None:
    """In a new message; with nothing asked yet it says so."""
    emu.say("/retry")
    await chats.answered("You have not asked me anything yet")
    emu.say("What does theft cover cost?")
    await chats.answered("Theft is covered")
    chats.engine.script = answer("A second answer [1].")
    emu.say("/retry")
    await chats.answered("A second answer")
    assert await chats.questions(2) == ["What does theft cover cost?"] * 2


async def test_sources_lists_where_the_last_answer_comes_from(emu: TelegramEmulator, chats: BotInChats) -> None:
    """Numbered; a link where there is an address, else a button for the passage; for a reply, of that answer."""
    emu.say("/sources")
    await chats.answered("You have not asked me anything yet")
    emu.say("q")
    first = await chats.answered("Theft is covered")
    chats.engine.script = deltas("I do not know.")
    emu.say("/sources")
    listed = await emu.wait_for(lambda e: [m for m in e.from_bot(CHAT) if m.text.startswith("Sources")])
    assert listed[-1].text == "Sources\n1. Claims guide (p. 3)\n2. Price list"
    assert [e["url"] for e in listed[-1].entities if e["type"] == "text_link"] == ["https://example.com/prices"]
    assert [b["callback_data"] for b in listed[-1].buttons] == ["src:p1"]
    emu.say("another")
    await chats.answered("I do not know.")
    emu.say("/sources", reply_to=first)
    await emu.wait_for(lambda e: len([m for m in e.from_bot(CHAT) if m.text.startswith("Sources")]) == 2)


async def test_what_may_not_be_read_any_more_is_not_shown_again(emu: TelegramEmulator, bot: Bot) -> None:
    """Access taken away after an answer: neither /sources nor the button below the old answer gives anything of it."""
    state = SqliteState.in_memory()
    async with chatting(emu, bot, access="*=public,staff", state=state) as chats:
        emu.say("q")
        message = await chats.answered("Theft is covered")
        await chats.line()
    async with chatting(emu, bot, access="*=staff", state=state) as chats:
        emu.say("/sources")
        await chats.answered("The last answer has no sources")
        assert await chats.pressed(message, "src:p1") == ("This passage is not there any more.", True)
        emu.say("/retry")
        await chats.questions(1)
    assert chats.engine.questions[0].audience.collections == {"staff"}
    assert chats.engine.questions[0].history == ()


async def test_forget_asks_first_and_then_erases_everything(emu: TelegramEmulator, chats: BotInChats) -> None:
    """Nothing is erased without the button; afterwards no question, answer or rating is left."""
    emu.say("q")
    answered = await chats.answered("Theft is covered")
    emu.say("/forget")
    asked = await chats.answered("Shall I erase")
    await chats.pressed(asked, "forget:no")
    await chats.answered("Nothing was erased")
    assert await chats.conversations.last("telegram", "1001", "1001") is not None
    emu.say("/forget")
    asked = await chats.answered("Shall I erase")
    await chats.pressed(asked, "forget:yes")
    await chats.answered("I do not remember anything")
    assert asked.buttons == []
    assert await chats.conversations.last("telegram", "1001", "1001") is None
    assert await chats.pressed(answered, "up:") == ("I do not remember this answer any more. Please ask again.", True)


async def test_only_who_asked_to_be_forgotten_is(emu: TelegramEmulator, chats: BotInChats) -> None:
    """Somebody else's press on the question of a group is refused."""
    group = emu.group()
    emu.say("/forget@grapevine_bot", chat=group)
    asked = await chats.answered("Shall I erase", group.id)
    stranger = emu.user(1002, language_code="vi")
    assert await chats.pressed(asked, "forget:yes", user=stranger) == ("Nút này dành cho người đặt câu hỏi.", True)
    assert len(asked.buttons) == 2


@pytest.mark.parametrize(
    ("scope", "language", "first"),
    [
        ("default", "", ("start", "What I can do")),
        ("all_private_chats", "", ("start", "What I can do")),
        ("all_private_chats", "vi", ("start", "Tôi giúp được gì")),
        ("all_group_chats", "", ("ask", "Ask a question")),
        ("all_group_chats", "vi", ("ask", "Đặt câu hỏi")),
    ],
)
async def test_commands_are_listed_by_place_and_language(
    emu: TelegramEmulator, chats: BotInChats, scope: str, language: str, first: tuple[str, str]
) -> None:
    """Telegram shows everybody the commands that work where they are, in their language."""
    commands = await emu.wait_for(lambda e: e.commands.get((scope, language)))
    assert (commands[0]["command"], commands[0]["description"]) == first
    names = [command["command"] for command in commands]
    assert set(names) >= {"new", "stop", "retry", "sources", "forget", "help"}
