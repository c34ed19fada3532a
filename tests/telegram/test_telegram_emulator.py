from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import (
    TelegramBadRequest,
    TelegramConflictError,
    TelegramForbiddenError,
    TelegramMigrateToChat,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramUnauthorizedError,
)
from aiogram.types import BotCommand, BotCommandScopeChat, InlineKeyboardButton, InlineKeyboardMarkup, MessageEntity
from aiohttp import web

from tests.emulators.telegram import Limits, TelegramEmulator

CHAT = 1001


async def test_an_identical_edit_is_refused_in_the_servers_words(emu: TelegramEmulator, bot: Bot) -> None:
    """Same text, same entities, same buttons: "message is not modified"."""
    message = await bot.send_message(CHAT, "hello")
    with pytest.raises(TelegramBadRequest, match="message is not modified: specified new message content"):
        await bot.edit_message_text("hello ", chat_id=CHAT, message_id=message.message_id)
    markup = InlineKeyboardMarkup(inline_keyboard=[[InlineKeyboardButton(text="x", callback_data="x")]])
    await bot.edit_message_text("hello", chat_id=CHAT, message_id=message.message_id, reply_markup=markup)
    assert emu.from_bot(CHAT)[0].edits == 1


async def test_the_text_limit_counts_utf16_units(bot: Bot) -> None:
    """4096 letters pass, 2049 emoji do not."""
    message = await bot.send_message(CHAT, "a" * 4096)
    with pytest.raises(TelegramBadRequest, match="message is too long"):
        await bot.send_message(CHAT, "🎉" * 2049)
    with pytest.raises(TelegramBadRequest, match="MESSAGE_TOO_LONG"):
        await bot.edit_message_text("🎉" * 2049, chat_id=CHAT, message_id=message.message_id)


async def test_entities_must_lie_within_the_text_and_between_characters(emu: TelegramEmulator, bot: Bot) -> None:
    """Offsets beyond the end or inside a surrogate pair are refused; the 101st entity is dropped."""
    emu.flood.limits = Limits(private=None)
    with pytest.raises(TelegramBadRequest, match="ENTITY_BOUNDS_INVALID"):
        await bot.send_message(CHAT, "abc", entities=[MessageEntity(type="bold", offset=1, length=5)])
    with pytest.raises(TelegramBadRequest, match="in a middle of a UTF-16 symbol"):
        await bot.send_message(CHAT, "🎉🎉", entities=[MessageEntity(type="bold", offset=1, length=2)])
    many = [MessageEntity(type="bold", offset=n * 2, length=1) for n in range(150)]
    await bot.send_message(CHAT, "a " * 150, entities=many)
    assert len(emu.from_bot(CHAT)[-1].entities) == 100


async def test_a_chat_allows_a_call_a_second_after_a_burst(emu: TelegramEmulator, bot: Bot) -> None:
    """The fourth message at once is answered 429 with the seconds to wait; another chat is not affected."""
    emu.user(1002)
    for n in range(3):
        await bot.send_message(CHAT, f"message {n}")
    with pytest.raises(TelegramRetryAfter) as caught:
        await bot.send_message(CHAT, "one too many")
    assert caught.value.retry_after == 1
    await bot.send_message(1002, "elsewhere")


@pytest.mark.parametrize(
    ("chat_id", "message_id", "what"), [(CHAT, 99, "message to edit not found"), (5, 1, "chat not found")]
)
async def test_what_is_not_there_cannot_be_edited(bot: Bot, chat_id: int, message_id: int, what: str) -> None:
    """Missing messages and chats are named."""
    with pytest.raises(TelegramBadRequest, match=what):
        await bot.edit_message_text("x", chat_id=chat_id, message_id=message_id)


async def test_a_blocked_bot_is_forbidden(emu: TelegramEmulator, bot: Bot) -> None:
    """403 in the server's words."""
    emu.block(emu.chats[CHAT])
    with pytest.raises(TelegramForbiddenError, match="bot was blocked by the user"):
        await bot.send_message(CHAT, "x")


async def test_a_wrong_token_is_unauthorized(emu: TelegramEmulator) -> None:
    """401, whatever the method."""
    stranger = Bot("1:wrong", session=AiohttpSession(api=TelegramAPIServer.from_base(emu.url)))
    with pytest.raises(TelegramUnauthorizedError, match="Unauthorized"):
        await stranger.send_message(CHAT, "x")
    await stranger.session.close()


async def test_a_lost_acknowledgement_was_applied(emu: TelegramEmulator, bot: Bot) -> None:
    """The connection closes without an answer, and the message is there."""
    emu.fail("sendMessage", is_lost=True)
    with pytest.raises(TelegramNetworkError):
        await bot.send_message(CHAT, "was it sent?")
    assert [message.text for message in emu.from_bot(CHAT)] == ["was it sent?"]
    emu.fail("sendMessage", is_dropped=True)
    with pytest.raises(TelegramNetworkError):
        await bot.send_message(CHAT, "this one was not")
    assert len(emu.from_bot(CHAT)) == 1


async def test_updates_stay_until_a_later_offset_confirms_them(emu: TelegramEmulator, bot: Bot) -> None:
    """Fetching is not confirming."""
    emu.say("one")
    emu.say("two")
    first = await bot.get_updates(limit=1)
    assert [u.update_id for u in await bot.get_updates(limit=1)] == [first[0].update_id]
    second = await bot.get_updates(offset=first[0].update_id + 1)
    assert [u.message.text for u in second if u.message] == ["two"]
    assert emu.updates.confirmed == [first[0].update_id]


