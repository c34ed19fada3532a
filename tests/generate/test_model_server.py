"""The scripted model server speaks to the real openai client as a real endpoint would."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from openai import APIError, AsyncOpenAI, AuthenticationError, NotFoundError

from tests.emulators.model import ModelServer, Reply, words


async def test_held_tokens_come_one_by_one(server: ModelServer, client: AsyncOpenAI) -> None:
    """A held reply gives exactly the tokens that were released, then the rest, then usage."""
    server.script(Reply(tokens=words("one two three"), held=True))
    asking = asyncio.create_task(
        client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": "x"}],
            stream=True,
            stream_options={"include_usage": True},
        ),
    )
    exchange = await server.asked()
    await exchange.release(1)
    stream = await asking
    chunks = aiter(stream)
    assert (await anext(chunks)).choices[0].delta.content == ""
    assert (await anext(chunks)).choices[0].delta.content == "one"
    await exchange.release()
    rest = [chunk async for chunk in chunks]
    assert [chunk.choices[0].delta.content for chunk in rest if chunk.choices] == [" two", " three", None]
    assert rest[-1].usage is not None
    assert rest[-1].usage.completion_tokens == 3
    assert not exchange.disconnected.is_set()


async def test_a_hang_up_is_noticed(server: ModelServer, client: AsyncOpenAI) -> None:
    """A client that closes its stream is noticed although nothing is being written."""
    server.script(Reply(tokens=("one", "two"), ending="stall"))
    stream = await client.chat.completions.create(model="m", messages=[], stream=True)
    exchange = await server.asked()
    await anext(aiter(stream))
    await stream.close()
    async with asyncio.timeout(5):
        await exchange.disconnected.wait()


async def test_without_a_script_it_echoes_the_passages(client: AsyncOpenAI) -> None:
    """An unscripted server answers from the passages in the prompt, with their numbers, streamed or not."""
    prompt = '<passage n="1" title="A">\nIt is red. Or blue.\n</passage>\n<passage n="2" title="B">\nTwo.\n</passage>'
    completion = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": prompt}])
    assert completion.choices[0].message.content == "It is red. [1]\n\nTwo. [2]"


async def test_replies_are_chosen_by_what_is_asked(server: ModelServer, client: AsyncOpenAI) -> None:
    """A reply with `when` is kept for the request that contains it; `times=0` never runs out."""
    server.script(Reply(when="flood", tokens=("wet",)), Reply(tokens=("dry",), times=0))
    got = []
    for text in ("fire", "a flood", "a flood"):
        completion = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])
        got.append(completion.choices[0].message.content)
    assert got == ["dry", "wet", "dry"]


async def test_it_refuses_as_openai_does() -> None:
    """A wrong key is 401 and an unknown model 404, as typed errors of the client."""
    async with ModelServer(key="right", models=("good",)) as server:
        async with AsyncOpenAI(base_url=server.base_url, api_key="wrong", max_retries=0) as client:
            with pytest.raises(AuthenticationError):
                await client.models.list()
        async with AsyncOpenAI(base_url=server.base_url, api_key="right", max_retries=0) as client:
            assert [model.id async for model in client.models.list()] == ["good"]
            with pytest.raises(NotFoundError):
                await client.chat.completions.create(model="bad", messages=[])


@pytest.mark.parametrize("ending", ["close", "garbage", "error"])
async def test_a_broken_ending_reaches_the_client(server: ModelServer, client: AsyncOpenAI, ending: str) -> None:
    """Each scripted breakage raises in the client after the tokens before it arrived."""
    server.script(Reply(tokens=("one",), ending=ending))  # type: ignore[arg-type] # a parametrised literal
    stream = await client.chat.completions.create(model="m", messages=[], stream=True)
    got: list[str | None] = []

    async def read() -> None:
        async for chunk in stream:
            got.extend(choice.delta.content for choice in chunk.choices)

    with pytest.raises((APIError, json.JSONDecodeError)):
        await read()
    assert got == ["", "one"]


async def test_embeddings_of_texts_that_share_words_are_near(client: AsyncOpenAI) -> None:
    """Embeddings have unit length and the asked dimensions, and shared words make them similar."""
    made = await client.embeddings.create(model="e", input=["red car", "red cars red", "blue sea"], dimensions=128)
    one, two, three = (item.embedding for item in made.data)
    assert len(one) == 128
    assert sum(x * x for x in one) == pytest.approx(1.0)
    assert sum(x * y for x, y in zip(one, two, strict=True)) > sum(x * y for x, y in zip(one, three, strict=True))


async def test_it_runs_as_a_process(tmp_path: Path) -> None:
    """Started by its module name, it prints its address, follows a script file and logs requests."""
    script = tmp_path / "replies.json"
    script.write_text(json.dumps([{"text": "hello there", "times": 0}]), encoding="utf-8")
    log = tmp_path / "log.jsonl"
    arguments = ["-m", "tests.emulators.model", "--pace", "0.001", "--script", str(script), "--log", str(log)]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        base_url = (await process.stdout.readline()).decode().strip()
        async with AsyncOpenAI(base_url=base_url, api_key="any", max_retries=0) as client:
            completion = await client.chat.completions.create(model="m", messages=[])
        assert completion.choices[0].message.content == "hello there"
        assert json.loads(log.read_text(encoding="utf-8").splitlines()[0])["path"] == "/v1/chat/completions"
    finally:
        process.terminate()
        await process.communicate()
