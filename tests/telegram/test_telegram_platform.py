from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer

from adapters.live.budget import Limit, LocalBudget, per_chat
from adapters.ports import Delivery, Final, Inbound, SourceLink, StopOutcome, StopRequest
from adapters.telegram.chat_action import TelegramLiveMessage
from adapters.telegram.platform import TelegramPlatform
from adapters.telegram.polling import TokenRefused
from tests.emulators.telegram import Limits, TelegramEmulator

CHAT = 1001
SOURCE = SourceLink(
    n=1, title="Claims guide", passage_id="p1", document="claims", collection="public", url="https://example.com/claims"
)


@dataclass
class Process:
    """What stands in for the process: keeps what it accepted, and answers nothing by itself."""

    accepted: asyncio.Queue[Inbound] = field(default_factory=asyncio.Queue)
    stops: list[StopRequest] = field(default_factory=list)
    outcome: StopOutcome = "stopped"
    confirmed_when_accepted: list[list[int]] = field(default_factory=list)
    failures: int = 0
    emu: TelegramEmulator | None = None

    async def accept(self, inbound: Inbound) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the state store is away")
        if self.emu is not None:
            self.confirmed_when_accepted.append(list(self.emu.updates.confirmed))
        self.accepted.put_nowait(inbound)

    async def stop(self, request: StopRequest) -> StopOutcome:
        self.stops.append(request)
        return self.outcome


@pytest.fixture
async def process(emu: TelegramEmulator) -> Process:
    return Process(emu=emu)


@pytest.fixture
async def platform(
    bot: Bot, emu: TelegramEmulator, process: Process, request: pytest.FixtureRequest
) -> AsyncIterator[TelegramPlatform]:
    """The adapter, polling. Quick, on a server without limits, unless a test asks for the real pace."""
    budget = None
    if "real_pace" not in request.fixturenames:
        emu.flood.limits = Limits(private=None, group=None, bot=None)
        budget = LocalBudget(per_chat(Limit(10, 1)))
    platform = TelegramPlatform(bot, accept=process.accept, stop=process.stop, budget=budget)
    running = asyncio.create_task(platform.run())
    yield platform
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await platform.close()


@pytest.fixture
def real_pace() -> None:
    """Ask for the pace that the product has."""


async def write(live: TelegramLiveMessage, words: int, *, pause_s: float = 0.02) -> str:
    """An answer arriving word by word."""
    text = ""
    for n in range(words):
        token = f"**word{n}** " if n % 10 == 0 else f"word{n} "
        text += token
        live.append(token)
        await asyncio.sleep(pause_s)
    return text.strip()


def shown_words(text: str) -> list[str]:
    return text.replace("*", "").split()


async def test_an_answer_grows_in_one_message(
    emu: TelegramEmulator, real_pace: None, platform: TelegramPlatform, process: Process
) -> None:
    """Question in; one message is posted, edited at least three times, and ends whole, with its sources."""
    emu.say("What does plan A cost?")
    inbound = await process.accepted.get()
    assert (inbound.text, inbound.conversation, inbound.sender) == ("What does plan A cost?", "1001", "1001")
    live = platform.open_message(inbound)
    live.offer_sources((SOURCE,))
    text = await write(live, 200)
    delivery = await live.finish(Final(text=text, sources=(SOURCE,)))
    (message,) = emu.from_bot(CHAT)
    assert message.edits >= 3
    assert shown_words(message.text) == [*shown_words(text), "Sources", "1.", "Claims", "guide"]
    assert [e["url"] for e in message.entities if e["type"] == "text_link"] == [SOURCE.url]
    assert message.buttons == []
    assert all(version.reply_markup for version in message.versions[:-1])
    assert (delivery.edits, delivery.throttled, delivery.parts) == (message.edits, 0, 1)
    assert delivery.first_visible_at is not None
    assert message.versions[0].text == "word0"
    assert all("parse_mode" not in call.params for call in emu.made("sendMessage", "editMessageText"))


async def test_a_question_is_recorded_before_its_update_is_confirmed(
    emu: TelegramEmulator, platform: TelegramPlatform, process: Process
) -> None:
    """Nothing is confirmed to Telegram that the process has not taken."""
    emu.say("one")
    emu.say("two")
    first, second = await process.accepted.get(), await process.accepted.get()
    await emu.wait_for(lambda e: len(e.updates.confirmed) == 2)
    assert process.confirmed_when_accepted == [[], []]
    assert [i.event_id for i in (first, second)] == [f"telegram:123456789:{u}" for u in emu.updates.confirmed]


