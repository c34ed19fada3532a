from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rag.types import Status
from tests.emulators.telegram import TelegramEmulator
from tests.support.answers import deltas
from tests.support.telegram_chat import BotInChats, answer, is_growing

CHAT = 1001
PHOTO = [{"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}]
FILE = {"file_id": "f", "file_unique_id": "u"}
ONLY_TEXT = "I can only read text so far. Please write your question in words."
UNREADABLE: dict[str, Any] = {
    "voice": FILE | {"duration": 1},
    "photo": PHOTO,
    "sticker": FILE | {"type": "regular", "width": 1, "height": 1, "is_animated": False, "is_video": False},
    "location": {"latitude": 10.7, "longitude": 106.7},
    "contact": {"phone_number": "+8400", "first_name": "Rider"},
    "poll": {
        "id": "1", "question": "?", "options": [], "total_voter_count": 0, "is_closed": False, "is_anonymous": True,
        "type": "regular", "allows_multiple_answers": False, "allows_revoting": False, "members_only": False,
    },
    "video_note": FILE | {"length": 1, "duration": 1},
    "document": FILE,
}  # fmt: skip


# Edited questions.


async def test_an_edited_question_is_answered_in_the_same_message(emu: TelegramEmulator, chats: BotInChats) -> None:
    """As long as its answer is still the person's last."""
    question = emu.say("What does fire cost?")
    message = await chats.answered("Theft is covered")
    chats.engine.script = answer("Floods are covered [1].")
    emu.edit(question, "What do floods cost?")
    assert await chats.answered("Floods are covered") is message
    assert await chats.questions(2) == ["What does fire cost?", "What do floods cost?"]
    assert len(emu.from_bot(CHAT)) == 1
    assert chats.engine.questions[1].history == ()


async def test_an_edited_older_question_is_left_alone(emu: TelegramEmulator, chats: BotInChats) -> None:
    """Once something else was asked, an answer above does not change any more."""
    first = emu.say("one")
    await chats.answered("Theft is covered")
    chats.engine.script = answer("Second [1].")
    emu.say("two")
    await chats.answered("Second")
    emu.edit(first, "one, changed")
    emu.say("three")
    assert await chats.questions(3) == ["one", "two", "three"]


async def test_an_edit_while_the_answer_is_written_restarts_it_there(emu: TelegramEmulator, chats: BotInChats) -> None:
    """What was begun for the old words is dropped; the answer to the new ones grows in the same message."""
    chats.engine.script = (*deltas("Words about fire "), asyncio.Event())
    question = emu.say("What does fire cost?")
    (message,) = await emu.wait_for(lambda e: e.from_bot(CHAT))
    assert is_growing(message)
    chats.engine.script = answer("Floods are covered [1].")
    emu.edit(question, "What do floods cost?")
    assert await chats.answered("Floods are covered") is message
    assert [m.text.split("\n")[0] for m in emu.from_bot(CHAT)] == ["Floods are covered [1]."]
    assert await chats.questions(2) == ["What does fire cost?", "What do floods cost?"]


async def test_an_edited_caption_is_an_edited_question(emu: TelegramEmulator, chats: BotInChats) -> None:
    """The words below a picture can be changed like any others."""
    question = emu.say("What does fire cost?", photo=PHOTO)
    message = await chats.answered("Theft is covered")
    chats.engine.script = answer("Floods are covered [1].")
    emu.edit(question, "What do floods cost?")
    assert await chats.answered("Floods are covered") is message


# What people send.


async def test_a_forwarded_message_is_a_question(emu: TelegramEmulator, chats: BotInChats) -> None:
    """In private, whoever wrote it first."""
    origin = {"type": "hidden_user", "date": 1, "sender_user_name": "Somebody"}
    emu.say("What does theft cost?", forward_origin=origin)
    await chats.answered("Theft is covered")
    assert await chats.questions(1) == ["What does theft cost?"]


@pytest.mark.parametrize("kind", ["photo", "document", "voice"])
async def test_a_caption_is_the_question(emu: TelegramEmulator, chats: BotInChats, kind: str) -> None:
    """The words with a picture, a file or a voice message count."""
    emu.say("What does theft cost?", **{kind: UNREADABLE[kind]})
    await chats.answered("Theft is covered")
    assert await chats.questions(1) == ["What does theft cost?"]


@pytest.mark.parametrize("kind", UNREADABLE)
async def test_what_cannot_be_read_is_declined_in_words(emu: TelegramEmulator, chats: BotInChats, kind: str) -> None:
    """Voice, picture, sticker, location, contact, poll, file: kindly, and nothing is asked of the engine."""
    emu.say("", **{kind: UNREADABLE[kind]})
    await chats.answered(ONLY_TEXT)
    assert chats.engine.questions == []


async def test_it_is_declined_in_the_language_of_the_person(emu: TelegramEmulator, chats: BotInChats) -> None:
    """Vietnamese for who uses Telegram in Vietnamese."""
    emu.say("", user=emu.user(1500, language_code="vi"), sticker=UNREADABLE["sticker"])
    await chats.answered("Hiện tôi chỉ đọc được chữ", 1500)


async def test_an_album_is_declined_once(emu: TelegramEmulator, chats: BotInChats) -> None:
    """Ten pictures sent together get one sentence, and none where one of them has words."""
    for _ in range(3):
        emu.say("", photo=PHOTO, media_group_id="a")
    emu.say("What does theft cost?", photo=PHOTO, media_group_id="b")
    emu.say("", photo=PHOTO, media_group_id="b")
    await chats.answered("Theft is covered")
    await emu.wait_for(lambda e: not e.updates.pending)
    assert [m.text for m in emu.from_bot(CHAT)].count(ONLY_TEXT) == 1


async def test_a_reply_to_an_old_answer_is_about_that_answer(emu: TelegramEmulator, chats: BotInChats) -> None:
    """Its exchange is what the question is read with, not what was said since."""
    emu.say("one")
    old = await chats.answered("Theft is covered")
    chats.engine.script = answer("Second [1].")
    emu.say("two")
    await chats.answered("Second")
    emu.say("and how much is that?", reply_to=old)
    await chats.questions(3)
    assert [exchange.question for exchange in chats.engine.questions[2].history] == ["one"]


@pytest.mark.parametrize("said", [{"pinned_message": None}, {"new_chat_title": "x"}, {"delete_chat_photo": True}])
async def test_what_telegram_says_itself_is_passed_over(
    emu: TelegramEmulator, chats: BotInChats, said: dict[str, Any]
) -> None:
    """Service messages are no questions, and nothing is said to them."""
    emu.say("", **said)
    emu.say("q")
    await chats.answered("Theft is covered")
    assert len(emu.from_bot(CHAT)) == 1


async def test_channel_posts_and_unused_kinds_are_never_asked_for(emu: TelegramEmulator, chats: BotInChats) -> None:
    """The bot names the kinds of updates it uses, and no others are sent to it."""
    await emu.wait_for(lambda e: e.updates.is_polled)
    assert set(emu.updates.allowed) >= {"message", "edited_message", "callback_query"}
    assert not set(emu.updates.allowed) & {"channel_post", "inline_query", "message_reaction", "chat_member"}


# While answering.


async def test_typing_shows_until_the_first_words(emu: TelegramEmulator, chats: BotInChats) -> None:
    """While the documents are searched, in the right topic; not any more once there is something to read."""
    going_on = asyncio.Event()
    chats.engine.script = (Status(key="retrieving"), going_on, *answer())
    group = emu.group(-100_700, topics=(7,))
    emu.say("@grapevine_bot q", chat=group, thread=7)
    await emu.wait_for(lambda e: e.made("sendChatAction"))
    action = emu.made("sendChatAction")[0]
    assert (action.status, action.params["action"], action.params["message_thread_id"]) == (200, "typing", "7")
    going_on.set()
    await chats.answered("Theft is covered", group.id)
    assert len(emu.made("sendChatAction")) == 1


@pytest.mark.parametrize("fault", [{"code": 429, "retry_after": 30}, {"code": 500}, {"is_dropped": True}])
async def test_typing_that_is_refused_costs_nothing(
    emu: TelegramEmulator, chats: BotInChats, fault: dict[str, Any]
) -> None:
    """Flood, server error or a lost connection: the answer comes as if nothing had been."""
    emu.fail("sendChatAction", **fault)
    going_on = asyncio.Event()
    chats.engine.script = (Status(key="retrieving"), going_on, *answer())
    emu.say("q")
    await emu.wait_for(lambda e: e.made("sendChatAction"))
    going_on.set()
    message = await chats.answered("Theft is covered")
    assert message.edits <= 1
    assert (await chats.line()).throttled == 0
