"""A configured reranker, as the commands use it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.rerank.conftest import Endpoint
from tests.support.process import grapevine


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    for at in range(4):
        (folder / f"hall-{at}.md").write_text(f"# Hall {at}\n\nThe lamp of hall {at} costs coins.\n", "utf-8")
    done = await grapevine("ingest", "-q", str(folder), data=tmp_path / "data")
    assert done.code == 0, done.err
    return tmp_path / "data"


async def test_passages_come_in_the_endpoint_s_order_or_in_the_ranking_s(data: Path, endpoint: Endpoint) -> None:
    """With an endpoint its order; when it fails the ranking's, exit code 0, and one line in the log"""
    settings = {"GRAPEVINE_RERANK": "http", "GRAPEVINE_RERANK_URL": endpoint.url, "GRAPEVINE_RERANK_KEY": "abcdefgh"}
    asked = ("ask", "--passages", "-k", "4", "--json", "What does the lamp cost?")
    ranked = await grapevine(*asked, data=data)
    reranked = await grapevine(*asked, data=data, stdin=b"", **settings)
    assert documents(reranked.out) == ["hall-3.md", "hall-2.md", "hall-1.md", "hall-0.md"]
    endpoint.status = 500
    failed = await grapevine(*asked, data=data, stdin=b"", **settings)
    assert (failed.code, documents(failed.out)) == (0, documents(ranked.out))
    assert json.loads(failed.err)["event"] == "rerank_failed"
    assert "lamp" not in failed.err
    assert "abcdefgh" not in failed.err


async def test_a_package_that_is_missing_is_said_at_start(data: Path) -> None:
    """One line with the command that installs it, exit code 1"""
    done = await grapevine("ask", "--passages", "lamp", data=data, GRAPEVINE_RERANK="fastembed:no/such-model")
    assert done.code == 1
    assert done.err.startswith("grapevine: ")
    assert "fastembed" in done.err
    assert len(done.err.splitlines()) == 1


def documents(out: str) -> list[str]:
    found = json.loads(out)
    return [passage["document"] for passage in (found["passages"] if isinstance(found, dict) else found)]