async def test_a_question_that_could_not_be_recorded_is_tried_again(
    emu: TelegramEmulator, platform: TelegramPlatform, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    """A state store that is away for a moment costs no question, and none is confirmed meanwhile."""
    process.failures = 1
    emu.say("secret question")
    assert (await process.accepted.get()).text == "secret question"
    assert process.confirmed_when_accepted == [[]]
    assert "could not be accepted (ConnectionError)" in caplog.text
    assert "secret" not in caplog.text


async def test_a_penalty_is_ridden_out(emu: TelegramEmulator, platform: TelegramPlatform, process: Process) -> None:
    """429 with retry_after delays the next edit, and the whole text follows."""
    emu.fail("editMessageText", code=429, retry_after=2)
    emu.say("q")
    live = platform.open_message(await process.accepted.get())
    text = await write(live, 100)
    delivery = await live.finish(Final(text=text))
    (message,) = emu.from_bot(CHAT)
    assert shown_words(message.text) == shown_words(text)
    assert delivery.throttled == 1
    refused = next(call.at for call in emu.made("editMessageText") if call.status == 429)
    following = [call.at for call in emu.made("sendMessage", "editMessageText") if call.at > refused]
    assert following[0] - refused >= 2


async def test_server_errors_and_lost_acknowledgements_cost_nothing(
    emu: TelegramEmulator, platform: TelegramPlatform, process: Process
) -> None:
    """500s, a gateway's HTML page and closed connections end in the same one message, whole."""
    emu.fail("editMessageText", code=500)
    emu.fail("editMessageText", code=502, html="<html><h1>502 Bad Gateway</h1></html>")
    emu.fail("editMessageText", is_lost=True)
    emu.say("q")
    live = platform.open_message(await process.accepted.get())
    text = await write(live, 20)
    delivery = await live.finish(Final(text=text))
    (message,) = emu.from_bot(CHAT)
    assert shown_words(message.text) == shown_words(text)
    assert not delivery.is_gone


@pytest.mark.parametrize("how", ["deleted", "blocked"])
async def test_a_reader_who_left_ends_the_answer_quietly(
    emu: TelegramEmulator, platform: TelegramPlatform, process: Process, how: str
) -> None:
    """Message deleted or bot blocked: the model call can be cancelled, and nothing is posted anew."""
    emu.say("q")
    live = platform.open_message(await process.accepted.get())
    live.append("first words ")
    message = (await emu.wait_for(lambda e: e.from_bot(CHAT)))[0]
    if how == "deleted":
        emu.delete(message)
    else:
        emu.block(message.chat)
    live.append("and more")
    async with asyncio.timeout(20):
        await live.wait_gone()
    calls = len(emu.made("sendMessage", "editMessageText"))
    delivery = await live.finish(Final(text="first words and more"))
    assert delivery.is_gone
    assert delivery.first_visible_at is not None
    assert len(emu.made("sendMessage", "editMessageText")) == calls


async def test_the_stop_button_reaches_the_process(
    emu: TelegramEmulator, platform: TelegramPlatform, process: Process
) -> None:
    """It is there while the answer grows, says whose answer it stops, and every press is answered."""
    emu.say("q", user=emu.user(CHAT, language_code="en"))
    live = platform.open_message(await process.accepted.get())
    live.append("some words")
    message = (await emu.wait_for(lambda e: e.from_bot(CHAT)))[0]
    query = emu.press(message, message.buttons[0]["callback_data"])
    await emu.wait_for(lambda e: e.callbacks[query]["answered"])
    assert process.stops == [
        StopRequest(platform="telegram", conversation="1001", asker="1001", presser="1001"),
    ]
    assert emu.callbacks[query]["text"] == "Stopped."
    await live.finish(Final(text="some words", note="⏹ Stopped"))
    assert message.buttons == []


async def test_a_stranger_is_told_that_the_answer_is_not_theirs(
    emu: TelegramEmulator, platform: TelegramPlatform, process: Process
) -> None:
    """The process decides; the person is told in their language."""
    process.outcome = "refused"
    group = emu.group()
    emu.say("@grapevine_bot q", chat=group)
    live = platform.open_message(await process.accepted.get())
    live.append("some words")
    message = (await emu.wait_for(lambda e: e.from_bot(group.id)))[0]
    query = emu.press(message, message.buttons[0]["callback_data"], user=emu.user(1002, language_code="vi"))
    await emu.wait_for(lambda e: e.callbacks[query]["answered"])
    assert (process.stops[0].asker, process.stops[0].presser) == ("1001", "1002")
    assert emu.callbacks[query]["text"] == "Nút này dành cho người đặt câu hỏi."


async def test_unknown_buttons_are_answered(emu: TelegramEmulator, platform: TelegramPlatform, bot: Bot) -> None:
    """No button is left with an hourglass."""
    await bot.send_message(CHAT, "old")
    query = emu.press(emu.from_bot(CHAT)[0], "from-an-older-version")
    await emu.wait_for(lambda e: e.callbacks[query]["answered"])


@pytest.mark.parametrize(("language", "begins"), [("en", "Hello!"), ("vi", "Xin chào!"), ("de", "Hello!")])
async def test_start_greets_in_the_interface_language(
    emu: TelegramEmulator, platform: TelegramPlatform, language: str, begins: str
) -> None:
    """English and Vietnamese; English for everybody else."""
    emu.say("/start", user=emu.user(1500, language_code=language))
    (message,) = await emu.wait_for(lambda e: e.from_bot(1500))
    assert message.text.startswith(begins)


async def test_help_and_stop_are_commands(emu: TelegramEmulator, platform: TelegramPlatform, process: Process) -> None:
    """/stop with nothing running says so."""
    process.outcome = "idle"
    emu.say("/stop")
    await emu.wait_for(lambda e: any("no answer being written" in m.text for m in e.from_bot(CHAT)))
    emu.say("/help")
    await emu.wait_for(lambda e: any("Just write your question" in m.text for m in e.from_bot(CHAT)))
    assert process.accepted.empty()


async def test_groups_are_answered_only_when_meant(
    emu: TelegramEmulator, platform: TelegramPlatform, process: Process
) -> None:
    """Mention, reply or /ask; in a topic the answer stays in the topic, as a reply to the question."""
    emu.is_privacy_on = False
    group = emu.group(-100_700, topics=(7,))
    emu.say("just talking", chat=group, thread=7)
    question = emu.say("@grapevine_bot what about theft?", chat=group, thread=7)
    inbound = await process.accepted.get()
    assert (inbound.text, inbound.conversation, inbound.place) == ("what about theft?", "-100700/7", "-100700")
    live = platform.open_message(inbound)
    await live.finish(Final(text="Covered."))
    (answer,) = emu.from_bot(group.id)
    assert (answer.thread_id, answer.reply_to) == (7, question.message_id)
    emu.say("and fire?", chat=group, thread=7, reply_to=answer)
    assert (await process.accepted.get()).text == "and fire?"
    emu.say("/ask@grapevine_bot and floods?", chat=group)
    inbound = await process.accepted.get()
    assert (inbound.text, inbound.conversation) == ("and floods?", "-100700")
    emu.say("/ask@another_bot not for us", chat=group)
    emu.say("@grapevine_bot last", chat=group)
    assert (await process.accepted.get()).text == "last"


async def test_an_over_long_answer_continues_in_a_further_message(
    emu: TelegramEmulator, platform: TelegramPlatform, process: Process
) -> None:
    """4096 UTF-16 units each, nothing lost, sources below the last."""
    emu.say("q")
    live = platform.open_message(await process.accepted.get())
    text = "\n\n".join(f"Paragraph {n}: 🎉 {'lorem ipsum ' * 20}" for n in range(30)).strip()
    delivery = await live.finish(Final(text=text, sources=(SOURCE,)))
    messages = emu.from_bot(CHAT)
    assert delivery.parts == len(messages) == 2
    assert " ".join(m.text for m in messages).split() == [*text.split(), "Sources", "1.", "Claims", "guide"]


async def test_an_interrupted_answer_goes_on_in_its_message(emu: TelegramEmulator, bot: Bot, process: Process) -> None:
    """After a restart the cut half becomes the final; there is no second message."""
    first = TelegramPlatform(bot, accept=process.accept, stop=process.stop)
    inbound = Inbound(platform="telegram", conversation="1001", sender="1001", text="q", event_id="e", received_at=0.0)
    handles: list[str] = []

    async def on_posted(handle: str) -> None:
        handles.append(handle)
        emu.changed()

    live = first.open_message(inbound, on_posted=on_posted)
    live.append("the first half")
    await emu.wait_for(lambda e: handles)
    await first.close()
    second = TelegramPlatform(bot, accept=process.accept, stop=process.stop)
    delivery = await second.reopen_message(inbound, handles[-1]).finish(Final(text="The whole answer."))
    assert [m.text for m in emu.from_bot(CHAT)] == ["The whole answer."]
    assert delivery.parts == 1


async def test_an_update_that_cannot_be_understood_hides_no_other(
    emu: TelegramEmulator, bot: Bot, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken or of a kind from the future: left out with a line for debugging; the questions around it are taken."""
    caplog.set_level(logging.DEBUG, logger="adapters.telegram")
    emu.say("before")
    emu.updates.add("message", {"text": "without the fields that a message has"}, key="x")
    emu.updates.add("telepathy", {"thought": "hello"}, key="x")
    emu.say("after")
    platform = TelegramPlatform(bot, accept=process.accept, stop=process.stop)
    running = asyncio.create_task(platform.run())
    assert [(await process.accepted.get()).text for _ in range(2)] == ["before", "after"]
    await emu.wait_for(lambda e: len(e.updates.confirmed) == 4)
    said = [record.levelname for record in caplog.records if "does not understand" in record.message]
    assert said == ["DEBUG", "DEBUG"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_wrong_token_is_one_clear_error(emu: TelegramEmulator, process: Process) -> None:
    """It names the setting, and not the token."""
    bot = Bot("987654:wrong-token-value", session=AiohttpSession(api=TelegramAPIServer.from_base(emu.url)))
    platform = TelegramPlatform(bot, accept=process.accept, stop=process.stop)
    with pytest.raises(TokenRefused, match="TELEGRAM_BOT_TOKEN") as caught:
        await platform.run()
    assert "wrong-token-value" not in str(caught.value)
    assert caught.value.__cause__ is None
    await bot.session.close()


async def test_a_second_poller_is_said_and_waited_out(
    emu: TelegramEmulator, platform: TelegramPlatform, process: Process, bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    """409: one line in the log, then the questions come in again."""
    await emu.wait_for(lambda e: e.updates.is_polled)
    await bot.get_updates(timeout=0)
    await emu.wait_for(lambda e: any(call.status == 409 for call in e.made("getUpdates")))
    emu.say("still there?")
    assert (await process.accepted.get()).text == "still there?"
    assert caplog.text.count("another process polls with the same bot token") == 1


async def test_a_forgotten_webhook_is_removed(emu: TelegramEmulator, bot: Bot, process: Process) -> None:
    """Polling starts although a webhook was set at which nobody answers any more."""
    await bot.set_webhook("http://127.0.0.1:9/nobody")
    emu.say("hello")
    await emu.wait_for(lambda e: e.updates.last_error)
    platform = TelegramPlatform(bot, accept=process.accept, stop=process.stop)
    running = asyncio.create_task(platform.run())
    await emu.wait_for(lambda e: not e.updates.webhook_url)
    assert (await process.accepted.get()).text == "hello"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_no_token_reaches_the_log(
    emu: TelegramEmulator, platform: TelegramPlatform, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever fails: dropped connections, 500s, HTML, a server that is away."""
    caplog.set_level(logging.DEBUG)
    await emu.wait_for(lambda e: e.updates.is_polled)
    emu.fail("getUpdates", is_dropped=True)
    emu.fail("getUpdates", code=500)
    emu.fail("sendMessage", is_dropped=True)
    emu.say("q")
    live = platform.open_message(await process.accepted.get())
    finishing: asyncio.Task[Delivery] = asyncio.create_task(live.finish(Final(text="words")))
    await emu.wait_for(lambda e: e.from_bot(CHAT))
    await finishing
    assert (await finishing).orphans == 1
    await emu.stop()
    async with asyncio.timeout(20):
        while "Telegram does not answer" not in caplog.text:
            await asyncio.sleep(0.01)
    assert emu.token.split(":")[1] not in caplog.text
