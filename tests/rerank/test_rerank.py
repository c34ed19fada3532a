"""A second look at the best passages: what it changes, and that its absence changes nothing."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from httpx2 import AsyncClient

from bot.settings import SettingsError, load
from rag.errors import RerankError
from rag.rerank import RerankSpec, parse_rerank
from rag.rerank.fastembed import FastReranker
from rag.rerank.http import HttpReranker
from rag.rerank.retriever import CANDIDATES, REST_S, Reranked
from rag.resilience.deadline import Deadline
from rag.retrieval.search import Search
from rag.stores.embedded import EmbeddedStore
from rag.types import Mode
from tests.rerank.conftest import Endpoint
from tests.retrieval.conftest import WordCounts, document

PUBLIC = frozenset({"public"})
QUESTION = "What does the lamp cost?"


@pytest.fixture
async def search(tmp_path: Path) -> AsyncIterator[Search]:
    store = EmbeddedStore(tmp_path / "knowledge.db")
    await store.put([document(f"lamp-{at}", f"The lamp of hall {at} costs coins.", title="Lamp") for at in range(40)])
    await store.put([document("secret", "The lamp costs 999 coins.", collection="staff")])
    yield Search(store, WordCounts())
    await store.close()


class Rig:
    """Search behind a reranker, with a clock that the test moves."""

    def __init__(self, search: Search, reranker: HttpReranker | FastReranker, longest_s: float) -> None:
        self.failures: list[str] = []
        self.now = 0.0
        self.retriever = Reranked(
            search,
            reranker,
            on_failure=lambda error: self.failures.append(str(error)),
            longest_s=longest_s,
            clock=lambda: self.now,
        )

    async def ask(self, k: int = 5, mode: Mode = "hybrid", deadline: Deadline | None = None) -> list[str]:
        found = await self.retriever.retrieve(QUESTION, collections=PUBLIC, k=k, mode=mode, deadline=deadline)
        scores = [passage.score for passage in found.passages]
        assert scores == sorted(scores, reverse=True)
        return [passage.document for passage in found.passages]


@asynccontextmanager
async def rig(search: Search, endpoint: Endpoint, *, longest_s: float = 20.0, **options: Any) -> AsyncIterator[Rig]:
    async with AsyncClient() as client:
        yield Rig(search, HttpReranker(client, url=endpoint.url, **options), longest_s)


async def plain(search: Search, k: int = 5) -> list[str]:
    found = await search.retrieve(QUESTION, collections=PUBLIC, k=k)
    return [passage.document for passage in found.passages]


async def test_the_endpoint_s_order_is_the_answer_s(search: Search, endpoint: Endpoint) -> None:
    """The best thirty permitted passages are sent with their titles, and come back best first; `why` says so"""
    async with rig(search, endpoint, key="k" * 20, model="some-model") as asking:
        first = await plain(search, CANDIDATES)
        expected = sorted(first, key=lambda name: -int(name.split("-")[1]))[:5]
        assert await asking.ask() == expected
        (body,) = endpoint.bodies
        assert (body["model"], body["query"], body["top_n"]) == ("some-model", QUESTION, CANDIDATES)
        assert body["documents"][0].startswith("Lamp\n")
        assert not any("999" in text for text in body["documents"])
        assert endpoint.keys == ["Bearer " + "k" * 20]
        found = await asking.retriever.retrieve(QUESTION, collections=PUBLIC, k=1)
        assert found.passages[0].why[-1] == "rerank"
        assert await asking.retriever.passage(found.passages[0].passage_id, collections=frozenset()) is None
        assert not asking.failures


async def test_more_passages_than_are_read_again_keep_their_place_behind(search: Search, endpoint: Endpoint) -> None:
    """k above thirty: the rest follows in the ranking's order"""
    async with rig(search, endpoint) as asking:
        assert (await asking.ask(k=38))[CANDIDATES:] == (await plain(search, 38))[CANDIDATES:]


@pytest.mark.parametrize("mode", ["vector", "text", "graph"])
async def test_the_other_modes_show_the_ranking_as_it_is(search: Search, endpoint: Endpoint, mode: Mode) -> None:
    async with rig(search, endpoint) as asking:
        await asking.ask(mode=mode)
    assert endpoint.bodies == []


@pytest.mark.parametrize(
    ("status", "raw", "said"),
    [
        (500, None, "answered 500"),
        (401, None, "refused the key (401): check GRAPEVINE_RERANK_KEY"),
        (404, None, "check GRAPEVINE_RERANK_URL"),
        (200, b"<html>", "something else than results"),
        (200, b'{"results": []}', "did not score each of 30 passages once"),
        (200, b'{"results": [{"index": 0, "relevance_score": "x"}]}', "something else than results"),
        (200, json.dumps({"results": [{"index": 7, "relevance_score": 1.0}] * 30}).encode(), "did not score each"),
    ],
)
async def test_a_failing_endpoint_leaves_the_ranking_s_order(
    search: Search, endpoint: Endpoint, status: int, raw: bytes | None, said: str
) -> None:
    """The passages are those without a reranker, and one line says why, without question or key"""
    endpoint.status, endpoint.raw = status, raw
    async with rig(search, endpoint, key="secret-" * 4) as asking:
        assert await asking.ask() == await plain(search)
        (line,) = asking.failures
    assert said in line
    assert "secret-" not in line
    assert "lamp" not in line


async def test_an_endpoint_that_is_away_is_left_alone_for_a_while(search: Search, endpoint: Endpoint) -> None:
    """After a failure the next questions do not ask it; after ten seconds they do again"""
    endpoint.status = 503
    async with rig(search, endpoint) as asking:
        for _ in range(3):
            assert await asking.ask() == await plain(search)
        assert (len(endpoint.bodies), len(asking.failures)) == (1, 1)
        endpoint.status, asking.now = 200, REST_S
        assert await asking.ask() != await plain(search)


async def test_nobody_there_is_a_failure_like_any_other(search: Search) -> None:
    """A closed port: the ranking's order, and the message names host and setting"""
    async with AsyncClient() as client:
        asking = Rig(search, HttpReranker(client, url="http://user:pass@127.0.0.1:9/v1/rerank"), 20.0)
        assert await asking.ask() == await plain(search)
    assert asking.failures == [
        "the reranker at 127.0.0.1:9 cannot be reached (ConnectError): check GRAPEVINE_RERANK_URL"
    ]


@pytest.mark.parametrize(("longest_s", "deadline_s"), [(0.05, None), (600.0, 2.0)])
async def test_an_endpoint_that_does_not_answer_costs_a_bounded_time(
    search: Search, endpoint: Endpoint, longest_s: float, deadline_s: float | None
) -> None:
    """Its share of the deadline, or its own limit where that is shorter; then the ranking's order"""
    endpoint.held.clear()
    async with rig(search, endpoint, longest_s=longest_s) as asking:
        expected = await plain(search)  # loads the store: the deadline is the question's
        deadline = None if deadline_s is None else Deadline.after(deadline_s)
        assert await asking.ask(deadline=deadline) == expected
        assert "did not answer within" in asking.failures[0]


async def test_stopping_a_question_stops_the_second_look(search: Search, endpoint: Endpoint) -> None:
    """A cancelled question is cancelled, not answered in another order, and nothing is told as a failure"""
    endpoint.held.clear()
    async with rig(search, endpoint) as asking:
        task = asyncio.create_task(asking.ask())
        while not endpoint.bodies:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asking.failures == []


class Longest:
    """A cross-encoder by its interface: longer passages are better; it cannot read `broken`."""

    def rerank(self, query: str, documents: Iterable[str], batch_size: int = 64) -> Iterable[float]:
        if query == "broken":
            raise RuntimeError("onnx")
        return [float("nan") if text == "nan" else len(text) for text in documents]


async def test_a_cross_encoder_scores_in_a_thread() -> None:
    """One score a passage; what it throws or garbles is a `RerankError`"""
    reranker = FastReranker(Longest(), "some/model")
    try:
        assert await reranker.rerank("question", ["aa", "a", "aaa"]) == [2, 1, 3]
        with pytest.raises(RerankError, match=r"fastembed:some/model cannot score passages \(RuntimeError\)"):
            await reranker.rerank("broken", ["a"])
        with pytest.raises(RerankError, match="did not score each of 1"):
            await reranker.rerank("question", ["nan"])
    finally:
        await reranker.close()


async def test_a_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """GRAPEVINE_RERANK=fastembed:... without the package says how to get it"""
    monkeypatch.setitem(__import__("sys").modules, "fastembed", None)
    with pytest.raises(RerankError, match=r"GRAPEVINE_RERANK=fastembed:x needs a package: pip install fastembed"):
        await FastReranker.open("x")


def test_the_setting_says_what_it_accepts() -> None:
    assert parse_rerank(" http ") == RerankSpec(kind="http")
    assert parse_rerank("fastembed:BAAI/bge-reranker-base") == RerankSpec(
        kind="fastembed", name="BAAI/bge-reranker-base"
    )
    for wrong in ("", "http:x", "fastembed:", "cohere"):
        with pytest.raises(ValueError, match="is no reranker: use http or fastembed:NAME"):
            parse_rerank(wrong)


def test_an_endpoint_without_an_address_is_refused_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GRAPEVINE_RERANK=http alone names the setting that is missing"""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GRAPEVINE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GRAPEVINE_RERANK", "http")
    with pytest.raises(SettingsError, match="needs GRAPEVINE_RERANK_URL"):
        load()
    monkeypatch.setenv("GRAPEVINE_RERANK_URL", "http://127.0.0.1:1/v1/rerank")
    assert load()[0].rerank == "http"
