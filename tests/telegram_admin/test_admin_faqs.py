"""FAQs, status and latency in an admin's chat."""

from __future__ import annotations

import asyncio

import structlog

from bot.audit import person
from tests.support.telegram_admin import BOSS, HASH_KEY, Office
from tests.support.turn_lines import turn_line


async def test_a_faq_with_an_answer_is_served_at_once(chat: Office) -> None:
    """Question and answer in one line; the reply names the id, with which it is removed again."""
    await chat.bench.write("theft.md", "Theft cover costs 90,000 VND a year.")
    chat.emu.say("/faq add What does theft cover cost? | 90,000 VND a year.", user=chat.boss)
    shown = await chat.said("✅ Answered at once from now on (public). Id: ")
    faq_id = shown.text.rsplit(" ", 1)[1]
    match = chat.bench.faqs.match("what does THEFT cover cost", collections=frozenset({"public"}))
    assert match.faq is not None
    assert (match.faq.id, match.faq.answer) == (faq_id, "90,000 VND a year.")
    chat.emu.say(f"/faq remove {faq_id[:6]} ffff", user=chat.boss)
    shown = await chat.said("🗑 Removed: What does theft cover cost?", count=2)
    assert "There is no FAQ ffff; /faq list names them." in shown.text
    assert await chat.bench.faqs.listing() == ()


async def test_a_collection_without_documents_is_pointed_out(chat: Office) -> None:
    """A FAQ for a misspelt collection would never be served, and the admin is told."""
    chat.emu.say("/faq add #pubilc What is A? | B.", user=chat.boss)
    await chat.said("⚠️ The collection “pubilc” has no documents. Is it spelt right?")


async def test_a_faq_without_an_answer_is_made_from_the_documents(chat: Office) -> None:
    """The answer comes from the real pipeline; without documents that answer it, the reason is said."""
    await chat.bench.write("theft.md", "Theft cover costs 90,000 VND a year.")
    chat.emu.say("/faq add What does theft cover cost a year?", user=chat.boss)
    await chat.said("✅ Answered at once from now on, from the documents.")
    (faq,) = await chat.bench.faqs.listing()
    assert faq.kind == "warmed"
    assert "90,000" in faq.answer
    chat.emu.say("/faq add #staff Who is on call?", user=chat.boss)
    shown = await chat.said("❌ No answer was made.", count=2)
    assert "the collection `staff` has no documents to answer from" in shown.text


async def test_warming_tells_how_far_it_is_in_one_message(chat: Office) -> None:
    """`/faq warm` renews what is out of date, counting up in one message."""
    chat.emu.say("/faq warm", user=chat.boss)
    await chat.said("✅ All answers made from the documents are up to date.")
    await chat.bench.write("theft.md", "Theft cover costs 90,000 VND a year.")
    chat.emu.say("/faq add What does theft cover cost a year?", user=chat.boss)
    await chat.said("✅ Answered at once", count=2)
    await chat.bench.write("theft.md", "Theft cover costs 95,000 VND a year.")
    chat.emu.say("/faq warm", user=chat.boss)
    shown = await chat.said("✅ Answers made from the documents: 1.", count=3)
    assert len(chat.emu.from_bot(BOSS)) == 3
    assert shown.versions[0].text.startswith(("🔥 Making answers", "✅"))
    (faq,) = await chat.bench.faqs.listing()
    assert "95,000" in faq.answer


async def test_the_list_comes_in_pages(chat: Office) -> None:
    """Twenty FAQs a message with the beginning of their ids; what stands in a question is not made live."""
    chat.emu.say("/faq list", user=chat.boss)
    await chat.said("There are no FAQs yet.")
    for n in range(21):
        chat.emu.say(f"/faq add Is @mallory{n:02} at evil.example.com? | No.", user=chat.boss)
    await chat.said("✅", count=22)
    chat.emu.say("/faq list", user=chat.boss)
    shown = await chat.said("FAQs 1 to 20 of 21:", count=23)
    first = next(faq for faq in await chat.bench.faqs.listing())
    assert f"{first.id[:8]} · public · Is @mallory00 at evil.example.com?" in shown.text
    assert "Next: /faq list 2" in shown.text
    code = {shown.text[e["offset"] : e["offset"] + e["length"]] for e in shown.entities if e["type"] == "code"}
    assert {"@mallory00", "evil.example.com"} <= code
    chat.emu.say("/faq list public 2", user=chat.boss)
    await chat.said("FAQs 21 to 21 of 21:", count=24)


