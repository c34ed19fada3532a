"""The commands a person types, as processes of their own over the sample knowledge base."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest

from tests.emulators.model import ModelServer, Reply, words
from tests.support.process import grapevine, serving

pytestmark = pytest.mark.timeout(300)
"""Real processes on a machine with other work to do."""


async def test_a_question_in_the_terminal_is_answered_with_sources(data: Path) -> None:
    """`grapevine ask` quotes the documents without any key; `--json` is one value; the log has the turn's line."""
    log = data.parent / "turns.log"
    shown, as_json = await asyncio.gather(
        grapevine("ask", "What does hydrolock mean?", data=data, GRAPEVINE_LOG=str(log)),
        grapevine("ask", "--json", "What does hydrolock mean?", data=data),
    )
    assert (shown.code, as_json.code) == (0, 0), shown.err + as_json.err
    assert "engine damage" in shown.out
    assert "Glossary" in shown.out
    answer = json.loads(as_json.out)
    assert (answer["outcome"], answer["citations"][0]["document"]) == ("answered", "glossary.md")
    (turn,) = [line for line in map(json.loads, log.read_text().splitlines()) if line["event"] == "turn"]
    assert (turn["platform"], turn["outcome"], turn["llm_calls"]) == ("console", "answered", 0)
    assert "hydrolock" not in log.read_text()
    report = await grapevine("latency", "--json", str(log), data=data)
    stages = {stage["stage"]: stage["count"] for stage in json.loads(report.out)["stages"]}
    assert stages["retrieve_ms"] == stages["first_visible_ms"] == stages["total_ms"] == 1
    assert "llm_first_token_ms" not in stages


async def test_passages_are_printed_best_first_with_their_reasons(data: Path) -> None:
    """`--passages` shows what was found, how well and why, from standard input too; a collection can be chosen."""
    found, staff = await asyncio.gather(
        grapevine("ask", "--passages", "--json", "-k", "3", "-", data=data, stdin="hủy hợp đồng".encode()),
        grapevine("ask", "--passages", "--json", "--collection", "staff", "discount", data=data),
    )
    passages = json.loads(found.out)
    assert passages[0]["document"] == "huy-hop-dong-hoan-phi.md"
    assert len(passages) == 3
    assert all(passage["why"] for passage in passages)
    assert passages == sorted(passages, key=lambda passage: -passage["score"])
    assert {passage["collection"] for passage in json.loads(staff.out)} == {"staff"}


async def test_a_written_answer_streams_from_the_configured_model(data: Path) -> None:
    """With an endpoint configured, the model writes and its citations are checked: `[9]` stands for nothing."""
    async with ModelServer() as model:
        model.script(Reply(tokens=words("Water in the cylinder [1], as they say [9].")))
        settings = {"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": "sk-not-to-be-seen", "LLM_MODEL": "scripted"}
        done = await grapevine("ask", "What does hydrolock mean?", data=data, stdin=b"", **settings)
        assert done.code == 0, done.err
        assert "Water in the cylinder [1]" in done.out
        assert "[9]" not in done.out
        model.script(Reply(status=401, message="Incorrect API key provided: sk-not-to-be-seen", times=2))
        refused = await grapevine("ask", "What does hydrolock mean?", data=data, stdin=b"", **settings)
        doctor = await grapevine("doctor", "--json", data=data, stdin=b"", **settings)
    assert refused.code == 1
    assert "I can't write an answer" in refused.out
    findings = {finding["part"]: finding for finding in json.loads(doctor.out)}
    assert (doctor.code, findings["model"]["verdict"]) == (1, "failed")
    assert "OPENAI_API_KEY" in findings["model"]["detail"]
    assert findings["store"]["verdict"] == "ok"
    assert "sk-not" not in done.err + refused.out + refused.err + doctor.out + doctor.err


async def test_mistakes_are_one_clear_line(tmp_path: Path) -> None:
    """What a person gets wrong is named with its cure, without a traceback; the exit code tells whose fault it is."""
    data = tmp_path / "data"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        empty, unknown, malformed, in_use, nowhere = await asyncio.gather(
            grapevine("ask", "anything", data=data),
            grapevine("settings", data=data, GRAPEVINE_DTAA="x"),
            grapevine("serve", data=data, GRAPEVINE_PORT="eighty"),
            grapevine("serve", data=data, GRAPEVINE_PORT=port),
            grapevine("ingest", "no/such/folder", data=data),
        )
    assert (empty.code, empty.err.strip()) == (
        1,
        "grapevine: the knowledge base is empty: take documents in with `grapevine ingest PATH`",
    )
    assert (unknown.code, unknown.err.strip()) == (
        2,
        "grapevine: GRAPEVINE_DTAA: there is no such setting; did you mean GRAPEVINE_DATA?",
    )
    assert (malformed.code, malformed.err.strip()) == (2, "grapevine: GRAPEVINE_PORT: must be a whole number")
    assert in_use.code == 1
    assert f"127.0.0.1:{port} is in use: stop what listens there, or set GRAPEVINE_PORT" in in_use.err
    assert (nowhere.code, "no/such/folder" in nowhere.err) == (1, True)
    for done in (empty, unknown, malformed, in_use, nowhere):
        assert "Traceback" not in done.err


async def test_serve_says_what_it_runs_with_and_stops_when_told(data: Path) -> None:
    """A few lines name store, embeddings, model, platforms and address; SIGTERM ends it with exit code 0."""
    async with serving(data) as server:
        said = "".join(server.said)
        for part in ("store", "documents", "embeddings", "model", "platforms", "admin", "address"):
            assert f"\n{part}" in f"\n{said}"
        token = (data / "admin-token").read_text().strip()
        assert token not in said
        assert (data / "admin-token").stat().st_mode & 0o777 == 0o600
        assert await server.stop() == 0
