"""An admin feeds the bot from a private chat, through real processes and real HTTP; a stranger cannot."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.emulators.telegram import Message, TelegramEmulator
from tests.support.process import serving

BOSS, STRANGER = 12345, 777
NOTICE = b"""# Parking at the Da Nang office

Visitors park in the basement of the Han River building. The barrier opens from 07:30 to 19:00, and the visitor's
ticket costs 20,000 VND a day.
"""

pytestmark = pytest.mark.timeout(300)
"""Real processes on a machine with other work to do."""


def settings(telegram: TelegramEmulator) -> dict[str, str]:
    return {
        "TELEGRAM_BOT_TOKEN": telegram.token,
        "TELEGRAM_API_URL": telegram.url,
        "GRAPEVINE_ADMINS": f"telegram:{BOSS}",
    }


async def said(telegram: TelegramEmulator, chat: int, text: str) -> Message:
    """The message of the bot that says this, once its buttons do not say that it goes on growing."""

    def found(emu: TelegramEmulator) -> Message | None:
        matching = [m for m in emu.from_bot(chat) if text in m.text and "⏹" not in str(m.buttons)]
        return matching[-1] if matching else None

    message: Message = await telegram.wait_for(found, timeout_s=60)
    return message


async def test_an_admin_uploads_a_document_and_asks_about_it(data: Path) -> None:
    """Sent, put into a collection by a button, taken in, and the next question is answered from it."""
    async with TelegramEmulator() as telegram, serving(data, **settings(telegram)) as server:
        boss = telegram.user(BOSS)
        telegram.send_document(NOTICE, "parking.md", user=boss)
        question = await said(telegram, BOSS, "Which collection shall “parking.md” go into?")
        assert [button["text"] for button in question.buttons][:2] == ["public", "staff"]
        telegram.press(question, "doc:public", user=boss)
        done = await said(telegram, BOSS, "✅ Taken in: 1 document, 1 chunk, ")
        assert done is question
        telegram.say("What does a visitor's parking ticket cost at the Da Nang office?", user=boss)
        answer = await said(telegram, BOSS, "20,000 VND a day")
        assert "Parking at the Da Nang office" in answer.text
        assert await server.stop() == 0
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    (audit,) = [line for line in lines if line["event"] == "audit"]
    assert (audit["action"], audit["target"], audit["outcome"]) == ("documents.upload", "public: parking.md", "queued")
    assert audit["who"].startswith("telegram:")
    assert str(BOSS) not in server.log.read_text()
    assert telegram.token not in server.log.read_text()


async def test_a_stranger_gets_no_admin_answer(data: Path) -> None:
    """A document and admin commands from anybody else are answered like any other document and unknown command."""
    async with TelegramEmulator() as telegram, serving(data, **settings(telegram)) as server:
        stranger = telegram.user(STRANGER)
        telegram.send_document(NOTICE, "parking.md", user=stranger)
        for text in ("/status", "/latency", "/faq list", "/nosuchcommand"):
            telegram.say(text, user=stranger)
        await telegram.wait_for(lambda t: len(t.from_bot(STRANGER)) >= 5, timeout_s=60)
        shown = [message.text for message in telegram.from_bot(STRANGER)]
        unknown = [text for text in shown if text.startswith("I do not know this command.")]
        assert (len(unknown), len(set(unknown))) == (4, 1)
        for word in ("collection", "Taken in", "all is well", "FAQs", "milliseconds"):
            assert word not in "\n".join(shown)
        telegram.say("What does a visitor's parking ticket cost at the Da Nang office?", user=stranger)
        await telegram.wait_for(lambda t: len(t.from_bot(STRANGER)) >= 6, timeout_s=60)
        assert "20,000" not in "".join(message.text for message in telegram.from_bot(STRANGER))
        assert "audit" not in server.log.read_text()
        listed = {command["command"] for command in telegram.commands["all_private_chats", ""]}
        assert not {"faq", "status", "latency"} & listed


async def test_a_document_accepted_before_a_crash_is_taken_in_after_it(data: Path) -> None:
    """kill -9 right after the button: the next start takes the document in and says so in the same message."""
    async with TelegramEmulator() as telegram:
        boss = telegram.user(BOSS)
        async with serving(data, **settings(telegram)) as server:
            telegram.fail("getFile", delay_s=60)
            telegram.send_document(NOTICE, "parking.md", user=boss)
            question = await said(telegram, BOSS, "Which collection")
            telegram.press(question, "doc:public", user=boss)
            await said(telegram, BOSS, "⬇️ Fetching…")
            await server.stop(signal.SIGKILL)
        async with serving(data, **settings(telegram)):
            assert await said(telegram, BOSS, "✅ Taken in: 1 document") is question
            assert len(telegram.from_bot(BOSS)) == 1
