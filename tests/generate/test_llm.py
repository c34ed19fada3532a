"""The language model's answers, over a real connection to a scripted server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from openai import AsyncOpenAI

from rag.errors import (
    ModelBusy,
    ModelError,
    ModelInterrupted,
    ModelRefusedKey,
    ModelTimeout,
    ModelTruncated,
    ModelUnavailable,
)
from rag.generate.llm import OpenAIAnswerer, Patience
from rag.ports import GenerationRequest, Token
from rag.resilience.deadline import Deadline
from rag.types import Usage
from tests.emulators.model import Ending, ModelServer, Reply, words
from tests.support.passages import passage

SECRET_QUESTION = "What does the xyzzy clause cover?"


def request(*, seconds: float = 30.0) -> GenerationRequest:
    return GenerationRequest(
        question=SECRET_QUESTION,
        language="en",
        passages=(passage(1, "It covers floods."),),
        deadline=Deadline.after(seconds),
    )


def answerer(client: AsyncOpenAI, pauses: list[float] | None = None, **patience: Any) -> OpenAIAnswerer:
    """An answerer whose pauses before a retry are noted instead of waited for."""

    async def sleep(seconds: float) -> None:
        if pauses is not None:
            pauses.append(seconds)
        await asyncio.sleep(0)

    waits = replace(Patience(), **patience)
    return OpenAIAnswerer(client, "scripted", patience=waits, sleep=sleep, jitter=random.Random(1).random)


async def warm(server: ModelServer, client: AsyncOpenAI) -> None:
    """Open the connection first, so that a short deadline is spent on what the test is about."""
    await client.models.list()
    await server.asked()


async def collect(pieces: AsyncIterator[Token | Usage]) -> tuple[str, Usage | None, ModelError | None]:
    """The text, the usage and the error of one answer."""
    text, usage = "", None
    try:
        async for piece in pieces:
            if isinstance(piece, Usage):
                usage = piece
            else:
                text += piece.text
    except ModelError as error:
        return text, usage, error
    return text, usage, None


async def test_tokens_arrive_as_the_model_writes_them(server: ModelServer, client: AsyncOpenAI) -> None:
    """Each token is handed on when it is written, not when the answer is whole."""
    server.script(Reply(tokens=words("Floods are covered [1]."), held=True))
    stream = answerer(client).stream(request())
    begun = await anext(stream)
    assert isinstance(begun, Usage)
    assert (begun.model, begun.llm_calls, begun.unreported > 300) == ("scripted", 1, True)
    first = asyncio.ensure_future(anext(stream))
    exchange = await server.asked()
    await exchange.release(1)
    assert await first == Token("Floods")
    await exchange.release()
    text, usage, error = await collect(stream)
    assert text == " are covered [1]."
    assert error is None
    assert usage is not None
    assert (usage.model, usage.llm_calls, usage.output_tokens, usage.retries) == ("scripted", 1, 4, 0)
    assert usage.input_tokens


async def test_an_answer_without_usage_figures_is_still_an_answer(server: ModelServer, client: AsyncOpenAI) -> None:
    """A server that ignores the wish for usage figures costs only the figures."""
    server.script(Reply(tokens=("Yes.",), usage=False))
    text, usage, error = await collect(answerer(client).stream(request()))
    assert (text, error) == ("Yes.", None)
    assert usage is not None
    assert (usage.model, usage.llm_calls, usage.input_tokens, usage.output_tokens) == ("scripted", 1, None, None)


async def test_a_server_that_refuses_an_option_is_asked_without_it() -> None:
    """An endpoint that does not know `stream_options` works, and is not asked for it a second time."""
    async with ModelServer(knows_stream_options=False) as server:
        async with AsyncOpenAI(base_url=server.base_url, api_key="any", max_retries=0) as client:
            answers = answerer(client)
            for _ in range(2):
                text, _, error = await collect(answers.stream(request()))
                assert (text, error) == ("It covers floods. [1]", None)
        assert ["stream_options" in exchange.body for exchange in server.exchanges] == [True, False, False]


async def test_a_model_that_takes_no_temperature_works(server: ModelServer, client: AsyncOpenAI) -> None:
    """A model that refuses a setting by name is asked without that setting and keeps the others."""
    server.script(Reply(status=400, message="Unsupported value: 'temperature' does not support 0.2 with this model."))
    text, usage, error = await collect(answerer(client).stream(request()))
    assert (text, error) == ("It covers floods. [1]", None)
    assert "temperature" not in server.exchanges[1].body
    assert "stream_options" in server.exchanges[1].body
    assert usage is not None
    assert usage.retries == 0


@pytest.mark.parametrize(
    ("status", "expected", "calls"),
    [
        (401, ModelRefusedKey, 1),
        (403, ModelRefusedKey, 1),
        (404, ModelUnavailable, 1),
        (400, ModelUnavailable, 1),
        (429, ModelBusy, 2),
        (500, ModelUnavailable, 2),
        (503, ModelUnavailable, 2),
    ],
)
async def test_a_refusal_is_named_and_retried_only_where_that_helps(
    server: ModelServer, client: AsyncOpenAI, status: int, expected: type[ModelError], calls: int
) -> None:
    """Each status becomes its own error; only a busy or failing server is asked a second time, never a third."""
    server.script(Reply(status=status, message=f"Incorrect API key sk-secret for {SECRET_QUESTION}", times=0))
    text, usage, error = await collect(answerer(client).stream(request()))
    assert type(error) is expected
    assert text == ""
    assert len(server.exchanges) == calls
    assert usage is not None
    assert (usage.llm_calls, usage.retries) == (calls, calls - 1)
    assert "sk-secret" not in str(error)
    assert "xyzzy" not in str(error)


async def test_a_wrong_model_or_path_names_the_settings_to_check(server: ModelServer, client: AsyncOpenAI) -> None:
    """A 404 tells the operator which two settings to look at."""
    server.script(Reply(status=404))
    _, _, error = await collect(answerer(client).stream(request()))
    assert "LLM_MODEL (scripted)" in str(error)
    assert "OPENAI_BASE_URL" in str(error)


async def test_one_retry_saves_the_answer(server: ModelServer, client: AsyncOpenAI) -> None:
    """A single failure before the first token is not seen by the reader."""
    server.script(Reply(status=500), Reply(tokens=("Yes.",)))
    pauses: list[float] = []
    text, usage, error = await collect(answerer(client, pauses).stream(request()))
    assert (text, error) == ("Yes.", None)
    assert usage is not None
    assert (usage.retries, usage.llm_calls) == (1, 2)
    assert 0.25 <= pauses[0] <= 0.75


async def test_the_endpoint_says_how_long_to_wait(server: ModelServer, client: AsyncOpenAI) -> None:
    """`Retry-After` is honoured where the deadline allows, and nothing is retried where it does not."""
    server.script(Reply(status=429, headers={"Retry-After": "3"}), Reply(tokens=("Yes.",)))
    pauses: list[float] = []
    text, _, _ = await collect(answerer(client, pauses).stream(request()))
    assert (text, pauses) == ("Yes.", [3.0])
    server.script(Reply(status=429, headers={"Retry-After": "120"}))
    _, _, error = await collect(answerer(client, pauses).stream(request()))
    assert isinstance(error, ModelBusy)
    server.script(Reply(status=429, headers={"Retry-After": "3"}))
    _, _, error = await collect(answerer(client, pauses).stream(request(seconds=3.5)))
    assert isinstance(error, ModelBusy)
    assert pauses == [3.0]


async def test_nobody_listening_is_named_without_credentials() -> None:
    """A refused connection names host and port, not what else the URL holds."""
    async with ModelServer() as server:
        address = server.base_url
    base_url = address.replace("http://", "http://user:hunter2@")
    async with AsyncOpenAI(base_url=base_url, api_key="sk-secret", max_retries=0) as client:
        _, usage, error = await collect(answerer(client).stream(request()))
    assert isinstance(error, ModelUnavailable)
    assert "127.0.0.1" in str(error)
    assert "hunter2" not in str(error)
    assert usage is not None
    assert usage.retries == 1


@pytest.mark.parametrize("ending", ["close", "garbage", "error"])
async def test_breaking_off_in_the_middle_is_an_interruption(
    server: ModelServer, client: AsyncOpenAI, ending: Ending
) -> None:
    """After the first token a broken stream is reported as such, once, and never retried."""
    server.script(Reply(tokens=words("Floods are covered"), ending=ending, message=f"sk-secret {SECRET_QUESTION}"))
    text, usage, error = await collect(answerer(client).stream(request()))
    assert text == "Floods are covered"
    assert isinstance(error, ModelInterrupted)
    assert "sk-secret" not in str(error)
    assert len(server.exchanges) == 1
    assert usage is not None


@pytest.mark.parametrize("ending", ["close", "garbage", "error"])
async def test_breaking_off_before_the_first_word_is_retried(
    server: ModelServer, client: AsyncOpenAI, ending: Ending
) -> None:
    """Before the first token a closed or failing stream is worth a second try; garbage is an unusable endpoint."""
    server.script(Reply(tokens=(), ending=ending), Reply(tokens=("Yes.",)))
    text, _, error = await collect(answerer(client).stream(request()))
    if ending != "garbage":
        assert (text, error) == ("Yes.", None)
    else:
        assert isinstance(error, ModelUnavailable)


async def test_falling_silent_is_an_interruption(server: ModelServer, client: AsyncOpenAI) -> None:
    """A model that stops writing without a word is given up after the stall limit, and the connection closed."""
    server.script(Reply(tokens=words("Floods are"), ending="stall"))
    text, _, error = await collect(answerer(client, stall_s=0.3).stream(request()))
    assert (text, type(error)) == ("Floods are", ModelInterrupted)
    exchange = await server.asked()
    async with asyncio.timeout(5):
        await exchange.disconnected.wait()


@pytest.mark.parametrize("late", [True, False])
async def test_no_word_before_the_deadline(server: ModelServer, client: AsyncOpenAI, *, late: bool) -> None:
    """Whether headers or only tokens are missing: at the deadline the call ends and the server is rid of us."""
    await warm(server, client)
    server.script(Reply(tokens=("Yes.",), held=True, late=late))
    text, _, error = await collect(answerer(client).stream(request(seconds=0.5)))
    assert (text, type(error)) == ("", ModelTimeout)
    exchange = await server.asked()
    async with asyncio.timeout(5):
        await exchange.disconnected.wait()


async def test_the_deadline_in_the_middle(server: ModelServer, client: AsyncOpenAI) -> None:
    """A model still writing at the deadline is cut off, with what it wrote."""
    await warm(server, client)
    server.script(Reply(tokens=words("Floods are"), ending="stall"))
    text, _, error = await collect(answerer(client).stream(request(seconds=0.5)))
    assert (text, type(error)) == ("Floods are", ModelTimeout)


async def test_closing_the_stream_hangs_up(server: ModelServer, client: AsyncOpenAI) -> None:
    """Whoever stops reading stops the model: the server sees the connection close."""
    server.script(Reply(tokens=words("one two three"), held=True))
    stream = answerer(client).stream(request())
    await anext(stream)
    first = asyncio.ensure_future(anext(stream))
    exchange = await server.asked()
    await exchange.release(1)
    await first
    await stream.aclose()
    async with asyncio.timeout(5):
        await exchange.disconnected.wait()


@pytest.mark.parametrize("late", [True, False])
async def test_cancelling_the_reader_hangs_up(server: ModelServer, client: AsyncOpenAI, *, late: bool) -> None:
    """A cancelled task leaves no call behind, whether it waits for headers or for a token."""
    server.script(Reply(tokens=words("one two three"), held=True, late=late))
    reading = asyncio.create_task(collect(answerer(client).stream(request())))
    exchange = await server.asked()
    if not late:
        await exchange.release(1)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    async with asyncio.timeout(5):
        await exchange.disconnected.wait()


async def test_thoughts_are_not_shown(server: ModelServer, client: AsyncOpenAI) -> None:
    """Neither a reasoning field nor a think block reaches the reader."""
    server.script(Reply(reasoning=("Let me see",), tokens=("<thi", "nk>hm", "m</think", ">\n\nYes", " [1].")))
    text, _, error = await collect(answerer(client).stream(request()))
    assert (text, error) == ("Yes [1].", None)


@pytest.mark.parametrize(
    ("reply", "named"),
    [
        (Reply(tokens=()), "empty answer"),
        (Reply(tokens=("<think>all of it",)), "empty answer"),
        (Reply(tokens=(), finish="length"), "used up its tokens"),
    ],
)
async def test_an_empty_answer_is_an_error(server: ModelServer, client: AsyncOpenAI, reply: Reply, named: str) -> None:
    """A completion without a word says so instead of showing nothing."""
    server.script(reply)
    _, _, error = await collect(answerer(client).stream(request()))
    assert isinstance(error, ModelUnavailable)
    assert named in str(error)


async def test_an_answer_cut_at_the_token_limit_is_told_apart(server: ModelServer, client: AsyncOpenAI) -> None:
    """`finish_reason: length` keeps what was written and says that it is not all."""
    server.script(Reply(tokens=words("Floods are"), finish="length"))
    text, usage, error = await collect(answerer(client).stream(request()))
    assert (text, type(error)) == ("Floods are", ModelTruncated)
    assert usage is not None
    assert usage.output_tokens == 2


async def test_what_an_endpoint_does_not_report_is_estimated(server: ModelServer, client: AsyncOpenAI) -> None:
    """Prompt and answer of a call without figures; nothing where there are figures, or where we were turned away."""
    server.script(Reply(tokens=("Yes. " * 60,), usage=False), Reply(tokens=("Yes.",)), Reply(status=400))
    estimates = []
    for _ in range(3):
        _, usage, _ = await collect(answerer(client).stream(request()))
        assert usage is not None
        estimates.append(usage.unreported)
    assert estimates[0] > 400
    assert estimates[1:] == [0, 0]


async def test_a_missing_goodbye_costs_nothing(server: ModelServer, client: AsyncOpenAI) -> None:
    """A stream that ends after its finish reason, without `[DONE]`, is a whole answer."""
    server.script(Reply(tokens=("Yes.",), ending="no_done"))
    text, _, error = await collect(answerer(client).stream(request()))
    assert (text, error) == ("Yes.", None)


async def test_the_call_follows_its_own_retries_only(server: ModelServer, client: AsyncOpenAI) -> None:
    """Answers at the same time do not share their attempts: each failing call is retried by itself."""
    server.script(*(Reply(status=500) for _ in range(3)), Reply(times=0))
    results = await asyncio.gather(*(collect(answerer(client).stream(request())) for _ in range(3)))
    assert [text for text, _, _ in results] == ["It covers floods. [1]"] * 3
    assert len(server.exchanges) == 6


async def test_the_prompt_holds_passages_and_question(server: ModelServer, client: AsyncOpenAI) -> None:
    """What is sent is the model's name, the rules, the numbered passages and the question, as a stream."""
    await collect(answerer(client).stream(request()))
    body = server.exchanges[0].body
    assert body["model"] == "scripted"
    assert body["stream"] is True
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert '<passage n="1" title="Document 1">\nIt covers floods.\n</passage>' in body["messages"][1]["content"]
    assert SECRET_QUESTION in body["messages"][1]["content"]


async def test_connections_are_used_again(server: ModelServer, client: AsyncOpenAI) -> None:
    """A finished answer gives its connection back to the next one."""
    for _ in range(5):
        text, _, error = await collect(answerer(client).stream(request()))
        assert (text, error) == ("It covers floods. [1]", None)
    assert len({exchange.connection for exchange in server.exchanges}) == 1
