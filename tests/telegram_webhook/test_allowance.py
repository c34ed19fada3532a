from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiogram import Bot

from adapters.live.budget import Limit, LocalBudget, per_chat
from adapters.ports import Platform
from adapters.telegram.platform import TelegramPlatform
from bot.allowance import Allowance, Ceilings
from bot.intake import Intake
from bot.lanes import Lanes
from bot.outbox import Outbox
from bot.smalltalk import SmallTalk
from bot.state.redis_link import RedisLink
from bot.state.redis_rates import RedisRates
from bot.state.spending import RedisSpending, SharedSpending, SqliteSpending
from bot.state.sqlite import SqliteState
from bot.state.turns import SqliteTurns
from bot.telemetry.line import TurnLine
from bot.turn import Turns
from rag.types import Done, Usage
from tests.emulators.telegram import TelegramEmulator
from tests.support.answers import ScriptedEngine, deltas, inbound
from tests.support.redis_server import VERSIONS, client_of, redis_server
from tests.telegram_webhook.conftest import cancelled

USAGE = Usage(llm_calls=1, input_tokens=90, output_tokens=10)
KEY = b"k" * 32


@dataclass(slots=True)
class Clock:
    """Both clocks of a test."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True, kw_only=True)
class Running:
    """The process's pieces from the poller to the log line."""

    emu: TelegramEmulator
    engine: ScriptedEngine
    clock: Clock
    lines: list[TurnLine] = field(default_factory=list)

    async def ask(self, text: str, *, user: int = 1001, language: str = "en") -> TurnLine:
        """Write something; the line that it ends with."""
        before = len(self.lines)
        self.emu.say(text, user=self.emu.user(user, language_code=language))
        while len(self.lines) == before:
            await asyncio.sleep(0)
        return self.lines[-1]

    def said(self, user: int = 1001) -> list[str]:
        return [message.text for message in self.emu.from_bot(user)]


@asynccontextmanager
async def running(
    emu: TelegramEmulator, bot: Bot, state: SqliteState, ceilings: Ceilings, clock: Clock
) -> AsyncIterator[Running]:
    done = Done(outcome="answered", answer="It costs 5.", usage=USAGE)
    one = Running(emu=emu, engine=ScriptedEngine(*deltas("It costs 5."), done), clock=clock)
    turns = Turns(
        engine=one.engine, small_talk=SmallTalk(contact=None), write=one.lines.append, hash_key=KEY, deadline_s=1e9
    )
    store = SqliteTurns(state)
    admins = frozenset({"telegram:9000"})
    ledger = await SqliteSpending.open(state)
    intake = Intake(
        turns=turns,
        lanes=Lanes(store, owner="a"),
        outbox=Outbox(store, owner="a"),
        may_read=_public,
        admins=admins,
        allowance=Allowance(ceilings, ledger, key=KEY, admins=admins, now=clock, clock=clock),
    )
    budget = LocalBudget(per_chat(Limit(100, 20)))
    platform = TelegramPlatform(bot, accept=intake.accept, stop=intake.stop, budget=budget)
    intake.connect("telegram", platform)
    polling = asyncio.create_task(platform.run())
    await emu.wait_for(lambda e: e.updates.is_polled)
    yield one
    await cancelled(polling)
    await intake.drain(timeout_s=5)
    await platform.close()


async def _public(_platform: Platform, _place: str) -> frozenset[str]:
    return frozenset({"public"})


async def test_who_asks_too_fast_is_told_once_and_may_ask_again_later(
    emu: TelegramEmulator, bot: Bot, state: SqliteState
) -> None:
    """Three a minute: the fourth gets a kind sentence, the fifth silence, and after a while it goes on."""
    async with running(emu, bot, state, Ceilings(asks_per_minute=3), Clock()) as one:
        outcomes = [(await one.ask(f"What does cover {n} cost?")).outcome for n in range(6)]
        assert outcomes == ["answered"] * 3 + ["limited"] * 3
        assert len(one.engine.questions) == 3
        assert sum("faster than I can answer" in text for text in one.said()) == 1
        assert len(one.said()) == 4
        assert (await one.ask("And for me?", user=1002)).outcome == "answered"  # somebody else's pace is their own
        one.clock.now += 20.5
        assert (await one.ask("What does cover 7 cost?")).outcome == "answered"
        one.clock.now += 61
        for n in range(4):
            await one.ask(f"Again {n}?")
        assert sum("faster than I can answer" in text for text in one.said()) == 2


async def test_the_sentence_is_in_the_asker_s_language(emu: TelegramEmulator, bot: Bot, state: SqliteState) -> None:
    """Who asks in Vietnamese is told in Vietnamese."""
    async with running(emu, bot, state, Ceilings(asks_per_minute=1), Clock()) as one:
        await one.ask("Phí bảo hiểm mất cắp là bao nhiêu?", language="vi")
        await one.ask("Còn bảo hiểm xe máy thì sao?", language="vi")
        await emu.wait_for(lambda e: len(e.from_bot(1001)) == 2)
        assert one.said()[1].startswith("Bạn hỏi nhanh quá")


