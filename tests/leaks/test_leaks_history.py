"""What was said before leaks nowhere: not to others, not to other conversations, not after access was taken away."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.emulators.model import ModelServer, Reply
from tests.support.tenants import House, opened_house, written

WIDE, NARROW = "*=public api=public,staff web=public,staff", "*=public"
QUESTION, FOLLOW_UP = "Who signs goodwill above the limit of theft cover?", "And how much is it?"
SECRETS = ("Marigold", "7,310,000", "goodwill")
DOCUMENTS = (
    written("public", "theft.md", "# Theft cover\n\nTheft cover costs 90,000 VND a year. How much it is depends.\n"),
    written(
        "staff",
        "limits.md",
        "# Payout limits\n\nThe goodwill limit of theft cover is 7,310,000 VND. Marigold signs goodwill above it.\n",
    ),
)


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as running:
        yield running


async def ask(client: ClientSession, question: str, **fields: Any) -> dict[str, Any]:
    async with client.post("/api/v1/ask", json={"question": question, **fields}) as response:
        body: dict[str, Any] = await response.json()
        assert response.status == 200, body
        return body


def sent_since(server: ModelServer, before: int) -> str:
    """What the model was told."""
    return json.dumps([each.body for each in server.exchanges[before:] if "messages" in each.body])


async def fed(house: House) -> None:
    await house.feed(list(DOCUMENTS))


@pytest.mark.parametrize("is_extractive", [True, False])
async def test_a_follow_up_is_read_with_what_may_be_read(
    tmp_path: Path, server: ModelServer, *, is_extractive: bool
) -> None:
    """The conversation is there for whoever may read all of it: the other tests look in the right place"""
    async with opened_house(tmp_path, access=WIDE, server=server, is_extractive=is_extractive) as house:
        await fed(house)
        async with house.caller("token") as client:
            first = await ask(client, QUESTION)
            assert any(secret in first["answer"] for secret in SECRETS)
            before = len(server.exchanges)
            second = await ask(client, FOLLOW_UP, conversation=first["conversation"])
    assert house.lines[-1].rewrite_ms is not None
    if is_extractive:
        assert "7,310,000" in second["answer"]
    else:
        assert QUESTION in sent_since(server, before)


@pytest.mark.parametrize("is_extractive", [True, False])
async def test_access_taken_away_takes_the_history_along(
    tmp_path: Path, server: ModelServer, *, is_extractive: bool
) -> None:
    """The same conversation after a restart with narrower access: answer and prompts are those of a first question"""
    async with opened_house(tmp_path, access=WIDE, server=server, is_extractive=is_extractive) as house:
        await fed(house)
        async with house.caller("token") as client:
            conversation = (await ask(client, QUESTION))["conversation"]
    async with (
        opened_house(tmp_path, access=NARROW, server=server, is_extractive=is_extractive) as house,
        house.caller("token") as client,
    ):
        before = len(server.exchanges)
        followed = await ask(client, FOLLOW_UP, conversation=conversation)
        middle = len(server.exchanges)
        fresh = await ask(client, FOLLOW_UP)
        told, told_fresh = sent_since(server, before), sent_since(server, middle)
    assert (followed["answer"], followed["outcome"]) == (fresh["answer"], fresh["outcome"])
    assert house.lines[-2].rewrite_ms is None
    assert told == json.dumps(2 * json.loads(told_fresh))
    assert not any(secret in told + str(followed) for secret in SECRETS)


async def test_a_narrower_question_is_not_read_with_a_wider_one(tmp_path: Path, server: ModelServer) -> None:
    """Whoever asks `public` alone, in a conversation about `staff`, gets what `public` says, and no more"""
    async with opened_house(tmp_path, access=WIDE, server=server) as house:
        await fed(house)
        async with house.caller("token") as client:
            first = await ask(client, QUESTION)
            before = len(server.exchanges)
            second = await ask(client, FOLLOW_UP, conversation=first["conversation"], collections=["public"])
    assert not any(secret in sent_since(server, before) + str(second) for secret in SECRETS)


async def test_conversations_and_callers_know_nothing_of_each_other(tmp_path: Path, server: ModelServer) -> None:
    """Another conversation of the same caller, and other callers: each first question is a first question"""
    async with opened_house(tmp_path, access=WIDE, server=server) as house:
        await fed(house)
        async with house.caller("token") as client:
            conversation = (await ask(client, QUESTION))["conversation"]
            before = len(server.exchanges)
            await ask(client, FOLLOW_UP)
        for who in ("member", "page", "anonymous"):
            async with house.caller(who) as client:
                await ask(client, FOLLOW_UP, collections=["public"])
                body = {"question": FOLLOW_UP, "conversation": conversation}
                async with client.post("/api/v1/ask", json=body) as response:
                    assert response.status == 404
    prompts = [each.prompt for each in server.exchanges[before:] if "messages" in each.body]
    assert len(prompts) == 4
    assert not any(QUESTION in prompt for prompt in prompts)
    assert all(line.rewrite_ms is None for line in house.lines)


async def test_a_rewritten_question_is_not_remembered_beyond_its_access(tmp_path: Path, server: ModelServer) -> None:
    """What a follow-up was understood as names what it was about: it goes with the access to that, too"""
    server.script(Reply(rewrites=True, tokens=("How much is the goodwill limit that Marigold signs above?",)))
    async with opened_house(tmp_path, access=WIDE, server=server) as house:
        await fed(house)
        async with house.caller("token") as client:
            conversation = (await ask(client, QUESTION))["conversation"]
            await ask(client, FOLLOW_UP, conversation=conversation)
    async with opened_house(tmp_path, access=NARROW, server=server) as house:
        before = len(server.exchanges)
        async with house.caller("token") as client:
            await ask(client, FOLLOW_UP, conversation=conversation)
    assert not any(secret in sent_since(server, before) for secret in SECRETS)