async def test_the_earlier_of_two_pollers_gets_the_conflict(emu: TelegramEmulator, bot: Bot) -> None:
    """A waiting getUpdates ends with 409 when another one arrives."""
    earlier = asyncio.create_task(bot.get_updates(timeout=20))
    await emu.wait_for(lambda e: e.updates.is_polled)
    later = asyncio.create_task(bot.get_updates(timeout=20))
    with pytest.raises(TelegramConflictError, match="terminated by other getUpdates request"):
        await earlier
    emu.say("hello")
    assert len(await later) == 1


async def test_a_webhook_gets_its_secret_and_retries_until_2xx(emu: TelegramEmulator, bot: Bot) -> None:
    """A delivery that fails comes again; order within a chat is kept."""
    seen: list[tuple[str | None, str]] = []

    async def receive(request: web.Request) -> web.Response:
        update = json.loads(await request.text())
        seen.append((request.headers.get("X-Telegram-Bot-Api-Secret-Token"), update["message"]["text"]))
        emu.changed()
        return web.Response(status=500 if len(seen) == 1 else 200)

    app = web.Application()
    app.router.add_post("/hook", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await bot.set_webhook(f"http://127.0.0.1:{runner.addresses[0][1]}/hook", secret_token="s3cret")
    with pytest.raises(TelegramConflictError, match="webhook is active"):
        await bot.get_updates()
    emu.say("one")
    emu.say("two")
    await emu.wait_for(lambda e: len(e.updates.confirmed) == 2)
    assert seen == [("s3cret", "one"), ("s3cret", "one"), ("s3cret", "two")]
    await bot.delete_webhook()
    await runner.cleanup()


async def test_privacy_mode_hides_what_is_not_for_the_bot(emu: TelegramEmulator, bot: Bot) -> None:
    """In a group the bot hears mentions, commands and replies."""
    group = emu.group()
    for text in ("nobody in particular", "@grapevine_bot hello", "/help"):
        emu.say(text, chat=group)
    heard = [update.message.text for update in await bot.get_updates() if update.message]
    assert heard == ["@grapevine_bot hello", "/help"]


async def test_a_process_can_be_driven_over_http() -> None:
    """`python -m tests.emulators.telegram` prints its address and is driven by `/_control`."""
    import sys  # noqa: PLC0415 - next to its only use

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.emulators.telegram", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    url, token = (await process.stdout.readline()).decode().split()
    try:
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{url}/_control/say", json={"text": "hello", "user": 7}) as response:
                assert (await response.json())["text"] == "hello"
            async with session.get(f"{url}/bot{token}/getUpdates") as response:
                assert (await response.json())["result"][0]["message"]["text"] == "hello"
            await session.post(f"{url}/bot{token}/sendMessage", json={"chat_id": 7, "text": "hi"})
            async with session.get(f"{url}/_control/transcript", params={"chat": "7"}) as response:
                assert [m["text"] for m in (await response.json())["messages"]] == ["hello", "hi"]
    finally:
        process.terminate()
        await process.wait()


async def test_a_press_is_answered_once_and_in_time(emu: TelegramEmulator, bot: Bot) -> None:
    """A second answer and a late one are refused in the server's words."""
    await bot.send_message(CHAT, "x")
    press = emu.press(emu.from_bot(CHAT)[0], "data")
    await bot.answer_callback_query(press)
    with pytest.raises(
        TelegramBadRequest, match="query is too old and response timeout expired or query ID is invalid"
    ):
        await bot.answer_callback_query(press)
    emu.callback_lives_s = -1.0
    with pytest.raises(TelegramBadRequest, match="query is too old"):
        await bot.answer_callback_query(emu.press(emu.from_bot(CHAT)[0], "data"))


async def test_a_group_that_moved_refuses_with_its_new_id(emu: TelegramEmulator, bot: Bot) -> None:
    """Both chats are told; whatever is done in the old one names the new one."""
    group = emu.group(-500)
    emu.migrate(group, -100_900)
    with pytest.raises(TelegramMigrateToChat) as caught:
        await bot.send_message(-500, "x")
    assert caught.value.migrate_to_chat_id == -100_900
    told = [update.message for update in await bot.get_updates() if update.message]
    assert [(m.chat.id, m.migrate_to_chat_id, m.migrate_from_chat_id) for m in told] == [
        (-500, -100_900, None),
        (-100_900, None, -500),
    ]


async def test_the_server_finds_what_can_be_clicked(emu: TelegramEmulator, bot: Bot) -> None:
    """Mentions, commands, tags, addresses and numbers, but not within code."""
    text = "@ab /go #tag $TSLA x.com a@x.com +84 28 3812 3456 and 4111 1111 1111 1111 and @cd"
    await bot.send_message(CHAT, text, entities=[MessageEntity(type="code", offset=text.index("@cd"), length=3)])
    assert [e["type"] for e in emu.from_bot(CHAT)[0].entities] == [
        "mention", "bot_command", "hashtag", "cashtag", "url", "email", "phone_number", "bank_card", "code",
    ]  # fmt: skip


async def test_wrong_actions_scopes_and_languages_are_refused(emu: TelegramEmulator, bot: Bot) -> None:
    """Typing is an action, thinking is none; commands are set for chats and languages that there are."""
    commands = [BotCommand(command="start", description="Begin")]
    with pytest.raises(TelegramBadRequest, match="wrong parameter action"):
        await bot.send_chat_action(CHAT, "thinking")
    with pytest.raises(TelegramBadRequest, match="chat not found"):
        await bot.set_my_commands(commands, scope=BotCommandScopeChat(chat_id=77))
    with pytest.raises(TelegramBadRequest, match="LANG_CODE_INVALID"):
        await bot.set_my_commands(commands, language_code="english")
    await bot.set_my_commands(commands, scope=BotCommandScopeChat(chat_id=CHAT), language_code="vi")
    assert set(emu.commands) == {("chat:1001", "vi")}
