"""Budgets and rate limits that replicas share: decided exactly as the reference does, whatever the order of things."""

from __future__ import annotations

import random

import pytest
from redis.asyncio import Redis

from adapters.live.budget import Charge, Ledger, Limit, LocalBudget
from adapters.ports import Call, Method, Priority
from bot.state.redis_budget import RedisBudget, SharedBudget
from bot.state.redis_link import RedisLink
from bot.state.redis_rates import RedisRates
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.services

METHODS: tuple[Method, ...] = ("post", "edit", "delete", "action")


def limits(call: Call) -> tuple[Charge, ...]:
    """A chat's, a method's and the bot's: small, so that there is always somebody waiting."""
    return (
        Charge(key=f"chat:{call.chat}", limit=Limit(1.0, 3.0), member=call.ticket, is_shared=False),
        Charge(key=f"method:{call.method}", limit=Limit(3.0, 4.0), member=call.chat, is_shared=True),
        Charge(key="bot", limit=Limit(4.0, 6.0), member=call.chat, is_shared=True),
    )


@pytest.mark.parametrize("seed", range(4))
async def test_it_answers_as_the_reference_does(client: Redis, seed: int) -> None:
    """Grants, waits, levels and rates are the same in every random sequence of calls and refusals."""
    chance, now = random.Random(seed), 1_795_000_000.0
    ledger = Ledger(limits)
    shared = RedisBudget(client, limits, prefix="{test}", now=lambda: now)
    for step in range(500):
        now += chance.choice((0.0, 1 / 64, 1 / 8, 0.5, 2.0))
        call = Call(
            ticket=f"t{chance.randrange(6)}",
            chat=f"c{chance.randrange(4)}",
            method=chance.choice(METHODS),
            priority=chance.choice(list(Priority)),
        )
        if chance.random() < 0.1:
            pause_s = chance.choice((1.0, 3.0, 30.0))
            ledger.throttled(call, pause_s, now)
            await shared.throttled(call, pause_s)
        else:
            expected, found = ledger.take(call, now), await shared.take(call)
            assert found.wait_s == pytest.approx(expected.wait_s, abs=1e-4), step
            assert found.level == pytest.approx(expected.level, abs=1e-4), step
            assert found.per_second == pytest.approx(expected.per_second, abs=1e-4), step


async def test_two_replicas_spend_one_budget(client: Redis) -> None:
    """What one has spent, the other does not get."""
    one, two = (RedisBudget(client, limits, prefix="{test}", now=lambda: 5.0) for _ in range(2))
    call = Call(ticket="t", chat="c", method="edit", priority=Priority.FINAL)
    granted = [(await budget.take(call)).wait_s == 0.0 for budget in (one, two, one, two)]
    assert granted == [True, True, True, False]


async def test_it_goes_by_redis_s_clock(client: Redis) -> None:
    """Without a clock of its own it uses the server's: tokens come back by themselves."""
    budget = RedisBudget(client, limits, prefix="{test}")
    call = Call(ticket="t", chat="c", method="edit", priority=Priority.FINAL)
    while not (last := await budget.take(call)).wait_s:
        pass
    assert 0 < last.wait_s <= 1.0
    assert 0 < await client.ttl("{test}:bucket:bot") <= 600


async def test_without_redis_each_process_has_its_own(redis: RedisServer, client: Redis) -> None:
    """Redis gone: calls are granted by the process's own budget, which knows of every refusal."""
    link = RedisLink(client, timeout_s=5.0)
    await link.connect()
    budget = SharedBudget(RedisBudget(client, limits, prefix="{test}"), LocalBudget(limits, now=lambda: 5.0), link)
    call = Call(ticket="t", chat="c", method="edit", priority=Priority.FINAL)
    assert (await budget.take(call)).wait_s == 0.0
    await budget.throttled(call, 30.0)
    await redis.kill()
    assert (await budget.take(call)).wait_s == pytest.approx(30.0)
    assert (await budget.take(Call(ticket="t", chat="d", method="edit", priority=Priority.FINAL))).wait_s == 0.0


async def test_a_caller_s_rate_counts_over_all_replicas(client: Redis) -> None:
    """A burst, then a wait as long as a token takes; others are not affected, and what is full again is forgotten."""
    one, two = (RedisRates(client, prefix="{test}:rates", per_s=0.5, burst=3) for _ in range(2))
    waits = [await rates.take("client") for rates in (one, two, one, two)]
    assert waits[:3] == [0.0, 0.0, 0.0]
    assert 1.0 < waits[3] <= 2.0
    assert await one.take("another") == 0.0
    assert 0 < await client.ttl("{test}:rates:client") <= 7
