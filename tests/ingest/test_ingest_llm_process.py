"""`grapevine ingest --extract llm` as a process: what it says about its cost, and what kill -9 leaves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rag.stores.embedded import EmbeddedStore
from tests.emulators.model import Reply
from tests.support.extraction import Reader, entity, is_extraction
from tests.support.process import COMMAND, Finished, environment, grapevine

CHUNKS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """Commands over one data folder and one model server."""

    data: Path
    reader: Reader
    file: Path

    @property
    def settings(self) -> dict[str, str]:
        return {
            "OPENAI_BASE_URL": self.reader.base_url,
            "OPENAI_API_KEY": "sk-secret",
            "EMBEDDING_MODEL": "openai:hashing@16",
            "LLM_MODEL": "scripted",
            "LLM_PRICE": "1000/2000",
        }

    async def __call__(self, *options: str, **more: Any) -> Finished:
        return await grapevine("ingest", *options, data=self.data, **{**self.settings, **more})

    async def start(self, *options: str, stdin: int = asyncio.subprocess.DEVNULL) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(*COMMAND, "ingest", *options),
            env=environment(self.data, **self.settings),
            cwd=self.data.parent,
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    def calls(self) -> int:
        return sum(map(is_extraction, self.reader.exchanges))


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    file = tmp_path / "rules.jsonl"
    lines = [
        {"id": f"r{number}", "title": f"Rule {number}", "text": f"She who signs rule {number} is Linh Tran."}
        for number in range(CHUNKS)
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    async with Reader({"Linh Tran": {"entities": [entity("Linh Tran", 0)]}}) as reader:
        yield Shell(data=tmp_path / "data", reader=reader, file=file)


async def test_cost_is_told_before_and_after(shell: Shell) -> None:
    """Calls, tokens and price as estimated first, as they were at the end; counts are in --json and in the list"""
    done = await shell(str(shell.file), "--extract", "llm", "--yes", "--json")
    assert done.code == 0, done.err
    before, after, counts = [line for line in done.err.splitlines() if not line.startswith("{")]
    assert before.startswith("to be read by scripted: 40 chunks in 4 calls, about ")
    assert " at LLM_PRICE 1000/2000" in before
    extraction = json.loads(done.out)["extraction"]
    told = (extraction["input_tokens"], extraction["output_tokens"])
    cost = (told[0] * 1000 + told[1] * 2000) / 1e6
    assert extraction["cost"] == pytest.approx(cost)
    assert after == (f"read by scripted: 40 chunks in 4 calls, {told[0]:,} tokens in and {told[1]:,} out, {cost:,.4f}")
    assert counts == "40 entities and 0 relations in the collection; 40 documents changed"
    assert (extraction["chunks"], extraction["entities"], shell.calls()) == (40, 40, 4)
    listed = json.loads((await grapevine("documents", "list", "--json", data=shell.data)).out)
    assert {item["extracted"] for item in listed} == {1}
    again = await shell("--extract", "llm", "--json")
    assert again.code == 0
    assert json.loads(again.out)["extraction"]["calls"] == 0
    assert "to be read" not in again.err


async def test_nothing_is_spent_without_a_yes(shell: Shell) -> None:
    """Where nobody can be asked it needs --yes; the documents are in place all the same. At a terminal it asks"""
    done = await shell(str(shell.file), "--extract", "llm", stdin=b"y\n")
    assert done.code == 1
    assert "nothing was sent: --yes agrees" in done.err
    assert shell.calls() == 0
    for answer, calls in ((b"n\n", 0), (b"y\n", 4)):
        ours, theirs = os.openpty()
        try:
            process = await shell.start("--extract", "llm", stdin=theirs)
            os.write(ours, answer)
            _, said = await process.communicate()
        finally:
            os.close(ours)
            os.close(theirs)
        assert b"Send it? [y/N]" in said
        assert (process.returncode, shell.calls()) == (1 if calls == 0 else 0, calls)


async def test_kill_9_loses_no_answer_that_came(shell: Shell) -> None:
    """Killed while calls are under way: what came back is kept, and the next run sends only the rest"""
    shell.reader.script(Reply(when="sign", late=True), Reply(when="sign", late=True))
    process = await shell.start(str(shell.file), "--extract", "llm", "--yes")
    store = EmbeddedStore(shell.data / "knowledge.db")
    try:
        async with asyncio.timeout(60):
            while not (shell.calls() == 4 and len(await store.extracted("public")) >= CHUNKS // 2 - 4):
                await asyncio.sleep(0.02)
        kept = len(await store.extracted("public"))
    finally:
        process.send_signal(signal.SIGKILL)
        await process.communicate()
        await store.close()
    assert 0 < kept < CHUNKS
    before = len(shell.reader.read)
    done = await shell(str(shell.file), "--extract", "llm", "--yes", "--json")
    assert done.code == 0, done.err
    assert len(shell.reader.read) - before == CHUNKS - kept
    extraction = json.loads(done.out)["extraction"]
    assert (extraction["chunks"], extraction["entities"], extraction["documents"]) == (CHUNKS - kept, CHUNKS, CHUNKS)


async def test_what_goes_wrong_is_one_line(shell: Shell) -> None:
    """No model, a dry run, a wrong price, a refused key: the setting to look at; unanswered chunks are counted"""
    for options, settings, code, line in (
        (
            ("--extract", "llm"),
            {"OPENAI_BASE_URL": "", "OPENAI_API_KEY": ""},
            2,
            "set OPENAI_API_KEY or OPENAI_BASE_URL",
        ),
        ((str(shell.file), "--extract", "llm", "--dry-run"), {}, 2, "--dry-run sends nothing"),
        (("--extract", "llm"), {"LLM_PRICE": "cheap"}, 2, "LLM_PRICE"),
    ):
        done = await shell(*options, **settings)
        assert (done.code, line in done.err) == (code, True), done.err
    assert (await shell(str(shell.file))).code == 0
    shell.reader.script(Reply(status=401, when="The JSON object", times=0, message="Incorrect API key: sk-secret"))
    refused = await shell("--extract", "llm", "--yes")
    assert refused.code == 1
    assert "OPENAI_API_KEY" in refused.err.splitlines()[-1]
    assert "Traceback" not in refused.err
    assert "sk-secret" not in refused.err
    shell.reader.forget_script()
    shell.reader.script(Reply(tokens=("no JSON",), when="rule 7 ", times=2))
    done = await shell("--extract", "llm", "--yes")
    assert done.code == 1
    assert "no valid answer for 1 chunk of r7; the next run asks again" in done.err
    assert (await shell("--extract", "llm", "--yes")).code == 0
