from __future__ import annotations

import asyncio
import logging

import pytest
from aiogram import Bot
from aiogram.types import WebhookInfo
from hypothesis import given
from hypothesis import strategies as st

from adapters.telegram.platform import TelegramPlatform
from adapters.telegram.polling import Poller, TokenRefused, may_remove
from adapters.telegram.webhook import Webhook, WebhookKeeper, secret_of
from bot.cli.doctor import _telegram
from bot.settings import load
from bot.state.kept import Note
from bot.state.sqlite import SqliteState
from tests.emulators.telegram import TelegramEmulator
from tests.telegram_webhook.conftest import SECRET, Door, Owing, cancelled
from tests.telegram_webhook.updates import asked

OTHER = "http://127.0.0.1:9/somebody-else"


@pytest.fixture
def note(state: SqliteState) -> Note:
    return Note(state, "telegram-webhook:1")


def platform_with(bot: Bot, owing: Owing, note: Note) -> TelegramPlatform:
    return TelegramPlatform(bot, accept=owing.accept, stop=owing.stop, webhook_note=note)


async def test_telegram_is_told_the_address_the_secret_and_the_kinds_in_use(
    emu: TelegramEmulator, bot: Bot, owing: Owing, note: Note, door: Door
) -> None:
    """A question written in Telegram arrives by the webhook that was set, with its secret, and nothing unused comes."""
    platform = platform_with(bot, owing, note)
    running = asyncio.create_task(platform.keep_webhook(door.url, SECRET))
    await emu.wait_for(lambda e: e.updates.webhook_url)
    emu.say("What does theft cover cost?")
    await emu.wait_for(lambda e: e.updates.confirmed)
    assert [inbound.text for inbound in owing.accepted] == ["What does theft cover cost?"]
    assert set(emu.updates.allowed) == set(platform.update_kinds) >= {"message", "callback_query"}
    assert "poll" not in emu.updates.allowed
    await cancelled(running)


async def test_a_webhook_that_is_set_is_not_set_again(
    emu: TelegramEmulator, bot: Bot, owing: Owing, note: Note, door: Door
) -> None:
    """A restart asks Telegram what is set, and leaves it when nothing has changed; a new secret is told."""
    platform = platform_with(bot, owing, note)
    for secret, times in ((SECRET, 1), (SECRET, 1), ("another-secret-than-before", 2)):
        asked_before = len(emu.made("getWebhookInfo"))
        running = asyncio.create_task(platform.keep_webhook(door.url, secret))
        while len(emu.made("getWebhookInfo")) == asked_before or len(emu.made("setWebhook")) < times:
            await asyncio.sleep(0)
        await cancelled(running)
        assert len(emu.made("setWebhook")) == times
        assert emu.updates.webhook_url == door.url  # a shutdown leaves it: Telegram keeps what comes meanwhile
    assert emu.updates.webhook_secret == "another-secret-than-before"


