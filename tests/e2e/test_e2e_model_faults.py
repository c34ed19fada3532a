"""What somebody who asks sees when the model behind `grapevine serve` misbehaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import orjson

from rag.generate.phrases import failure_text
from tests.emulators.model import ModelServer, Reply, words
from tests.support.process import serving

QUESTION = "Which handling fee is taken from a refund when a policy is cancelled?"
KEY = "sk-a-key-that-nobody-may-read"
BEGUN = words("The fee is VND 30,000 [1]. It is taken off")

# What the model does (`times=0`: however often it is asked), the outcome, the code in the log, and the words shown.
FAULTS = [
    (Reply(status=401, message=f"wrong key {KEY}", times=0), "failed", "model_refused_key"),
    (Reply(status=429, headers={"Retry-After": "3600"}, times=0), "failed", "model_busy"),
    (Reply(status=500, times=0), "failed", "model_unavailable"),
    (Reply(ending="garbage", times=0, tokens=()), "failed", "model_unavailable"),
    (Reply(tokens=BEGUN, ending="garbage"), "incomplete", "model_interrupted"),
    (Reply(tokens=BEGUN, ending="close"), "incomplete", "model_interrupted"),
]


async def test_a_model_that_misbehaves_is_told_in_plain_words(data: Path) -> None:
    """Wrong key, throttled, broken, garbage, cut off: plain words, a code in the log, and the next answer is whole"""
    async with ModelServer() as model, aiohttp.ClientSession() as session:
        async with serving(
            data, OPENAI_BASE_URL=model.base_url, OPENAI_API_KEY=KEY, GRAPEVINE_DEADLINE_S="10"
        ) as server:

            async def ask() -> dict[str, Any]:
                async with session.post(f"{server.address}/api/v1/ask", json={"question": QUESTION}) as response:
                    answer: dict[str, Any] = await response.json()
                    assert ("error" in answer) == (response.status >= 500)
                    return answer

            for reply, outcome, code in FAULTS:
                model.forget()
                model.script(reply)
                told = await ask()
                if outcome == "failed":
                    assert (told["error"]["code"], told["error"]["message"]) == (code, failure_text(code, "en"))
                else:
                    assert told["outcome"] == outcome
                    assert told["answer"].startswith("The fee is VND 30,000 [1].")
            model.forget()
            assert (await ask())["outcome"] == "answered"
        log = server.log.read_text()
        lines = [line for line in map(orjson.loads, log.splitlines()) if line["event"] == "turn"]
        assert [line["error"] for line in lines] == [*(code for _, _, code in FAULTS), None]
        assert KEY not in log + "".join(server.said)
        assert "Traceback" not in log
        assert QUESTION not in log
