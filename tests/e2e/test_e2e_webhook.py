"""Telegram's deliveries by webhook to a real `grapevine serve`, and what goes wrong with them."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.emulators.model import ModelServer, Reply, words
from tests.emulators.telegram import TelegramEmulator
from tests.support.process import Server, grapevine, serving

ANSWER = "Theft of the whole motorbike is covered by product **TC-03** [1]. " * 6

pytestmark = pytest.mark.timeout(300)
"""Real processes on a machine with other work to do."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settings(telegram: TelegramEmulator, model: ModelServer | None, port: int, **more: str) -> dict[str, str]:
    names = {
        "TELEGRAM_BOT_TOKEN": telegram.token,
        "TELEGRAM_API_URL": telegram.url,
        "TELEGRAM_WEBHOOK_URL": f"http://127.0.0.1:{port}",
        "GRAPEVINE_PORT": str(port),
    }
    if model is not None:
        names |= {"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": "sk-secret-of-the-test", "LLM_MODEL": "scripted"}
    return names | more


async def answered(telegram: TelegramEmulator, user: int = 1001) -> str:
    """The first answer that has its sources."""
    (text, *_) = await telegram.wait_for(
        lambda t: [m.text for m in t.from_bot(user) if "Sources" in m.text], timeout_s=60
    )
    return str(text)


async def test_a_question_comes_by_webhook_and_its_answer_grows(data: Path) -> None:
    """`serve` tells Telegram its address and secret; nothing is polled; a stranger's delivery is a 401."""
    async with TelegramEmulator() as telegram, ModelServer() as model:
        model.script(Reply(tokens=words(ANSWER), pace_s=0.02))
        port = free_port()
        async with serving(data, **settings(telegram, model, port)) as server:
            await telegram.wait_for(lambda t: t.updates.webhook_url)
            assert telegram.updates.webhook_url == f"http://127.0.0.1:{port}/telegram/webhook"
            secret = telegram.updates.webhook_secret
            assert len(secret) >= 32
            telegram.say("What does it cost to insure my motorbike against theft?", user=telegram.user(1001))
            assert "TC-03" in await answered(telegram)
            assert len(telegram.from_bot(1001)) == 1
            assert telegram.updates.confirmed
            assert not telegram.made("getUpdates")
            async with aiohttp.ClientSession() as http:
                url = f"{server.address}/telegram/webhook"
                async with http.post(url, data=b"no json") as response:
                    assert response.status == 401
                headers = {"X-Telegram-Bot-Api-Secret-Token": secret}
                async with http.post(url, data=b"no json", headers=headers) as response:
                    assert response.status == 400
            assert await server.stop() == 0
        assert telegram.updates.webhook_url  # Telegram keeps what comes meanwhile, and delivers it to the next start
        telegram.say("What does theft cover cost?", user=telegram.user(1002))
        model.script(Reply(tokens=words(ANSWER)))
        async with serving(data, **settings(telegram, model, port)) as server:
            await answered(telegram, 1002)
            assert len(telegram.made("setWebhook")) == 1
            written = server.log.read_text() + "".join(server.said)
    assert secret not in written
    assert telegram.token not in written
    assert "insure" not in written


async def test_a_question_confirmed_to_telegram_survives_kill_9(data: Path) -> None:
    """Acknowledged means owed: after a crash the answer is finished by the next start, in the same message."""
    async with TelegramEmulator() as telegram, ModelServer() as model:
        model.script(Reply(tokens=words(ANSWER), held=True))
        port = free_port()
        async with serving(data, **settings(telegram, model, port)) as server:
            telegram.say("What does theft cover cost?", user=telegram.user(1001))
            while not (exchange := await model.asked()).prompt:
                pass
            await exchange.release(12)
            await telegram.wait_for(lambda t: t.updates.confirmed)
            await telegram.wait_for(lambda t: t.from_bot(1001))
            await exchange.release(12)
            await telegram.wait_for(lambda t: t.from_bot(1001)[0].edits)
            await server.stop(signal.SIGKILL)
        model.script(Reply(tokens=words(ANSWER)))
        async with serving(data, **settings(telegram, model, port)):
            await answered(telegram)
            assert len(telegram.from_bot(1001)) == 1


