"""`grapevine feedback` and `grapevine forget`, as processes over the files that a server has written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.past import PastAnswer
from bot.conversations import Conversations
from bot.state.redis_link import RedisLink
from bot.state.redis_transcripts import RedisTranscripts
from bot.state.sqlite import SqliteState
from bot.state.transcripts import SqliteTranscripts
from tests.support.process import grapevine
from tests.support.redis_server import client_of, redis_server


async def _nothing(*_: object) -> frozenset[str]:
    return frozenset()


def past(talk: Conversations, past_id: str, person: str = "1001", **fields: Any) -> PastAnswer:
    values: dict[str, Any] = {
        "id": past_id,
        "platform": "telegram",
        "conversation": person,
        "place": person,
        "person": person,
        "asked_at": talk.now() - 60,
        "question": f"What does {past_id} cost?",
        "answer": "It costs 5 [1].",
        "handle": f"m-{past_id}",
    }
    return PastAnswer(**(values | fields))


async def written(data: Path) -> None:
    """Two answers, one of them found bad and one good."""
    state = await SqliteState.open(data / "state.db")
    try:
        talk = Conversations(await SqliteTranscripts.open(state), may_read=_nothing)
        await talk.keep(past(talk, "theft"))
        await talk.keep(past(talk, "flood", "2002"))
        await talk.rate("telegram", "1001", "m-theft", "1001", "down", "wrong price")
        await talk.rate("telegram", "2002", "m-flood", "2002", "up")
    finally:
        await state.close()


async def test_feedback_lists_what_people_thought(tmp_path: Path) -> None:
    """Question, answer, verdict and reason, for people and for programs; not who it was."""
    data = tmp_path / "data"
    assert (await grapevine("feedback", data=data)).out == "no answer was rated\n"
    await written(data)
    shown = await grapevine("feedback", data=data)
    assert shown.code == 0
    assert "wrong price" in shown.out
    assert "Q: What does flood cost?\nA: It costs 5 [1]." in shown.out
    assert "1001" not in shown.out
    listed = json.loads((await grapevine("feedback", "--json", "--down", "--since", "1", data=data)).out)
    (one,) = listed
    assert (one["question"], one["answer"]) == ("What does theft cost?", "It costs 5 [1].")
    assert [(rating["verdict"], rating["reason"]) for rating in one["ratings"]] == [("down", "wrong price")]
    assert "1001" not in json.dumps(listed)


async def test_forget_erases_a_person(tmp_path: Path) -> None:
    """Their questions, answers and ratings; it leaves an audit line without their name."""
    data, log = tmp_path / "data", tmp_path / "log.jsonl"
    await written(data)
    told = await grapevine("forget", "telegram:1001", data=data, GRAPEVINE_LOG=str(log))
    assert (told.code, told.out) == (0, "1 question forgotten\n")
    assert "theft" not in (await grapevine("feedback", data=data)).out
    (line,) = [json.loads(line) for line in log.read_text().splitlines()]
    assert (line["event"], line["action"], line["outcome"]) == ("audit", "forget", "done")
    assert "1001" not in json.dumps(line)
    again = await grapevine("forget", "--json", "telegram:1001", data=data)
    assert json.loads(again.out) == {"questions": 0, "is_complete": True}


@pytest.mark.parametrize("who", ["1001", "telegram:", "signal:1001"])
async def test_forget_says_whom_it_cannot_know(tmp_path: Path, who: str) -> None:
    """One line that names the form."""
    told = await grapevine("forget", who, data=tmp_path / "data")
    assert told.code == 2
    assert told.err == (
        f"grapevine: `{who}` names nobody; write PLATFORM:PERSON, "
        "PLATFORM being one of telegram, slack, web, api, console\n"
    )


@pytest.mark.services
async def test_forget_reaches_all_replicas_or_says_so(tmp_path: Path) -> None:
    """Over Redis what others keep is erased; with Redis away the command fails, and what is here is erased."""
    data = tmp_path / "data"
    async with redis_server(tmp_path) as redis:
        client = client_of(redis.url)
        shared = RedisTranscripts(client, prefix=f"{RedisLink(client).prefix}:said")
        talk = Conversations(shared, may_read=_nothing)
        await talk.keep(past(talk, "theft"))
        told = await grapevine("forget", "telegram:1001", data=data, REDIS_URL=redis.url)
        assert (told.code, told.out) == (0, "1 question forgotten\n")
        assert await talk.last("telegram", "1001", "1001") is None
        await client.aclose()
        await redis.kill()
        await written(data)
        told = await grapevine("forget", "telegram:2002", data=data, REDIS_URL=redis.url)
        assert (told.code, told.out) == (1, "1 question forgotten\n")
        assert "REDIS_URL does not answer" in told.err
