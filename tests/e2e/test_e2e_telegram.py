"""A question in a Telegram chat, through real processes and real HTTP, to an answer that grew in one message."""

from __future__ import annotations

import asyncio
import json
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.emulators.model import Exchange, ModelServer, Reply, words
from tests.emulators.telegram import Message, TelegramEmulator
from tests.support.process import Server, serving

ANSWER = (
    "Theft of the whole motorbike is covered by product **TC-03**, which costs 0.9% of the value a year [1]. "
    "The cover begins seven days after the payment [2]. A bike with an approved tracker pays less [1], and the "
    "minimum price stays the same. Report the theft to the police within a day. " * 3
).strip()

pytestmark = pytest.mark.timeout(300)
"""Real processes on a machine with other work to do."""


def settings(telegram: TelegramEmulator, model: ModelServer) -> dict[str, str]:
    return {
        "TELEGRAM_BOT_TOKEN": telegram.token,
        "TELEGRAM_API_URL": telegram.url,
        "OPENAI_BASE_URL": model.base_url,
        "OPENAI_API_KEY": "sk-secret-of-the-test",
        "LLM_MODEL": "scripted",
    }


async def test_an_answer_grows_in_one_message_and_ends_whole(data: Path) -> None:
    """Question in; one message posted, edited at least three times; the final text complete, with its sources."""
    async with TelegramEmulator() as telegram, ModelServer() as model:
        model.script(Reply(tokens=words(ANSWER), pace_s=0.04))
        async with serving(data, **settings(telegram, model)) as server:
            telegram.say("What does it cost to insure my motorbike against theft?", user=telegram.user(1001))
            (message,) = await telegram.wait_for(
                lambda t: [m for m in t.from_bot(1001) if "Report the theft" in m.text and not m.is_growing]
            )
            assert message.edits >= 3
            assert len(telegram.from_bot(1001)) == 1
            texts = [version.text for version in message.versions]
            assert all(len(earlier) <= len(later) for earlier, later in pairwise(texts[:-1]))
            assert "TC-03" in message.text
            assert "**" not in message.text
            assert "[1]" in message.text
            assert telegram.updates.confirmed
            (line,) = await turns_in(server.log, 1)
    assert (line["platform"], line["outcome"], line["cited"]) == ("telegram", "answered", 2)
    assert line["edits"] == message.edits
    assert 0 < line["llm_first_token_ms"] < line["first_visible_ms"] <= line["total_ms"]
    assert line["lag_ms"] > 0
    written = server.log.read_text()
    assert "theft" not in written
    assert "sk-secret" not in written
    assert telegram.token not in written
    assert "1001" not in written


async def test_a_question_confirmed_before_a_crash_is_answered_after_it(data: Path) -> None:
    """kill -9 in the middle of an answer: the next start finishes in the very same message."""
    async with TelegramEmulator() as telegram, ModelServer() as model:
        model.script(Reply(tokens=words(ANSWER), held=True))
        async with serving(data, **settings(telegram, model)) as server:
            telegram.say("What does theft cover cost?", user=telegram.user(1001))
            exchange = await asked_to_answer(model)
            await exchange.release(12)
            # Until the message has been edited: then its id is known to the process, and recorded.
            await telegram.wait_for(lambda t: t.from_bot(1001))
            await exchange.release(12)
            await telegram.wait_for(lambda t: t.from_bot(1001)[0].edits)
            await server.stop(signal.SIGKILL)
        model.script(Reply(tokens=words(ANSWER)))
        async with serving(data, **settings(telegram, model)):
            (message,) = await telegram.wait_for(
                lambda t: [m for m in t.from_bot(1001) if "Report the theft" in m.text and not m.is_growing]
            )
            assert len(telegram.from_bot(1001)) == 1
            assert message.text.count("Report the theft") == 3


async def test_stop_ends_the_model_call_and_keeps_what_was_shown(data: Path) -> None:
    """/stop while the answer is being written: the model's connection closes, the text so far stays, marked."""
    async with TelegramEmulator() as telegram, ModelServer() as model:
        model.script(Reply(tokens=words(ANSWER), held=True))
        async with serving(data, **settings(telegram, model)):
            person = telegram.user(1001)
            telegram.say("What does theft cover cost?", user=person)
            exchange = await asked_to_answer(model)
            await exchange.release(12)
            await telegram.wait_for(lambda t: t.from_bot(1001))
            telegram.say("/stop", user=person)
            async with asyncio.timeout(10):
                await exchange.disconnected.wait()
            (message, *_) = await telegram.wait_for(
                lambda t: [m for m in t.from_bot(1001) if "Stopped" in m.text and not m.is_growing]
            )
            assert message.text.startswith("Theft of the whole motorbike")


async def test_a_shutdown_waits_for_the_answer(data: Path) -> None:
    """SIGTERM in the middle of an answer: within the drain it is written to its end, and the process ends well."""
    async with TelegramEmulator() as telegram, ModelServer() as model:
        model.script(Reply(tokens=words(ANSWER), held=True))
        async with serving(data, **settings(telegram, model)) as server:
            telegram.say("What does theft cover cost?", user=telegram.user(1001))
            exchange = await asked_to_answer(model)
            await exchange.release(12)
            await telegram.wait_for(lambda t: t.from_bot(1001))
            stopping = asyncio.create_task(server.stop(signal.SIGTERM))
            await said(server, "stopping")
            await exchange.release()
            assert await stopping == 0
            (message,) = telegram.from_bot(1001)
            assert message.text.count("Report the theft") == 3
            assert not message.is_growing


