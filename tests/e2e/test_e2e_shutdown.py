"""What people see of a server that is told to stop."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import aiohttp
import orjson

from tests.emulators.model import ModelServer, Reply, words
from tests.support.process import serving

QUESTION = "Which handling fee is taken from a refund when a policy is cancelled?"


async def test_a_reader_on_the_web_gets_the_end_of_an_answer_that_a_shutdown_cuts(data: Path) -> None:
    """When the time to drain is over, what was written stays, as `stopped`; the model call ends, the turn is logged."""
    async with ModelServer() as model, aiohttp.ClientSession() as session:
        model.script(Reply(tokens=words("The fee is VND 30,000 [1]. It is taken off"), held=True))
        async with serving(data, OPENAI_BASE_URL=model.base_url, GRAPEVINE_DRAIN_S="0.2") as server:
            asked = {"question": QUESTION, "stream": True}
            async with session.post(f"{server.address}/api/v1/ask", json=asked) as response:
                exchange = await model.asked()
                while exchange.path != "/v1/chat/completions":
                    exchange = await model.asked()
                await exchange.release(4)
                while not (await response.content.readline()).startswith(b"event: delta"):
                    pass
                server.process.send_signal(signal.SIGTERM)
                rest = (await response.read()).decode()
            async with asyncio.timeout(10):
                await exchange.disconnected.wait()
                assert await server.process.wait() == 0
        name, _, end = rest.rstrip().rpartition("event: ")[2].partition("\ndata: ")
        assert (name, json.loads(end)["outcome"]) == ("done", "stopped")
        (line,) = [line for line in map(orjson.loads, server.log.read_bytes().splitlines()) if line["event"] == "turn"]
        assert (line["outcome"], line["llm_calls"], line["model"]) == ("stopped", 1, "gpt-4o-mini")
