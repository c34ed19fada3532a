from __future__ import annotations

import asyncio

import pytest
from aiogram import Bot

from adapters.past import PastAnswer
from rag.types import Failed
from tests.emulators.telegram.world import Chat, Message
from tests.support.answers import deltas
from tests.support.telegram_chat import BotInChats, answer

CHAT = 1001
DOWN = (Failed(code="model_unavailable", cause="down"),)
GONE = ("I do not remember this answer any more. Please ask again.", True)


async def asked(chats: BotInChats, text: str = "What does theft cover cost?") -> Message:
    """A question and its answer."""
    chats.emu.say(text)
    return await chats.answered("Theft is covered")


def data(message: Message) -> list[str]:
    return [button["callback_data"] for button in message.buttons]


async def kept(chats: BotInChats) -> PastAnswer:
    past = await chats.conversations.last("telegram", "1001", "1001")
    assert past is not None
    return past


async def test_below_an_answer_stand_its_buttons(chats: BotInChats) -> None:
    """Passages without an address, good or bad, what to ask next; none carries text or more than 64 bytes."""
    message = await asked(chats)
    assert data(message) == ["src:p1", "up:1001", "down:1001", "ask:0", "ask:1"]
    assert [b["text"] for b in message.buttons] == ["📄 1", "👍", "👎", "And what about fire?", "And floods?"]
    assert all(len(each.encode()) <= 64 for each in data(message))
    assert message.text.endswith("Sources\n1. Claims guide (p. 3)\n2. Price list")


async def test_a_good_answer_is_rated_once(chats: BotInChats) -> None:
    """The press is thanked for, kept, and its buttons go; the others stay."""
    message = await asked(chats)
    assert await chats.pressed(message, "up:") == ("Thank you!", False)
    await chats.gone(message, "up:")
    assert data(message) == ["src:p1", "ask:0", "ask:1"]
    assert await chats.pressed(message, "up:1001") == ("Thank you!", False)
    (rated,) = await chats.conversations.rated()
    assert [(r.verdict, r.reason) for r in rated.ratings] == [("up", None)]


@pytest.mark.parametrize("reason", ["wrong", "incomplete", "outdated", "other"])
async def test_a_bad_answer_is_asked_about(chats: BotInChats, reason: str) -> None:
    """👎 counts at once; the four reasons take its place, and go when one is given."""
    message = await asked(chats)
    assert await chats.pressed(message, "down:") == ("What was not good about it?", False)
    await chats.gone(message, "down:")
    reasons = ["why:wrong:1001", "why:incomplete:1001", "why:outdated:1001", "why:other:1001"]
    assert data(message) == ["src:p1", *reasons, "ask:0", "ask:1"]
    assert (await chats.conversations.rated())[0].ratings[0].reason is None
    assert await chats.pressed(message, f"why:{reason}") == ("Thank you!", False)
    await chats.gone(message, "why:")
    (rated,) = await chats.conversations.rated()
    assert [(r.verdict, r.reason) for r in rated.ratings] == [("down", reason)]


async def test_in_a_group_everybody_may_rate(chats: BotInChats) -> None:
    """The buttons stay for the others, and each person counts once."""
    group = chats.emu.group()
    chats.emu.say("@grapevine_bot q", chat=group)
    message = await chats.answered("Theft is covered", group.id)
    await chats.pressed(message, "up:")
    await chats.pressed(message, "down:", user=chats.emu.user(1002))
    await chats.gone(message, "up:")
    await chats.pressed(message, "why:wrong", user=chats.emu.user(1002))
    await chats.gone(message, "why:")
    assert "up:1001" in data(message)
    (rated,) = await chats.conversations.rated()
    assert {(r.person, r.verdict) for r in rated.ratings} == {("1001", "up"), ("1002", "down")}


async def test_a_suggestion_is_asked_by_pressing_it(chats: BotInChats) -> None:
    """The button's words are asked as a follow-up; the button is ticked. Pressed twice, it is asked once."""
    message = await asked(chats)
    chats.engine.script = answer("Fire, too [1].")
    presses = [chats.emu.press(message, "ask:0") for _ in range(2)]
    await chats.emu.wait_for(lambda e: all(e.callbacks[press]["answered"] for press in presses))
    await chats.answered("Fire, too")
    await chats.gone(message, "ask:0")
    chats.emu.say("and then?")
    assert (await chats.questions(3))[1:] == ["And what about fire?", "and then?"]
    assert len(chats.engine.questions[1].history) == 1
    assert [b["text"] for b in message.buttons][-2:] == ["✓ And what about fire?", "And floods?"]