async def test_an_answer_beyond_the_drain_is_resumed(data: Path) -> None:
    """A shutdown that cannot wait any longer leaves the answer to the next start, which finishes the same message."""
    async with TelegramEmulator() as telegram, ModelServer() as model:
        model.script(Reply(tokens=words(ANSWER), held=True))
        async with serving(data, GRAPEVINE_DRAIN_S="0", **settings(telegram, model)) as server:
            telegram.say("What does theft cover cost?", user=telegram.user(1001))
            exchange = await asked_to_answer(model)
            await exchange.release(3)
            await telegram.wait_for(lambda t: t.from_bot(1001))
            await exchange.release(9)
            await telegram.wait_for(lambda t: t.from_bot(1001)[0].edits)
            assert await server.stop(signal.SIGTERM) == 0
        model.script(Reply(tokens=words(ANSWER)))
        async with serving(data, **settings(telegram, model)):
            (message,) = await telegram.wait_for(
                lambda t: [m for m in t.from_bot(1001) if "Report the theft" in m.text and not m.is_growing]
            )
            assert telegram.from_bot(1001) == [message]


async def test_a_model_that_refuses_the_key_is_told_kindly(data: Path) -> None:
    """A 401 from the model reaches the person as a sentence, the log as a cause, and neither with the key."""
    async with TelegramEmulator() as telegram, ModelServer() as model:
        model.script(Reply(status=401, message="Incorrect API key provided: sk-secret-of-the-test"))
        async with serving(data, **settings(telegram, model)) as server:
            telegram.say("Phí bảo hiểm mất cắp là bao nhiêu?", user=telegram.user(1001, language_code="vi"))
            (message,) = await telegram.wait_for(lambda t: t.from_bot(1001))
            (line,) = await turns_in(server.log, 1)
            assert "Hiện tôi không soạn được câu trả lời" in message.text
            assert (line["outcome"], line["error"]) == ("failed", "model_refused_key")
            assert "sk-secret" not in server.log.read_text() + "".join(server.said) + message.text


async def test_a_newcomer_needs_no_keyboard(data: Path) -> None:
    """An example question, its answer, a passage behind it, a bad mark and why, being forgotten: all by buttons."""
    async with (
        TelegramEmulator() as telegram,
        serving(data, TELEGRAM_BOT_TOKEN=telegram.token, TELEGRAM_API_URL=telegram.url) as server,
    ):
        telegram.say("/start", user=telegram.user(1001))
        (greeting,) = await telegram.wait_for(lambda t: [m for m in t.from_bot(1001) if m.buttons])
        assert [b["callback_data"] for b in greeting.buttons] == ["ask:0", "ask:1", "ask:2"]
        telegram.press(greeting, "ask:0")
        (answer,) = await telegram.wait_for(lambda t: having(t, "up:"))
        assert "Sources" in answer.text
        passage = next(b["callback_data"] for b in answer.buttons if b["callback_data"].startswith("src:"))
        telegram.press(answer, passage)
        await telegram.wait_for(lambda t: [m for m in t.from_bot(1001) if m.reply_to == answer.message_id])
        telegram.press(answer, "down:1001")
        await telegram.wait_for(lambda t: having(t, "why:"))
        telegram.press(answer, "why:outdated:1001")
        await telegram.wait_for(lambda t: not having(t, "why:"))
        telegram.say("/forget")
        (asked,) = await telegram.wait_for(lambda t: having(t, "forget:yes:"))
        telegram.press(asked, "forget:yes:1001")
        await telegram.wait_for(lambda _: asked.text.startswith("Erased"))
        assert all(query["answered"] for query in telegram.callbacks.values())
        assert {call.status for call in telegram.made("answerCallbackQuery")} == {200}
        (line,) = await turns_in(server.log, 1)
    assert line["outcome"] == "answered"
    assert "1001" not in server.log.read_text()


def having(telegram: TelegramEmulator, data: str) -> list[Message]:
    """The bot's messages with a button whose data begins so."""
    return [m for m in telegram.from_bot(1001) if any(b["callback_data"].startswith(data) for b in m.buttons)]


async def asked_to_answer(model: ModelServer) -> Exchange:
    """The next request for an answer; the connection is opened with another one at the start."""
    while not (exchange := await model.asked()).prompt:
        pass
    return exchange


async def said(server: Server, what: str) -> None:
    """Until the process has printed a line that begins so."""
    while not any(line.startswith(what) for line in server.said):
        await asyncio.sleep(0.01)


async def turns_in(log: Path, count: int) -> list[dict[str, Any]]:
    """The first turns of a log, once they are there (a test's own time limit ends the waiting)."""
    while True:
        lines = [json.loads(line) for line in await asyncio.to_thread(read_lines, log)]
        turns = [line for line in lines if line.get("event") == "turn"]
        if len(turns) >= count:
            return turns


def read_lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []
