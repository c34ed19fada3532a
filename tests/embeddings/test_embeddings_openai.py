"""Embeddings over HTTP: in order, within the endpoint's limits, patient where it helps, and discreet in errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI

from rag.embeddings.openai import Limits, OpenAIEmbedder, acceptable, cut
from rag.errors import EmbeddingError
from rag.ports import Embedder
from tests.emulators.embeddings import EmbeddingsServer, Fault, vector_of

KEY = "sk-secret-0123456789"
TEXTS = [f"Clause {number}: cover against theft." for number in range(50)]


@pytest.fixture
async def server() -> AsyncIterator[EmbeddingsServer]:
    async with EmbeddingsServer(key=KEY) as running:
        yield running


@pytest.fixture
async def client(server: EmbeddingsServer) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as made:
        yield made


class Sleeper:
    """Sleeps in no time and writes down for how long."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_rows_are_in_the_order_of_the_texts(server: EmbeddingsServer, client: AsyncOpenAI) -> None:
    """Cut into many concurrent requests, answered out of order, longer than 1: unit rows, each at its place."""
    server.shuffles = True
    server.length = 3.0
    embedder = await OpenAIEmbedder.open(client, "any", limits=Limits(inputs=7))
    vectors = await embedder.embed(TEXTS)
    assert vectors.dtype == np.float32
    assert np.abs(vectors - [vector_of(text, 16) for text in TEXTS]).max() < 1e-6
    assert [len(request["input"]) for request in server.requests[1:]] == [7] * 7 + [1]
    assert (await embedder.embed([])).shape == (0, 16)
    await embedder.close()


async def test_the_width_is_learned_from_the_model(server: EmbeddingsServer, client: AsyncOpenAI) -> None:
    """Without `@N` one small request tells how wide the vectors are."""
    embedder: Embedder = await OpenAIEmbedder.open(client, "any")
    assert (embedder.name, embedder.dimensions, embedder.languages) == ("openai:any", 16, None)
    assert len(server.requests) == 1
    assert "dimensions" not in server.requests[0]
    with pytest.raises(EmbeddingError, match="not known before"):
        _ = OpenAIEmbedder(client, "any").dimensions


async def test_shorter_vectors_are_asked_for(server: EmbeddingsServer, client: AsyncOpenAI) -> None:
    """`@8` is passed on, is part of the name, and needs no request at the start."""
    embedder = await OpenAIEmbedder.open(client, "any", 8)
    assert (embedder.name, embedder.dimensions, server.requests) == ("openai:any@8", 8, [])
    assert (await embedder.embed(TEXTS[:2])).shape == (2, 8)
    assert server.requests[0]["dimensions"] == 8


async def test_another_width_than_asked_for_is_an_error(server: EmbeddingsServer, client: AsyncOpenAI) -> None:
    """An endpoint that ignores `dimensions` is found out, with the cure."""
    server.can_shorten = False
    with pytest.raises(EmbeddingError, match=r"16 dimensions for openai:any@8 instead of 8: .*drop `@8`"):
        await OpenAIEmbedder(client, "any", 8).embed(["text"])


async def test_a_model_that_changes_its_width_is_found_out(server: EmbeddingsServer, client: AsyncOpenAI) -> None:
    embedder = await OpenAIEmbedder.open(client, "any")
    server.dimensions = 32
    with pytest.raises(EmbeddingError, match="32 dimensions for openai:any instead of 16"):
        await embedder.embed(["text"])


async def test_servers_that_send_numbers_are_understood(server: EmbeddingsServer, client: AsyncOpenAI) -> None:
    """Not every server knows base64."""
    server.knows_base64 = False
    vectors = await OpenAIEmbedder(client, "any").embed(TEXTS[:3])
    assert np.abs(vectors - [vector_of(text, 16) for text in TEXTS[:3]]).max() < 1e-6


@pytest.mark.parametrize("fault", [Fault(429), Fault(500), Fault(503), Fault(408), Fault(0)])
async def test_a_passing_fault_is_ridden_out(server: EmbeddingsServer, client: AsyncOpenAI, fault: Fault) -> None:
    """Limited, broken or cut off once: the same request succeeds a moment later."""
    server.faults = [fault]
    sleeper = Sleeper()
    vectors = await OpenAIEmbedder(client, "any", sleep=sleeper).embed(["text"])
    assert vectors.shape == (1, 16)
    assert len(server.requests) == 2
    assert len(sleeper.slept) == 1


async def test_the_pause_the_server_asks_for_is_kept(server: EmbeddingsServer, client: AsyncOpenAI) -> None:
    """`Retry-After: 7` means seven seconds."""
    server.faults = [Fault(429, {"retry-after": "7"}), Fault(429, {"retry-after": "2"})]
    sleeper = Sleeper()
    await OpenAIEmbedder(client, "any", sleep=sleeper).embed(["text"])
    assert sleeper.slept == [7.0, 2.0]


async def test_a_question_is_not_kept_waiting_by_a_long_pause(server: EmbeddingsServer, client: AsyncOpenAI) -> None:
    """Seven seconds are fine for a document, not for somebody who waits for an answer."""
    server.faults = [Fault(429, {"retry-after": "7"})]
    sleeper = Sleeper()
    with pytest.raises(EmbeddingError, match="limiting embeddings"):
        await OpenAIEmbedder(client, "any", sleep=sleeper).embed(["text"], urgent=True)
    assert sleeper.slept == []


async def test_patience_ends(server: EmbeddingsServer, client: AsyncOpenAI) -> None:
    """A server that stays broken is given up with an error, after growing pauses."""
    server.faults = [Fault(500)] * 20
    sleeper = Sleeper()
    with pytest.raises(EmbeddingError, match=r"failed to embed \(500\)"):
        await OpenAIEmbedder(client, "any", sleep=sleeper).embed(["text"])
    assert len(server.requests) == 8
    assert max(sleeper.slept) <= 60


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(401), "refused the key (401): check EMBEDDING_API_KEY"),
        (Fault(403), "refused the key (403)"),
        (Fault(404), "does not know any (404): check EMBEDDING_MODEL"),
        (Fault(400), "refused to embed (400)"),
        (Fault(429, code="insufficient_quota"), "the quota is used up"),
        (Fault(200, body="<html>"), "no list of embeddings"),
        (Fault(200, body="[]"), "no list of embeddings"),
        (Fault(200, body='{"data": []}'), "no list of embeddings"),
        (Fault(200, body='{"data": [{"index": 0, "embedding": [0, 0]}]}'), "no list of embeddings"),
        (Fault(200, body='{"data": [{"index": 0, "embedding": [1e999]}]}'), "no list of embeddings"),
        (Fault(200, body='{"data": [{"index": 0, "embedding": "AAA"}]}'), "no list of embeddings"),
    ],
)
async def test_a_lasting_fault_is_said_at_once(
    server: EmbeddingsServer, client: AsyncOpenAI, fault: Fault, words: str
) -> None:
    """One request, one line that names the cause and where to look."""
    server.faults = [fault]
    with pytest.raises(EmbeddingError) as caught:
        await OpenAIEmbedder(client, "any", sleep=Sleeper()).embed(["the customer's text"])
    assert words in str(caught.value)
    assert "text" not in str(caught.value)
    assert len(server.requests) == 1


async def test_a_refused_key_is_not_repeated(server: EmbeddingsServer) -> None:
    """The endpoint's own message repeats the key; ours, and what a traceback would show, does not."""
    async with AsyncOpenAI(base_url=server.base_url, api_key="sk-wrong-999", max_retries=0) as client:
        with pytest.raises(EmbeddingError, match="refused the key") as caught:
            await OpenAIEmbedder(client, "any").embed(["text"])
    assert "sk-wrong" not in str(caught.value)
    assert caught.value.__suppress_context__


async def test_nobody_listening_is_said_with_the_address() -> None:
    """A wrong address: the message names host and port, not the path or the credentials in the URL."""
    async with AsyncOpenAI(base_url="http://user:pass@127.0.0.1:9/v1", api_key=KEY, max_retries=0) as client:
        with pytest.raises(
            EmbeddingError, match=r"no embeddings from 127\.0\.0\.1:9 \(.*check EMBEDDING_BASE_URL"
        ) as caught:
            await OpenAIEmbedder(client, "any", sleep=Sleeper()).embed(["text"])
    assert "pass" not in str(caught.value)


async def test_bulk_work_keeps_to_its_places_and_a_question_passes(
    server: EmbeddingsServer, client: AsyncOpenAI
) -> None:
    """With all places taken by bulk requests a question is asked and answered at once."""
    server.permits = asyncio.Semaphore(0)
    embedder = OpenAIEmbedder(client, "any", limits=Limits(inputs=1, concurrency=3))
    bulk = asyncio.create_task(embedder.embed(TEXTS[:10]))
    async with asyncio.timeout(30):
        while len(server.requests) < 3:
            await asyncio.sleep(0.001)
        question = asyncio.create_task(embedder.embed(["question"], urgent=True))
        while len(server.requests) < 4:
            await asyncio.sleep(0.001)
        assert server.requests[3]["input"] == ["question"]
        for _ in range(11):
            server.permits.release()
        await question
        assert (await bulk).shape == (10, 16)
    assert server.most_at_once == 4


async def test_one_failed_request_ends_the_others(server: EmbeddingsServer, client: AsyncOpenAI) -> None:
    """A bulk job that cannot succeed does not go on spending money."""
    server.faults = [Fault(400)]
    with pytest.raises(EmbeddingError, match="400"):
        await OpenAIEmbedder(client, "any", limits=Limits(inputs=1, concurrency=1)).embed(TEXTS)
    assert len(server.requests) == 1


@pytest.mark.parametrize("text", ["", "\ud800", "word " * 10_000, "🛵" * 5_000, "Bảo hiểm " * 5_000])
async def test_any_text_is_accepted_by_a_strict_endpoint(client: AsyncOpenAI, text: str) -> None:
    """Empty, broken or too long for the model: cut or mended, never a refused request."""
    assert (await OpenAIEmbedder(client, "any").embed([text])).shape == (1, 16)


@given(st.text(), st.integers(4, 40))
def test_a_cut_text_is_its_own_beginning(text: str, size: int) -> None:
    """Cutting never splits a character and never makes an empty text."""
    result = acceptable(text, size)
    assert 0 < len(result.encode()) <= size
    assert text.encode(errors="replace").decode().startswith(result) or not text


@given(st.lists(st.integers(1, 50), min_size=1), st.integers(1, 8), st.integers(1, 100))
def test_requests_hold_every_text_once_within_both_limits(sizes: list[int], inputs: int, size: int) -> None:
    spans = cut(sizes, inputs=inputs, size=size)
    assert [number for span in spans for number in range(len(sizes))[span]] == list(range(len(sizes)))
    for span in spans:
        part = sizes[span]
        assert len(part) == 1 or (len(part) <= inputs and sum(part) <= size)
