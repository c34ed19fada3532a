"""A conversation over real processes: it goes on on another replica, until it is forgotten on all of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.emulators.model import ModelServer, Reply, words
from tests.emulators.telegram import TelegramEmulator
from tests.support.process import grapevine, serving
from tests.support.redis_server import redis_server

pytestmark = [pytest.mark.timeout(300), pytest.mark.services]

QUESTION, FOLLOW_UP = "What does theft cover cost for a motorbike?", "And for cars?"
WHOLE = "What does theft cover cost for cars?"


def turns(log: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line for line in lines if line.get("event") == "turn"]


async def test_a_conversation_goes_on_wherever_it_is_continued(data: Path, tmp_path: Path) -> None:
    """A follow-up to a replica that has never seen the person is read with what another one answered; after /forget
    on that one, the first one's file holds nothing either"""
    other = tmp_path / "other" / "data"
    shutil.copytree(data, other)
    async with redis_server(tmp_path) as redis, TelegramEmulator() as telegram, ModelServer() as model:
        model.script(Reply(tokens=words("Theft cover costs 90,000 VND [1].")))
        model.script(Reply(rewrites=True, tokens=(WHOLE,)), Reply(tokens=words("For cars 400,000 VND [1].")))
        settings = {
            "TELEGRAM_BOT_TOKEN": telegram.token,
            "TELEGRAM_API_URL": telegram.url,
            "OPENAI_BASE_URL": model.base_url,
            "REDIS_URL": redis.url,
        }
        person = telegram.user(1001)

        def said(text: str) -> Any:
            return lambda t: [m for m in t.from_bot(1001) if text in m.text and not m.is_growing]

        async with serving(data, **settings) as first:
            telegram.say(QUESTION, user=person)
            await telegram.wait_for(said("90,000"))
        async with serving(other, **settings) as second:
            telegram.say(FOLLOW_UP, user=person)
            await telegram.wait_for(said("400,000"))
        (one,), (two,) = turns(first.log), turns(second.log)
        assert (one["rewrite_ms"], one["llm_calls"]) == (None, 1)
        assert two["rewrite_ms"] > 0
        assert two["llm_calls"] == 2
        (rewriting,) = [each for each in model.exchanges if each.is_rewriting]
        assert QUESTION in rewriting.prompt
        assert f"In the conversation it means: {WHOLE}" in model.exchanges[-1].prompt
        forgot = await grapevine("forget", "--json", "telegram:1001", data=other, REDIS_URL=redis.url)
        assert json.loads(forgot.out) == {"questions": 2, "is_complete": True}
        async with serving(data, **settings):
            pass
    assert b"90,000 VND" not in (data / "state.db").read_bytes()
