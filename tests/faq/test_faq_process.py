"""`grapevine faq` as a process, beside a running server."""

from __future__ import annotations

import asyncio
import json
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.support.process import Finished, Server, grapevine, serving

THEFT = "What does theft cover cost a year?"


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A data folder with one public document in it."""
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "theft.md").write_text("# Theft cover\n\nTheft cover costs 90,000 VND a year.\n", "utf-8")
    await ingest(tmp_path / "data")
    return tmp_path / "data"


async def ingest(data: Path) -> None:
    done = await grapevine("ingest", "-q", str(data.parent / "documents"), data=data)
    assert done.code == 0, done.err


async def faq(data: Path, *args: str) -> Finished:
    return await grapevine("faq", *args, data=data)


async def ask(session: ClientSession, question: str) -> Any:
    async with session.post("/api/v1/ask", json={"question": question}) as response:
        assert response.status == 200
        return await response.json()


async def test_the_commands_from_the_first_faq_to_the_last(data: Path) -> None:
    """Add, warm, match, list, remove: one clear line each, JSON on request, exit codes that a script can trust."""
    curated = await faq(data, "add", "Hotline?", "--answer", "1900 0000", "--paraphrase", "Which number?")
    assert (curated.code, curated.out.split()[1:]) == (0, ["curated,", "public,", "en"])
    warmed = await faq(data, "add", THEFT, "--json")
    assert warmed.code == 0
    identity = json.loads(warmed.out)["id"]

    found = json.loads((await faq(data, "match", "which", "number", "--json")).out)
    assert found["match"]["question"] == "Hotline?"
    assert (await faq(data, "match", "anything else")).out == "none: it would be answered from the documents\n"

    listed = {item["question"]: item for item in json.loads((await faq(data, "list", "--json")).out)}
    assert (listed[THEFT]["kind"], listed[THEFT]["state"]) == ("warmed", "ready")
    assert "90,000 VND" in listed[THEFT]["answer"]

    refused = await faq(data, "add", "How tall is the Eiffel tower?")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == "grapevine: the documents of `public` do not answer it\n"
    wrong = await faq(data, "add", "Why?", "--answer", "x", "--collection", "No!")
    assert wrong.code == 2
    assert "a-z, 0-9 and _" in wrong.err

    (data.parent / "documents" / "theft.md").write_text(
        "# Theft cover\n\nTheft cover costs 95,000 VND a year.\n", "utf-8"
    )
    await ingest(data)
    assert "is stale" in (await faq(data, "match", THEFT)).out
    renewed = await faq(data, "warm")
    assert (renewed.code, renewed.out) == (0, "FAQs: 1 warmed\n")
    assert "95,000 VND" in (await faq(data, "list", "--json")).out
    assert (await faq(data, "warm")).out == "FAQs: nothing to do\n"

    removed = await faq(data, "remove", identity, "nothing")
    assert removed.code == 1
    assert removed.out == f"removed {identity}: {THEFT}\n"
    assert "there is no FAQ nothing" in removed.err
    assert json.loads((await faq(data, "match", THEFT, "--json")).out) == {"match": None, "refused_by": None}


async def test_a_file_is_imported_line_by_line(data: Path) -> None:
    """Bad lines and refusals are named, the rest is in place, and importing it again changes nothing."""
    file = data.parent / "faqs.jsonl"
    lines = [
        {"question": "Hotline?", "answer": "1900 0000"},
        {"question": THEFT, "paraphrases": ["Price of theft cover?"]},
        {"question": "How tall is the Eiffel tower?"},
        {"answer": "To nothing."},
    ]
    file.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    done = await faq(data, "import", str(file))
    assert done.code == 1
    assert done.out == "FAQs: 1 refused, 1 stored, 1 warmed, 1 wrong lines\n"
    assert f"{file}, line 4: `question` is missing" in done.err
    assert "refused: “How tall is the Eiffel tower?”: the documents of `public` do not answer it" in done.err

    file.write_text("\n".join(map(json.dumps, lines[:2])), "utf-8")
    again = await faq(data, "import", str(file), "--json")
    assert again.code == 0
    assert json.loads(again.out)["counts"] == {"unchanged": 2}
    asked = json.loads((await grapevine("ask", "--json", "price of theft cover", data=data)).out)
    assert (asked["cache"], asked["citations"][0]["document"]) == ("faq", "theft.md")


async def test_a_running_server_follows(data: Path) -> None:
    """It serves what another process adds, offers it on the page, and falls silent when its document changes."""
    async with serving(data) as server, ClientSession(server.address) as session:
        assert (await ask(session, THEFT))["cache"] == "none"
        assert (await faq(data, "add", THEFT)).code == 0
        served = await until(session, THEFT, "faq")
        assert "90,000 VND" in served["answer"]
        assert [citation["document"] for citation in served["citations"]] == ["theft.md"]
        async with session.get("/") as page:
            assert THEFT in unescape(await page.text())

        (data.parent / "documents" / "theft.md").write_text(
            "# Theft cover\n\nTheft cover costs 95,000 VND a year.\n", "utf-8"
        )
        await ingest(data)
        written_anew = await until(session, THEFT, "none")
        assert "95,000 VND" in written_anew["answer"]
        async with session.get("/") as page:
            assert THEFT not in unescape(await page.text())
        assert THEFT not in told(server)


async def until(session: ClientSession, question: str, cache: str) -> Any:
    """The first answer that comes from there."""
    async with asyncio.timeout(20):
        while (answer := await ask(session, question))["cache"] != cache:
            await asyncio.sleep(0.02)
    return answer


def told(server: Server) -> str:
    """The log and everything printed."""
    return server.log.read_text("utf-8") + "".join(server.said)