async def test_what_is_unclear_is_explained(chat: Office) -> None:
    """`/faq` alone shows the forms; a wrong collection name is told in a line; an edited command is not carried out."""
    chat.emu.say("/faq", user=chat.boss)
    await chat.said("/faq add QUESTION | ANSWER")
    said = chat.emu.say("/faq add #Staff! Q? | A", user=chat.boss)
    await chat.said("❌ That did not work: a collection's name is 1 to 40 of a-z, 0-9 and _, like `public`", count=2)
    chat.emu.edit(said, "/faq add Q? | A")
    await chat.said("Please send it anew.", count=3)
    assert await chat.bench.faqs.listing() == ()


async def test_status_tells_what_there_is_and_what_is_wrong(chat: Office) -> None:
    """Documents by collection, FAQs, jobs, pools, version; what is degraded comes first."""
    chat.emu.say("/status", user=chat.boss)
    await chat.said("No documents yet: send me one")
    await chat.bench.write("theft.md", "Theft cover costs 90,000 VND a year.")
    await chat.bench.write("calls.md", "Callers wait 70 seconds.", collection="staff")
    chat.emu.say("/status", user=chat.boss)
    shown = await chat.said("• staff: 1 document, 1 chunk", count=2)
    assert shown.text.splitlines()[0] == "Grapevine 1.2.3: all is well"
    assert "FAQs: 0, of which 0 are not served" in shown.text
    assert "Jobs: 0 running, 0 waiting, 0 of the last 0 failed" in shown.text
    assert "Pool neo4j: in_use 1, idle 2" in shown.text
    chat.problems.append("Redis does not answer: this process goes by its own state")
    chat.emu.say("/status", user=chat.boss)
    shown = await chat.said("⚠️ Redis does not answer", count=3)
    assert shown.text.splitlines()[0] == "Grapevine 1.2.3: degraded"


async def test_latency_shows_where_the_time_went(chat: Office) -> None:
    """p50 and p95 of the last answers by stage, in columns."""
    chat.emu.say("/latency", user=chat.boss)
    await chat.said("Nobody has asked since the start.")
    chat.turns.extend(turn_line(total_ms=float(n), retrieve_ms=2.0) for n in range(1, 101))
    chat.emu.say("/latency", user=chat.boss)
    shown = await chat.said("The last 100 answers, in milliseconds:", count=2)
    (table,) = [e for e in shown.entities if e["type"] == "pre"]
    rows = [row.split() for row in shown.text[table["offset"] :].splitlines()]
    assert rows == [["stage", "n", "p50", "p95"], ["retrieve", "100", "2", "2"], ["total", "100", "50", "95"]]


async def test_every_command_leaves_an_audit_line(chat: Office) -> None:
    """What was done by whom; questions, answers and ids of people are in none of them."""
    with structlog.testing.capture_logs() as lines:
        chat.emu.say("/faq add What is snowdrop? | Begonia.", user=chat.boss)
        shown = await chat.said("Id: ")
        chat.emu.say("/faq list", user=chat.boss)
        chat.emu.say(f"/faq remove {shown.text.split('Id: ')[1][:16]}", user=chat.boss)
        chat.emu.say("/faq warm", user=chat.boss)
        chat.emu.say("/status", user=chat.boss)
        chat.emu.say("/latency", user=chat.boss)
        while sum(line["event"] == "audit" for line in lines) < 6:
            await asyncio.sleep(0.01)
    audits = [line for line in lines if line["event"] == "audit"]
    assert [line["action"] for line in audits] == [
        "faq.add", "faq.list", "faq.remove", "faq.warm", "status", "latency",
    ]  # fmt: skip
    assert {line["who"] for line in audits} == {person(HASH_KEY, "telegram", str(BOSS))}
    for secret in ("snowdrop", "Begonia", str(BOSS)):
        assert secret not in str(lines)


async def test_a_notice_rides_out_a_flood(chat: Office) -> None:
    """A 429 on the way: the newest state is shown after the pause, and nothing twice."""
    chat.emu.fail("sendMessage", code=429, retry_after=1, times=1)
    chat.emu.say("/status", user=chat.boss)
    await chat.said("Grapevine 1.2.3")
    assert len(chat.emu.from_bot(BOSS)) == 1


async def test_admins_find_their_commands_in_the_list(chat: Office) -> None:
    """In an admin's chat the list of commands has theirs, in English and Vietnamese; nobody else's has."""
    chat.emu.user(BOSS)
    await chat.telegram.introduce(chat.telegram._bot)
    lists = {key: [command["command"] for command in listed] for key, listed in chat.emu.commands.items()}
    assert set(lists) == {(f"chat:{BOSS}", ""), (f"chat:{BOSS}", "vi")}
    for names in lists.values():
        assert {"faq", "status", "latency", "help"} <= set(names)