async def test_a_draft_is_stopped_by_telegram_s_button_and_a_hasty_asker_is_told(data: Path) -> None:
    """By webhook: the preview grows, Telegram's stop ends the model call, and one question a minute is one."""
    async with TelegramEmulator() as telegram, ModelServer() as model:
        model.script(Reply(tokens=words(ANSWER), held=True))
        more = {"TELEGRAM_STREAMING": "draft", "GRAPEVINE_ASKS_PER_MINUTE": "1"}
        async with serving(data, **settings(telegram, model, free_port(), **more)) as server:
            telegram.say("What does theft cover cost?", user=telegram.user(1001))
            while not (exchange := await model.asked()).prompt:
                pass
            await exchange.release(12)
            await telegram.wait_for(lambda t: t.previews.shown(1001), timeout_s=60)
            assert not telegram.from_bot(1001)
            telegram.previews.press_stop(telegram, 1001)
            (stopped,) = await telegram.wait_for(lambda t: t.from_bot(1001), timeout_s=60)
            assert stopped.text.startswith("Theft")
            assert "Stopped" in stopped.text
            async with asyncio.timeout(20):
                await exchange.disconnected.wait()
            model.script(Reply(tokens=words(ANSWER)))  # for a machine so slow that the minute is over
            for vehicle in ("car", "boat"):
                telegram.say(f"And for a {vehicle}?", user=telegram.user(1001))
            await telegram.wait_for(lambda t: any("faster than" in m.text for m in t.from_bot(1001)), timeout_s=60)
            assert await server.stop() == 0
            outcomes = [json.loads(line).get("outcome") for line in server.log.read_text().splitlines()]
    assert {"stopped", "limited"} <= set(outcomes)


async def test_a_revoked_token_is_one_line_and_the_web_goes_on(data: Path) -> None:
    """At the start: Telegram's 401 is said once, with the setting to correct; the chat page answers."""
    async with TelegramEmulator() as telegram:
        port = free_port()
        configured = settings(telegram, None, port) | {"TELEGRAM_BOT_TOKEN": "123456789:AARevokedTokenForTestsOnly00"}
        async with serving(data, **configured) as server:
            await said(server, "grapevine: Telegram refused the bot token: set TELEGRAM_BOT_TOKEN")
            async with aiohttp.ClientSession() as http, http.get(f"{server.address}/healthz") as response:
                assert response.status == 200
            lines = [json.loads(line) for line in server.log.read_text().splitlines()]
            assert sum(line["event"] == "telegram_stopped" for line in lines) == 1
            assert "AARevoked" not in server.log.read_text() + "".join(server.said)


async def test_the_command_sets_shows_and_deletes(data: Path) -> None:
    """`telegram-webhook set`, `info`, `delete`, and what is said when it cannot work."""
    async with TelegramEmulator() as telegram:
        at: dict[str, Any] = {"TELEGRAM_BOT_TOKEN": telegram.token, "TELEGRAM_API_URL": telegram.url}
        url: dict[str, Any] = {"TELEGRAM_WEBHOOK_URL": "http://127.0.0.1:9/hook"}
        done = await grapevine("telegram-webhook", "set", "--json", data=data, **at, **url)
        assert (done.code, done.err) == (0, "")
        assert json.loads(done.out)["url"] == telegram.updates.webhook_url == "http://127.0.0.1:9/hook"
        assert "message" in telegram.updates.allowed
        telegram.say("anybody there?")
        await telegram.wait_for(lambda t: t.updates.last_error)
        shown = await grapevine("telegram-webhook", "info", data=data, **at, **url)
        assert shown.code == 0
        assert "waiting     1 updates" in shown.out
        assert "last error  Connection refused" in shown.out
        assert telegram.updates.webhook_secret not in done.out + shown.out
        gone = await grapevine("telegram-webhook", "delete", "--drop-pending", data=data, **at)
        assert gone.code == 0
        assert (telegram.updates.webhook_url, telegram.updates.pending) == ("", [])
        shown = await grapevine("telegram-webhook", "info", "--json", data=data, **at)
        assert json.loads(shown.out)["url"] is None
        mistakes: tuple[tuple[tuple[str, ...], dict[str, Any], int, str], ...] = (
            (("set",), at, 2, "TELEGRAM_WEBHOOK_URL is not set"),
            (("info",), {}, 2, "TELEGRAM_BOT_TOKEN is not set"),
            (("set",), at | {"TELEGRAM_WEBHOOK_URL": "ftp://x"}, 2, "TELEGRAM_WEBHOOK_URL: must be an address like"),
            (
                ("set",),
                {"TELEGRAM_BOT_TOKEN": telegram.token, "TELEGRAM_WEBHOOK_URL": "http://bot.example.com"},
                2,
                "Telegram delivers only to https://",
            ),
            (("info",), at | {"TELEGRAM_BOT_TOKEN": "1:" + "A" * 30}, 1, "Telegram refused the bot token"),
            (("info",), at | {"TELEGRAM_API_URL": "http://127.0.0.1:9"}, 1, "Telegram does not answer"),
        )
        for arguments, environment, code, line in mistakes:
            failed = await grapevine("telegram-webhook", *arguments, data=data, **environment)
            assert failed.code == code, failed.err
            assert failed.err.startswith("grapevine: ")
            assert line in failed.err
            assert failed.err.count("\n") == 1
            assert telegram.token not in failed.err


async def said(server: Server, what: str) -> None:
    """Until the process has printed a line that begins so."""
    while not any(line.startswith(what) for line in server.said):
        await asyncio.sleep(0.01)