async def test_in_a_group_a_suggestion_is_the_pressers_question(chats: BotInChats) -> None:
    """It is asked for who presses it, and answered as a reply to where it stood."""
    group = chats.emu.group()
    chats.emu.say("@grapevine_bot q", chat=group)
    message = await chats.answered("Theft is covered", group.id)
    chats.engine.script = answer("Fire, too [1].")
    await chats.pressed(message, "ask:0", user=chats.emu.user(1002))
    reply = await chats.answered("Fire, too", group.id)
    assert reply.reply_to == message.message_id
    assert (await chats.conversations.last("telegram", str(group.id), "1002")) is not None


async def test_a_passage_is_shown_word_for_word(chats: BotInChats) -> None:
    """As a message of its own, with nothing formatted and nothing to click; its button goes."""
    message = await asked(chats)
    assert await chats.pressed(message, "src:") == (None, False)
    shown = await chats.answered("Report a theft")
    assert shown.text == ("Claims guide\np. 3\n\nReport a theft within *24 hours* to @claims or <b>the police</b>.")
    assert {e["type"] for e in shown.entities} == {"bold", "blockquote", "code"}
    assert shown.reply_to == message.message_id
    await chats.gone(message, "src:")


async def test_a_passage_that_may_not_be_read_any_more_is_not_shown(chats: BotInChats) -> None:
    """Access is asked at the press, and a forbidden passage looks like one that is not there."""
    message = await asked(chats)
    for passage_id in ("p9", "nothing"):
        assert await chats.pressed(message, f"src:{passage_id}") == ("This passage is not there any more.", True)
    assert len(chats.emu.from_bot(CHAT)) == 1


async def test_a_failed_answer_can_be_tried_again(chats: BotInChats) -> None:
    """The button asks the same question again, in the same message; twice pressed is once asked."""
    chats.engine.script = DOWN
    chats.emu.say("What does theft cover cost?")
    (message,) = await chats.emu.wait_for(lambda e: [m for m in e.from_bot(CHAT) if m.buttons])
    assert data(message) == ["retry:1001"]
    chats.engine.script = answer()
    presses = [chats.emu.press(message, "retry:1001") for _ in range(2)]
    await chats.emu.wait_for(lambda e: all(e.callbacks[press]["answered"] for press in presses))
    assert await chats.answered("Theft is covered") is message
    chats.emu.say("and then?")
    assert await chats.questions(3) == [*["What does theft cover cost?"] * 2, "and then?"]
    assert (await kept(chats)).answer.startswith("Theft is covered")


async def failed(chats: BotInChats, chat: Chat | None = None) -> Message:
    """A question and the sentence that says that it could not be answered, with its button."""
    chats.engine.script = DOWN
    chats.emu.say("What does theft cover cost?" if chat is None else "@grapevine_bot q", chat=chat)
    where = CHAT if chat is None else chat.id
    (message,) = await chats.emu.wait_for(lambda e: [m for m in e.from_bot(where) if m.buttons])
    found: Message = message
    while (await chats.conversations.by_message("telegram", str(where), str(found.message_id))) is None:
        await asyncio.sleep(0.005)
    return found


async def test_trying_again_in_vain_can_be_tried_again(chats: BotInChats) -> None:
    """Each attempt that ends in the very same sentence leaves a button that asks once more, until it is answered."""
    message = await failed(chats)
    for attempt in (2, 3):
        assert await chats.pressed(message, "retry:1001") == ("I am on it.", False)
        await chats.questions(attempt)
        while len(chats.lines) < attempt:
            await asyncio.sleep(0.005)
        assert data(message) == ["retry:1001"]
    chats.engine.script = answer()
    assert await chats.pressed(message, "retry:1001") == ("I am on it.", False)
    assert await chats.answered("Theft is covered") is message
    assert await chats.questions(4) == ["What does theft cover cost?"] * 4