async def test_admins_may_ask_as_fast_as_they_like(emu: TelegramEmulator, bot: Bot, state: SqliteState) -> None:
    """The pace is for customers."""
    async with running(emu, bot, state, Ceilings(asks_per_minute=1), Clock()) as one:
        outcomes = [(await one.ask(f"What does cover {n} cost?", user=9000)).outcome for n in range(4)]
        assert outcomes == ["answered"] * 4


async def test_a_person_s_tokens_of_the_day_run_out_and_come_back(
    emu: TelegramEmulator, bot: Bot, state: SqliteState
) -> None:
    """A hundred tokens a turn, 200 a day: two answers, one sentence, silence; the next day it is as before."""
    async with running(emu, bot, state, Ceilings(daily_tokens_per_person=200), Clock()) as one:
        outcomes = [(await one.ask(f"What does cover {n} cost?")).outcome for n in range(4)]
        assert outcomes == ["answered", "answered", "limited", "limited"]
        assert sum("what I may do for one person" in text for text in one.said()) == 1
        assert (await one.ask("And for me?", user=1002)).outcome == "answered"
        one.clock.now += 86_400
        assert (await one.ask("And today?")).outcome == "answered"


async def test_everybody_s_tokens_of_the_day_run_out(emu: TelegramEmulator, bot: Bot, state: SqliteState) -> None:
    """300 tokens for all together: three people's answers, then each is told once."""
    async with running(emu, bot, state, Ceilings(daily_tokens=300), Clock()) as one:
        outcomes = [(await one.ask("What does cover cost?", user=2000 + n)).outcome for n in range(5)]
        assert outcomes == ["answered"] * 3 + ["limited"] * 2
        for user in (2003, 2004):
            while not one.said(user):
                await asyncio.sleep(0)
            assert "used up what I may do in a day" in one.said(user)[0]


async def test_what_costs_nothing_is_not_counted(state: SqliteState) -> None:
    """Answers that quote the documents take no tokens: the day's allowance is untouched."""
    ledger = await SqliteSpending.open(state)
    allowance = Allowance(Ceilings(daily_tokens_per_person=1), ledger, key=KEY)
    question = inbound("What does cover cost?", event_id="1")
    for _ in range(3):
        await allowance.spend(question, 0)
    assert await allowance.verdict(question) is None
    await allowance.spend(question, 1)
    assert (await allowance.verdict(question)) is not None


async def test_who_spent_what_is_kept_under_a_pseudonym_for_two_days(state: SqliteState) -> None:
    """The state file holds no ids of people, and forgets a day's figures."""
    clock = Clock()
    ledger = await SqliteSpending.open(state)
    allowance = Allowance(Ceilings(daily_tokens=10**9), ledger, key=KEY, now=clock)
    for _ in range(4):
        await allowance.spend(inbound("?", event_id="1", sender="424242"), 7)
        clock.now += 86_400
    rows = await state.run(lambda db: db.execute("SELECT day, person, tokens FROM spending").fetchall())
    assert {row[2] for row in rows} == {7}
    assert len({row[0] for row in rows}) == 2
    assert not any("424242" in row[1] for row in rows)


@pytest.mark.parametrize("version", VERSIONS)
async def test_replicas_count_together_and_each_alone_while_redis_is_away(
    tmp_path: Path, state: SqliteState, version: str
) -> None:
    """Two processes share pace and tokens over Redis; without it each goes by its own count."""
    ceilings = Ceilings(asks_per_minute=2, daily_tokens_per_person=100)

    async with redis_server(tmp_path, version) as server:
        client = client_of(server.url)
        link = RedisLink(client, timeout_s=5.0)
        await link.connect()

        def rates(name: str, per_s: float, burst: int) -> _Linked:
            return _Linked(RedisRates(client, prefix=f"{{t}}:{name}", per_s=per_s, burst=burst), link)

        shared = RedisSpending(client, prefix="{t}:spent")
        others = [await SqliteState.open(tmp_path / f"{n}.db") for n in range(2)]
        ledgers = [SharedSpending(shared, await SqliteSpending.open(own), link) for own in others]
        one, two = (Allowance(ceilings, ledger, key=KEY, rates=rates) for ledger in ledgers)
        question = inbound("What does cover cost?", event_id="1")
        assert await one.verdict(question) is None
        assert await two.verdict(question) is None
        refused = await one.verdict(question)
        assert refused is not None
        assert (refused.why, refused.is_news) == ("too_fast", True)
        again = await two.verdict(question)
        assert again is not None
        assert not again.is_news
        await one.spend(question, 100)
        assert await two._overspent(two._person(question)) == "spent"
        await server.kill()
        assert await one._overspent(one._person(question)) == "spent"
        assert await two._overspent(two._person(question)) is None
        for own in others:
            await own.close()
        await client.aclose()


@dataclass(frozen=True, slots=True)
class _Linked:
    rates: RedisRates
    link: RedisLink

    async def take(self, caller: str) -> float:
        return await self.link.call(self.rates.take(caller))
