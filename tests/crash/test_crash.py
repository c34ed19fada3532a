"""kill -9 at every stage of an answer: nothing lost, stuck or doubled. `make bench-crash` has 200 turns."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.crash import CrashSuite, Outcome
from tests.support.redis_server import redis_server

pytestmark = pytest.mark.slow


def is_clean(outcome: Outcome) -> bool:
    return not (outcome.lost or outcome.doubled or outcome.rewritten)


async def test_one_process_killed_at_every_stage(ingested: Path, tmp_path: Path) -> None:
    """Ten turns, two kills: after each, the next start finishes every answer in the message it grew in."""
    async with CrashSuite(tmp_path, ingested=ingested) as suite:
        outcome = await suite.run(rounds=2)
    assert is_clean(outcome), outcome


@pytest.mark.services
async def test_two_replicas_killed_at_every_stage(ingested: Path, tmp_path: Path) -> None:
    """Ten turns, two kills of the replica that writes: the other one finishes what it had begun."""
    async with redis_server(tmp_path) as redis, CrashSuite(tmp_path, ingested=ingested, redis_url=redis.url) as suite:
        outcome = await suite.run(rounds=2)
    assert is_clean(outcome), outcome
