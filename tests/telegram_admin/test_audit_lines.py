"""The trace that admin acts leave, whatever the door."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from bot.audit import audit, person
from tests.support.admin import Desk, grapevine, running_desk


def test_a_person_is_named_by_a_keyed_hash() -> None:
    """The log tells one admin from another without their ids, and nobody without the key can tell who it was."""
    first = person(b"key", "telegram", "12345")
    assert first == person(b"key", "telegram", "12345")
    assert first.startswith("telegram:")
    assert "12345" not in first
    assert len({first, person(b"key", "telegram", "12346"), person(b"other", "telegram", "12345")}) == 3


def test_a_line_has_one_form() -> None:
    """Every audit line says what, to what, who and what came of it; a list of names cannot flood the log."""
    with structlog.testing.capture_logs() as lines:
        audit("documents.upload", "x" * 1000, who="token", outcome="queued")
    (line,) = lines
    assert {name: line[name] for name in ("event", "action", "who", "outcome")} == {
        "event": "audit",
        "action": "documents.upload",
        "who": "token",
        "outcome": "queued",
    }
    assert len(line["target"]) == 300


async def test_taking_documents_in_leaves_a_line(tmp_path: Path) -> None:
    """`grapevine ingest` says how much it changed where; a run that changes nothing says nothing."""
    (tmp_path / "fees.md").write_text("# Fees\n\nA replacement badge costs 15 euros.\n")
    first = await grapevine("ingest", "-q", "fees.md", "--collection", "staff", data=tmp_path)
    assert first.code == 0, first
    (line,) = [json.loads(line) for line in first.err.splitlines() if '"audit"' in line]
    assert (line["action"], line["target"]) == ("documents.ingest", "staff: 1 added")
    assert (line["who"], line["outcome"]) == ("cli", "done")
    again = await grapevine("ingest", "-q", "fees.md", "--collection", "staff", data=tmp_path)
    assert "audit" not in again.err


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk over a folder of its own."""
    async with running_desk(tmp_path) as running:
        yield running


async def test_an_act_that_failed_is_told_as_such(desk: Desk) -> None:
    """A FAQ that the documents do not answer leaves a line that says `failed`, by the FAQ's id and not its words."""
    with structlog.testing.capture_logs() as lines:
        answer = await desk.ask("POST", "/api/v1/faqs", json={"question": "What is snowdrop?"})
    assert answer.status == 422
    (line,) = [line for line in lines if line["event"] == "audit"]
    assert (line["action"], line["outcome"]) == ("faq.add", "failed")
    assert "nowdrop" not in str(lines)
