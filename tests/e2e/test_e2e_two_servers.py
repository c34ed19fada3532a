"""Two `grapevine serve` over one data folder and one bot: a redeploy that overlaps, or a start by mistake."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.e2e.test_e2e_telegram import ANSWER, asked_to_answer, settings
from tests.emulators.model import ModelServer, Reply, words
from tests.emulators.telegram import TelegramEmulator
from tests.support.process import serving

pytestmark = pytest.mark.timeout(300)


async def test_two_servers_on_one_folder_share_a_bot(data: Path) -> None:
    """One polls and the other waits; when the first is killed, the second goes on polling and ends its answer"""
    async with TelegramEmulator() as telegram, ModelServer() as model:
        configured = settings(telegram, model)
        async with serving(data, **configured) as first:
            log = str(data.parent / "second.log")
            async with serving(data, **configured | {"GRAPEVINE_LOG": log}):
                model.script(Reply(tokens=words(ANSWER), held=True))
                telegram.say("What does theft cover cost?", user=telegram.user(1001))
                exchange = await asked_to_answer(model)
                await exchange.release(12)
                await telegram.wait_for(lambda t: t.from_bot(1001))
                await exchange.release(12)
                await telegram.wait_for(lambda t: t.from_bot(1001)[0].edits)
                assert {call.status for call in telegram.made("getUpdates")} <= {0, 200}
                await first.stop(signal.SIGKILL)
                model.script(Reply(tokens=words(ANSWER)), Reply(tokens=words("It begins after seven days [1].")))
                (message,) = await telegram.wait_for(
                    lambda t: [m for m in t.from_bot(1001) if m.text.count("Report the theft") == 3], timeout_s=60
                )
                assert telegram.from_bot(1001) == [message]
                telegram.say("What does theft cover cost?", user=telegram.user(1002))
                await telegram.wait_for(lambda t: [m for m in t.from_bot(1002) if "seven days" in m.text], timeout_s=60)
                async with asyncio.timeout(10):
                    await exchange.disconnected.wait()
