"""Documents that an admin sends in a private chat."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import structlog

from bot.audit import person
from tests.emulators.telegram import TelegramEmulator
from tests.support.telegram_admin import BOSS, HASH_KEY, STRANGER, Office, office

FEES = b"# Fees\n\nA replacement badge costs 15 euros at the Hanoi office. Ask Nguyen Van An.\n"


def labels(office: Office) -> list[str]:
    return [button["text"] for button in office.emu.from_bot(BOSS)[-1].buttons]


async def test_the_bot_asks_where_to_put_a_document_and_says_what_it_found(chat: Office) -> None:
    """The collections are buttons; the same message then says how far it is and ends with what was found."""
    await chat.bench.write("theft.md", "Theft cover costs 90,000 VND a year.")
    await chat.bench.write("calls.md", "Callers wait 70 seconds.", collection="staff")
    sent = chat.emu.send_document(FEES, "fees.md", user=chat.boss)
    question = await chat.said("Which collection shall “fees.md” go into?")
    assert question.reply_to == sent.message_id
    assert labels(chat) == ["public", "staff", "➕ New collection", "✖ Cancel"]
    pressed = chat.emu.press(question, "doc:staff", user=chat.boss)
    done = await chat.said("✅ Taken in: 1 document, 1 chunk, ")
    assert done is question
    assert done.text.startswith("📄 fees.md → staff\n")
    assert done.buttons == []
    assert await chat.ids("staff") == ["calls.md", "fees.md"]
    assert chat.emu.callbacks[pressed]["answered"]
    assert len(chat.emu.from_bot(BOSS)) == 1
    assert (await chat.job()).found == {"documents": 1, "chunks": 1, "entities": 2}


async def test_a_caption_names_the_collection(chat: Office) -> None:
    """A document with a collection's name as its caption is taken in without a question."""
    chat.emu.send_document(FEES, "fees.md", caption="partners", user=chat.boss)
    await chat.said("✅ Taken in")
    assert await chat.ids("partners") == ["fees.md"]
    assert len(chat.emu.from_bot(BOSS)) == 1


async def test_a_new_collection_is_named_by_a_reply(chat: Office) -> None:
    """After “New collection” a reply to the document says its name; one that cannot be a name is explained."""
    sent = chat.emu.send_document(FEES, "fees.md", user=chat.boss)
    question = await chat.said("Which collection")
    chat.emu.press(question, "doc:+", user=chat.boss)
    await chat.said("Reply to your document with the new collection's name")
    assert labels(chat) == ["public", "✖ Cancel"]
    chat.emu.say("Partners!", user=chat.boss, reply_to=sent)
    await chat.said("“Partners!” cannot be a collection's name: use 1 to 40 of a-z, 0-9 and _")
    chat.emu.say("partners", user=chat.boss, reply_to=sent)
    await chat.said("✅ Taken in")
    assert await chat.ids("partners") == ["fees.md"]
    assert chat.others == []


async def test_a_document_can_be_left_out(chat: Office) -> None:
    """“Cancel” takes nothing in, and the buttons are gone."""
    chat.emu.send_document(FEES, "fees.md", user=chat.boss)
    chat.emu.press(await chat.said("Which collection"), "doc:-", user=chat.boss)
    assert (await chat.said("“fees.md” was not taken in.")).buttons == []
    assert await chat.table.newest() == []


async def test_a_button_pressed_twice_takes_a_document_in_once(chat: Office) -> None:
    """The second press begins no second job."""
    chat.emu.send_document(FEES, "fees.md", user=chat.boss)
    question = await chat.said("Which collection")
    chat.emu.press(question, "doc:public", user=chat.boss)
    second = chat.emu.press(question, "doc:public", user=chat.boss)
    await chat.emu.wait_for(lambda e: e.callbacks[second]["answered"])
    await chat.said("✅ Taken in")
    assert len(await chat.table.newest()) == 1


async def test_a_document_that_was_deleted_is_asked_for_again(chat: Office) -> None:
    """A button below a question whose document is gone says so."""
    sent = chat.emu.send_document(FEES, "fees.md", user=chat.boss)
    question = await chat.said("Which collection")
    del chat.emu.messages[BOSS, sent.message_id]
    chat.emu.press(question, "doc:public", user=chat.boss)
    await chat.said("That document is not there any more. Please send it again.")


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"MZ", "setup.exe", "❌ Not taken: .exe is not a format that can be read"),
        (b"%PDF-1.4 broken", "fees.pdf", "• fees.pdf: "),
        (b"", "empty.md", "• empty.md: "),
    ],
)
async def test_what_cannot_be_read_is_said_in_a_line(chat: Office, content: bytes, name: str, said: str) -> None:
    """A wrong ending is said before anything is asked; a broken file when it has been read, with its reason."""
    chat.emu.send_document(content, name, caption="public", user=chat.boss)
    shown = await chat.said(said)
    assert shown.text.startswith(("❌", "📄 "))
    assert not await chat.ids("public")


async def test_a_file_that_telegram_does_not_hand_out_is_said(chat: Office) -> None:
    """More than 20 MB: the reason and the ways around it, in a line."""
    chat.emu.send_document(b"x" * (20 * 2**20 + 1), "big.txt", caption="public", user=chat.boss)
    shown = await chat.said("Telegram lets bots fetch at most 20 MB; use the dashboard")
    assert shown.text.startswith("📄 big.txt → public\n❌ Not taken in.")