async def test_a_webhook_taken_by_another_program_is_said_once_and_not_fought_over(
    emu: TelegramEmulator, bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    """Two deployments with one token would otherwise take the webhook from each other for ever."""
    looks = 0

    async def sleep(_: float) -> None:
        nonlocal looks
        looks += 1
        emu.updates.webhook_url = OTHER
        if looks > 5:
            raise asyncio.CancelledError
        await asyncio.sleep(0)

    webhook = Webhook(url="http://127.0.0.1:9/ours", secret=SECRET, allowed_updates=("message",))
    with pytest.raises(asyncio.CancelledError):
        await WebhookKeeper(bot, webhook, sleep=sleep).run()
    assert len(emu.made("setWebhook")) == 1
    assert caplog.text.count("another program with this bot's token") == 1
    assert SECRET not in caplog.text


async def test_failed_deliveries_are_said_in_telegram_s_words(
    emu: TelegramEmulator, bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    """Who runs the bot learns from its own log that Telegram cannot reach it, and why."""
    await bot.set_webhook("http://127.0.0.1:9/closed")
    emu.say("anybody there?")
    await emu.wait_for(lambda e: e.updates.last_error)
    keeper = WebhookKeeper(bot, Webhook(url="http://127.0.0.1:9/closed", secret=SECRET, allowed_updates=()))
    for _ in range(3):
        keeper.look(await bot.get_webhook_info())
    assert caplog.text.count("Telegram could not deliver: Connection refused (1 updates wait)") == 1


async def test_a_revoked_token_ends_it_with_one_clear_line(emu: TelegramEmulator, bot: Bot) -> None:
    """A 401 while running names the setting; the caller shows it, and everything else goes on."""

    async def sleep(_: float) -> None:
        emu.token = "revoked"

    webhook = Webhook(url="http://127.0.0.1:9/ours", secret=SECRET, allowed_updates=("message",))
    with pytest.raises(TokenRefused, match="set TELEGRAM_BOT_TOKEN to the token that @BotFather shows"):
        await WebhookKeeper(bot, webhook, sleep=sleep).run()


async def test_a_poller_leaves_a_stranger_s_webhook_and_says_how_to_remove_it(
    emu: TelegramEmulator, bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be a running deployment's: nothing is taken down, one line names the command."""
    await bot.set_webhook("http://127.0.0.1:9/production")
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 4:
            await bot.delete_webhook()  # as the operator does
        await asyncio.sleep(0)

    handled: list[int] = []

    async def handle(update: object) -> None:
        handled.append(1)

    with caplog.at_level(logging.INFO):
        running = asyncio.create_task(Poller(bot, handle, allowed_updates=["message"], sleep=sleep).run())
        await emu.wait_for(lambda e: e.updates.is_polled)
        emu.say("now it works")
        await emu.wait_for(lambda e: e.updates.confirmed)
        await cancelled(running)
    assert caplog.text.count("`grapevine telegram-webhook delete` takes it away") == 1
    assert len(emu.made("deleteWebhook")) == 1
    assert handled


async def test_a_poller_removes_the_webhook_that_this_installation_had_set(
    emu: TelegramEmulator, bot: Bot, owing: Owing, note: Note, door: Door
) -> None:
    """Going from webhook to polling takes nothing but the change of the setting."""
    platform = platform_with(bot, owing, note)
    running = asyncio.create_task(platform.keep_webhook(door.url, SECRET))
    await emu.wait_for(lambda e: e.updates.webhook_url)
    await cancelled(running)
    running = asyncio.create_task(platform_with(bot, owing, note).run())
    await emu.wait_for(lambda e: e.updates.is_polled)
    assert not emu.updates.webhook_url
    await cancelled(running)


@given(pending=st.integers(0, 3), failed_s=st.none() | st.floats(-100, 1e6), whose=st.sampled_from(["ours", "other"]))
def test_only_a_webhook_that_nobody_misses_is_removed(pending: int, failed_s: float | None, whose: str) -> None:
    """Ours, or one with updates waiting that Telegram failed to deliver within the last ten minutes."""
    now, is_ours = 1_800_000_000.0, whose == "ours"
    error = None if failed_s is None else int(now - failed_s)
    info = WebhookInfo.model_validate(
        {"url": OTHER, "has_custom_certificate": False, "pending_update_count": pending, "last_error_date": error}
    )
    is_dead = pending > 0 and error is not None and now - error < 600
    assert may_remove(info, is_ours=is_ours, now=now) == (is_ours or is_dead)


def test_the_secret_is_the_same_on_every_replica_and_tells_nothing_of_the_token() -> None:
    """Made from the token by a keyed hash: 64 characters that Telegram accepts."""
    one = secret_of("123456789:AAEmulatedTokenForTestsOnly0123456789")
    assert one == secret_of("123456789:AAEmulatedTokenForTestsOnly0123456789")
    assert one != secret_of("123456789:AAEmulatedTokenForTestsOnly0123456788")
    assert len(one) == 64
    assert one.isalnum()


async def test_a_delivery_with_another_secret_is_refused_until_it_is_set_again(
    emu: TelegramEmulator, bot: Bot, owing: Owing, door: Door
) -> None:
    """Nothing is lost by a wrong secret: Telegram keeps the updates and delivers them once it is right."""
    await bot.set_webhook(door.url, secret_token="not-the-right-one")
    emu.updates.replay({**asked(51), "_key": "chat:1001"})
    await emu.wait_for(lambda e: "401" in e.updates.last_error)
    await bot.set_webhook(door.url, secret_token=SECRET)
    await emu.wait_for(lambda e: e.updates.confirmed == [51])
    assert len(owing.accepted) == 1


@pytest.mark.parametrize(
    ("webhook", "configured", "verdict", "words"),
    [
        ("", None, "ok", "@grapevine_bot, by long polling"),
        (OTHER, None, "warning", "`grapevine telegram-webhook delete`"),
        ("", "http://127.0.0.1:9/ours", "ok", "by webhook"),
    ],
)
async def test_the_doctor_says_where_telegram_delivers(
    emu: TelegramEmulator, webhook: str, configured: str | None, verdict: str, words: str
) -> None:
    """A bot that hears nothing because its updates go elsewhere is the commonest trouble of all."""
    emu.updates.webhook_url = webhook
    names = {"TELEGRAM_BOT_TOKEN": emu.token, "TELEGRAM_API_URL": emu.url, "TELEGRAM_WEBHOOK_URL": configured or ""}
    finding = await _telegram(load(names, None)[0])
    assert finding.verdict == verdict
    assert words in finding.detail