async def test_what_is_answered_is_not_tried_again(chats: BotInChats) -> None:
    """A press of a button that an answer has taken the place of, or of one that was made up, changes nothing."""
    message = await asked(chats)
    assert await chats.pressed(message, "retry:1001") == ("You have asked this already.", False)
    chats.emu.say("and then?")
    assert await chats.questions(2) == ["What does theft cover cost?", "and then?"]


async def test_a_made_up_button_does_not_rewrite_somebody_elses_answer(chats: BotInChats) -> None:
    """Only who asked can have a message answered anew, whatever name the press carries."""
    group = chats.emu.group()
    message = await failed(chats, group)
    text = message.text
    chats.engine.script = answer()
    stranger = chats.emu.user(1002)
    assert await chats.pressed(message, "retry:1002", user=stranger) == ("This is for the person who asked.", True)
    chats.emu.say("@grapevine_bot and then?", user=stranger, chat=group)
    assert (await chats.questions(2))[1] == "and then?"
    await chats.answered("Theft is covered", group.id)
    assert message.text == text


async def test_only_the_asker_can_try_again(chats: BotInChats) -> None:
    """Somebody else in the group is told so, in their language."""
    chats.engine.script = DOWN
    group = chats.emu.group()
    chats.emu.say("@grapevine_bot q", chat=group)
    (message,) = await chats.emu.wait_for(lambda e: [m for m in e.from_bot(group.id) if m.buttons])
    stranger = chats.emu.user(1002, language_code="vi")
    assert await chats.pressed(message, "retry:", user=stranger) == ("Nút này dành cho người đặt câu hỏi.", True)


async def test_stopping_twice_is_answered_twice(chats: BotInChats) -> None:
    """The second press of a button that is gone meanwhile says that nothing is being written."""
    chats.engine.script = (*deltas("Some words "), asyncio.Event())
    chats.emu.say("q")
    (message,) = await chats.emu.wait_for(lambda e: e.from_bot(CHAT))
    assert await chats.pressed(message, "stop:") == ("Stopped.", False)
    await chats.answered("Stopped")
    await chats.line()
    assert await chats.pressed(message, "stop:1001") == ("There is no answer being written.", False)


@pytest.mark.parametrize("what", ["retry:1001", "up:1001", "down:1001", "why:wrong:1001", "ask:7"])
async def test_buttons_below_a_message_that_nobody_remembers_are_answered(
    chats: BotInChats, bot: Bot, what: str
) -> None:
    """Forgotten, or older than anything that is kept: said in words."""
    await bot.send_message(CHAT, "an old answer")
    (message,) = chats.emu.from_bot(CHAT)
    assert await chats.pressed(message, what) == GONE


@pytest.mark.parametrize("what", ["stop:1001", "src:p1", "up:1001", "forget:yes:1001", "nonsense", "why", "up:"])
async def test_buttons_of_deleted_messages_are_answered(chats: BotInChats, what: str) -> None:
    """No press is left with an hourglass because its message is gone, and none disturbs what comes after it."""
    message = await asked(chats)
    chats.emu.delete(message)
    await chats.pressed(message, what)
    chats.emu.say("still there?")
    await chats.questions(2)


async def test_a_suggestion_of_a_message_too_old_to_be_seen_is_asked(chats: BotInChats) -> None:
    """Telegram does not show old messages to bots; what was offered there is still known."""
    message = await asked(chats)
    await chats.pressed(message, "ask:1", is_inaccessible=True)
    assert (await chats.questions(2))[1] == "And floods?"


async def test_a_press_that_cannot_be_answered_in_time_does_its_work(chats: BotInChats) -> None:
    """After a quarter of a minute Telegram takes no answer to a press; the question is asked all the same."""
    message = await asked(chats)
    chats.emu.callback_lives_s = -1.0
    chats.emu.press(message, "ask:0")
    await chats.questions(2)
    await chats.emu.wait_for(lambda e: any(c.status == 400 for c in e.made("answerCallbackQuery")))


async def test_every_press_is_answered_exactly_once(chats: BotInChats) -> None:
    """Whatever the button: one answerCallbackQuery each, none refused."""
    message = await asked(chats)
    for what in ("src:p1", "up:1001", "down:1001", "why:other:1001", "ask:0", "used", "stop:1001", "old-version"):
        await chats.pressed(message, what)
    calls = chats.emu.made("answerCallbackQuery")
    assert [call.status for call in calls] == [200] * 8