async def test_a_file_of_a_local_server_is_read_from_its_folder(chat: Office, tmp_path: Path) -> None:
    """A Bot API server of one's own hands out files of any size by their path."""
    chat.emu.local_files = tmp_path
    chat.emu.send_document(FEES + b" " * 21 * 2**20, "fees.md", caption="public", user=chat.boss)
    await chat.said("✅ Taken in")
    chat.emu.local_files = tmp_path / "elsewhere"
    chat.emu.local_files.mkdir()
    sent = chat.emu.send_document(FEES, "more.md", user=chat.boss)
    (chat.emu.local_files / sent.extra["document"]["file_id"]).unlink()
    chat.emu.press(await chat.said("Which collection"), "doc:public", user=chat.boss)
    await chat.said("share that folder with it, or run the Bot API server without --local")


@pytest.mark.parametrize(
    ("there", "said"),
    [("nothing", "share that folder with it"), ("a folder", "trying again"), ("not a folder", "trying again")],
)
async def test_a_local_servers_folder_is_never_named(chat: Office, tmp_path: Path, there: str, said: str) -> None:
    """A Bot API server's folder is called like the bot's token: no message, job or log has it."""
    folder = chat.emu.local_files = tmp_path / chat.emu.token / "documents"
    folder.mkdir(parents=True)
    sent = chat.emu.send_document(FEES, "fees.md", user=chat.boss)
    question = await chat.said("Which collection")
    file = folder / sent.extra["document"]["file_id"]
    file.unlink()
    if there == "a folder":
        file.mkdir()
    elif there == "not a folder":
        folder.rmdir()
        folder.write_bytes(b"")
    with structlog.testing.capture_logs() as lines:
        chat.emu.press(question, "doc:public", user=chat.boss)
        await chat.said(said)
    (job,) = await chat.table.newest()
    shown = [version.text for message in chat.emu.from_bot(BOSS) for version in message.versions]
    assert [line["job"] for line in lines if line["event"] == "job_failed"] == [job.id]
    assert chat.emu.token not in str((job, shown, lines))
    assert str(tmp_path) not in str((job, shown, lines))


async def test_a_server_that_is_away_for_a_moment_costs_nothing(chat: Office) -> None:
    """A file that cannot be fetched at once is fetched later, by itself."""
    chat.emu.fail("getFile", code=502, times=1)
    chat.emu.send_document(FEES, "fees.md", caption="public", user=chat.boss)
    await chat.said("✅ Taken in")
    assert any("trying again" in v.text for v in chat.emu.from_bot(BOSS)[-1].versions)


async def test_a_restart_in_the_middle_ends_in_the_same_message(tmp_path: Path, emu: TelegramEmulator) -> None:
    """A document that was accepted is taken in by the next start, which says so in the message that was left."""
    async with office(tmp_path, emu, is_working=False) as before:
        emu.send_document(FEES, "fees.md", user=before.boss)
        question = await before.said("Which collection")
        emu.press(question, "doc:public", user=before.boss)
        await before.said("⏳ Waiting for its turn…")
    async with office(tmp_path, emu) as after:
        assert await after.said("✅ Taken in: 1 document") is question
        assert await after.ids("public") == ["fees.md"]
        assert len(emu.from_bot(BOSS)) == 1


async def test_the_language_is_the_admins(chat: Office) -> None:
    """A Vietnamese interface is spoken to in Vietnamese."""
    boss = chat.emu.user(BOSS, language_code="vi")
    chat.emu.send_document(FEES, "phí.md", caption="public", user=boss)
    shown = await chat.said("✅ Đã nhận: 1 tài liệu, 1 đoạn, ")
    assert shown.text.startswith("📄 phí.md → public")


async def test_nobody_else_is_asked(chat: Office) -> None:
    """A stranger, an admin in a group and an anonymous group admin get what they would get without such a feature."""
    stranger = chat.emu.user(STRANGER)
    group = chat.emu.group(-100_500)
    chat.emu.send_document(FEES, "fees.md", caption="public", user=stranger)
    chat.emu.say("/status", user=chat.boss, chat=group)
    chat.emu.say("/faq list", user=stranger, chat=group, sender_chat=group.json())
    chat.emu.say("/faq list", user=stranger)
    while len(chat.others) < 4:
        await asyncio.sleep(0.01)
    assert chat.others == ["public", "/status", "/faq list", "/faq list"]
    assert chat.emu.from_bot() == []
    assert await chat.table.newest() == []


async def test_an_upload_leaves_an_audit_line(chat: Office) -> None:
    """Who, what, to what and what came of it; the person only as a hash."""
    with structlog.testing.capture_logs() as lines:
        chat.emu.send_document(FEES, "fees.md", caption="staff", user=chat.boss)
        await chat.said("✅ Taken in")
    (line,) = [line for line in lines if line["event"] == "audit"]
    assert (line["action"], line["target"], line["outcome"]) == ("documents.upload", "staff: fees.md", "queued")
    assert line["who"] == person(HASH_KEY, "telegram", str(BOSS))
    assert str(BOSS) not in str(lines)
    assert chat.emu.token not in str(lines)
