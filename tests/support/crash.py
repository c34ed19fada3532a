"""kill -9 at every stage of many turns, over real processes: what is lost, stuck or doubled in the end.

One round has five turns in four chats, each brought to its stage, then the process that writes them is killed:

- *queued*: behind an answer that is being written
- *before post*: the model has been asked and has said nothing yet; in every second round, its first words have just
  appeared, and their message's id is not recorded yet
- *mid-stream*: part of the answer is on the screen
- *before final*: the final text is known, and the chat may not be written to just then
- *after final*: the final text has just appeared

Every update is delivered ten times, out of order. With two replicas the other one takes over while the first is
started again. A question has to be answered in exactly one message, whole; the one exception is a first post that was
on the screen when the process died, before its id had been recorded: it is counted.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, cast

import orjson
from redis.asyncio import Redis

from tests.emulators.model import Exchange, ModelServer, Reply, words
from tests.emulators.telegram import TelegramEmulator
from tests.emulators.telegram.faults import Bucket, Limits
from tests.emulators.telegram.world import Json, Message
from tests.support.process import Server, serving
from tests.support.redis_server import client_of

PER_ROUND = 5
_BODY = "Theft of the whole motorbike is covered by product TC-03, for 0.9% of its value a year [1]. " * 2


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of all turns."""

    turns: int
    lost: list[str] = field(default_factory=list)
    """Questions without their whole answer."""
    doubled: list[str] = field(default_factory=list)
    """Chats with a message too many, beyond the counted."""
    orphans: int = 0
    """First posts that the process did not live to record."""
    rewritten: list[str] = field(default_factory=list)
    """Questions whose answer was known when the process died, and was asked for again all the same."""
    recovery_s: list[float] = field(default_factory=list)
    """From each kill until everything that was owed then stood there."""
    throttled: int = 0
    """Calls that Telegram refused with 429; the suite provokes at least one a round (before final)."""


@dataclass(slots=True, kw_only=True)
class _Question:
    name: str
    chat: int

    @property
    def text(self) -> str:
        return f"What does theft cover cost for my motorbike? My case is {self.name}."

    @property
    def asked(self) -> str:
        """What only the model's prompt for this question contains: those after it in its chat quote it as well."""
        return f"My case is {self.name}.\n</question>"

    @property
    def tokens(self) -> tuple[str, ...]:
        return words(f"{_BODY}This answers {self.name}.")

    def is_answered_by(self, message: Message) -> bool:
        """Whether the message holds the whole answer, and is not growing any more."""
        is_growing = any(button["callback_data"].startswith("stop:") for button in message.buttons)
        return f"This answers {self.name}." in message.text and not is_growing


class CrashSuite:
    """Runs rounds until enough turns were hurt, then lets everything come to its end.

    Args:
        folder: For everything; the suite's own.
        ingested: A data folder with documents in it, to copy.
        redis_url: Shared by two replicas; None: one process over its state file.
        seed: Of the order of replays.
    """

    def __init__(self, folder: Path, *, ingested: Path, redis_url: str | None = None, seed: int = 1) -> None:
        self._folder = folder
        self._ingested = ingested
        self._redis_url = redis_url
        self._random = random.Random(seed)
        self._telegram = TelegramEmulator(limits=Limits())
        self._model = ModelServer(pace_s=0.005)
        self._redis: Redis | None = None
        self._stack = AsyncExitStack()
        self._servers: dict[int, Server] = {}
        self._updates: list[Json] = []
        self._questions: list[_Question] = []
        self._orphans: set[tuple[int, int]] = set()
        self._known: set[str] = set()
        self._kills: list[float] = []
        self._releases: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._telegram)
        await self._stack.enter_async_context(self._model)
        if self._redis_url is not None:
            self._redis = client_of(self._redis_url)
            self._stack.push_async_callback(self._redis.aclose)
        for replica in range(self._replicas):
            (self._folder / str(replica)).mkdir()
            await asyncio.to_thread(shutil.copytree, self._ingested, self._data(replica))
        await asyncio.gather(*(self._launch(replica) for replica in range(self._replicas)))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._releases:
            task.cancel()
        await asyncio.gather(*self._releases, return_exceptions=True)
        await self._stack.aclose()

    @property
    def _replicas(self) -> int:
        return 1 if self._redis_url is None else 2

    async def run(self, *, rounds: int) -> Outcome:
        """Play the rounds and judge."""
        outcome = Outcome(turns=rounds * PER_ROUND)
        for number in range(rounds):
            await self._round(number)
            hurt = list(self._questions)
            loop = asyncio.get_running_loop()
            died_at = loop.time()
            replica = await self._kill_the_writer()
            await self._launch(replica)
            self._replay()
            await self._until_answered(hurt)
            outcome.recovery_s.append(loop.time() - died_at)
        self._replay()
        await self._until_settled()
        self._judge(outcome)
        return outcome

    # One round.

    async def _round(self, number: int) -> None:
        first = 1000 + 10 * number
        streaming, queued = self._ask(first, "mid-stream", number), _Question(name=f"queued-{number:03}", chat=first)
        silent = self._ask(first + 1, "before-post", number)
        decided = self._ask(first + 2, "before-final", number)
        finished = self._ask(first + 3, "after-final", number, is_held=False)
        exchanges = [await self._asked(question) for question in (streaming, silent, decided)]
        await exchanges[0].release(12)
        await self._wait(lambda _: self._messages(streaming.chat))
        self._say(queued)
        await exchanges[2].release(3)
        await self._wait(lambda _: self._messages(decided.chat))
        await exchanges[2].release(9)
        await self._wait(lambda _: self._messages(decided.chat)[0].edits)
        self._close_chat(decided.chat)
        await exchanges[2].release()
        await self._wait(
            lambda t: [c for c in t.calls if c.status == 429 and str(c.params.get("chat_id")) == str(decided.chat)]
        )
        await self._until_recorded(decided)
        await exchanges[0].release(12)
        await self._wait(lambda _: self._messages(streaming.chat)[0].edits)
        await self._until_recorded(queued, final=False)
        self._replay()
        await self._wait(lambda _: self._message_of(finished))
        if number % 2:
            # The kill falls between the first post and the record of its id.
            await exchanges[1].release(3)
            await self._wait(lambda _: self._messages(silent.chat))

    def _ask(self, chat: int, stage: str, number: int, *, is_held: bool = True) -> _Question:
        question = _Question(name=f"{stage}-{number:03}", chat=chat)
        if is_held:
            self._model.script(Reply(when=question.asked, tokens=question.tokens, held=True))
        self._say(question)
        return question

    def _say(self, question: _Question) -> None:
        """Ask; what the model is asked for anew later, it says at once."""
        self._model.script(Reply(when=question.asked, tokens=question.tokens, times=0))
        self._questions.append(question)
        self._telegram.say(question.text, user=self._telegram.user(question.chat))
        self._updates.append(dict(self._telegram.updates.pending[-1]))

    async def _asked(self, question: _Question) -> Exchange:
        while True:
            for exchange in self._model.exchanges:
                if question.asked in exchange.prompt:
                    return exchange
            await asyncio.sleep(0.01)

    def _close_chat(self, chat: int) -> None:
        """Nothing more may be written there for half a minute."""
        limit = self._telegram.flood.limits.private
        assert limit is not None
        rate, burst = limit
        self._telegram.flood._buckets[f"chat:{chat}"] = Bucket(
            rate=rate, burst=burst, level=-30.0, at=self._telegram.now()
        )

    def _open_chats(self) -> None:
        for question in self._questions:
            self._telegram.flood._buckets.pop(f"chat:{question.chat}", None)

    def _replay(self) -> None:
        """Every update ten times more, in any order."""
        again = [update for update in self._updates[-PER_ROUND:] for _ in range(10)]
        self._random.shuffle(again)
        for update in again:
            self._telegram.updates.replay(update)

    # Processes.

    def _data(self, replica: int) -> Path:
        return self._folder / str(replica) / "data"

    async def _launch(self, replica: int) -> None:
        redis = {"REDIS_URL": self._redis_url} if self._redis_url else {}
        self._servers[replica] = await self._stack.enter_async_context(
            serving(
                self._data(replica),
                TELEGRAM_BOT_TOKEN=self._telegram.token,
                TELEGRAM_API_URL=self._telegram.url,
                OPENAI_BASE_URL=self._model.base_url,
                OPENAI_API_KEY="sk-of-the-suite",
                LLM_MODEL="scripted",
                GRAPEVINE_REWRITE_MODEL="rule",
                **redis,
            )
        )

    async def _kill_the_writer(self) -> int:
        replica = await self._writer()
        await self._servers[replica].stop(signal.SIGKILL)
        # A replica that was without Redis for a moment may have taken a question, too: it is not dead, and goes on.
        self._let_the_model_go_on()
        await self._count_orphans()
        self._known |= {question.name for question in self._questions if await self._has_final(question)}
        self._open_chats()
        return replica

    def _let_the_model_go_on(self) -> None:
        waiting = [exchange for exchange in self._model.exchanges if not exchange.finished.is_set()]
        # Not waited for: whoever was killed reads nothing any more.
        self._releases += [asyncio.create_task(exchange.release()) for exchange in waiting]

    async def _writer(self) -> int:
        """Which process has the turns: the one that receives."""
        if self._redis is None:
            return 0
        leader = await self._redis.hget("{grapevine}:turns:leads", "telegram")
        assert leader is not None
        text = leader.decode() if isinstance(leader, bytes) else leader
        pid = int(text.split("/")[1])
        return next(replica for replica, server in self._servers.items() if server.process.pid == pid)

    # What is on the screens and in the files.

    def _messages(self, chat: int) -> list[Message]:
        return self._telegram.from_bot(chat)

    def _message_of(self, question: _Question) -> list[Message]:
        return [m for m in self._messages(question.chat) if question.is_answered_by(m)]

    async def _until_answered(self, questions: list[_Question]) -> None:
        await self._wait(lambda _: all(self._message_of(question) for question in questions))

    async def _wait(self, condition: Callable[[TelegramEmulator], Any]) -> None:
        await self._telegram.wait_for(condition, timeout_s=60.0)

    async def _owed(self) -> list[tuple[str, str | None, bytes | None]]:
        """What is owed by the record that counts: question, message ids, final text."""
        if self._redis is not None:
            keys = [
                key async for key in self._redis.scan_iter("{grapevine}:turns:turn:*") if not key.endswith(b":settled")
            ]
            # The client hands out bytes (`decode_responses` is off), which its stubs cannot know.
            turns = [cast("dict[bytes, bytes]", await self._redis.hgetall(key)) for key in keys]
            return [
                (
                    _text(turn[b"payload"]),
                    turn[b"message_id"].decode() if b"message_id" in turn else None,
                    turn.get(b"final"),
                )
                for turn in turns
                if b"payload" in turn
            ]
        return await asyncio.to_thread(self._owed_on_disk)

    def _owed_on_disk(self) -> list[tuple[str, str | None, bytes | None]]:
        file = sqlite3.connect(f"file:{self._data(0) / 'state.db'}?mode=ro", uri=True, timeout=10)
        try:
            owed = file.execute("SELECT payload, message_id, final FROM turns WHERE settled = 0").fetchall()
        finally:
            file.close()
        return [(_text(payload), message_id, final) for payload, message_id, final in owed]

    async def _has_final(self, question: _Question) -> bool:
        return any(text == question.text and final for text, _, final in await self._owed())

    async def _until_recorded(self, question: _Question, *, final: bool = True) -> None:
        while not any(text == question.text and (known or not final) for text, _, known in await self._owed()):
            await asyncio.sleep(0.01)

    async def _count_orphans(self) -> None:
        """Messages on the screen that nobody knows the id of: posted, and the process dead before it was recorded."""
        owed = await self._owed()
        for question in self._questions:
            records = [message_id for text, message_id, _ in owed if text == question.text]
            if not records or any(records):
                continue
            others = {
                int(part)
                for other in self._questions
                if other.chat == question.chat and other is not question
                for text, ids, _ in owed
                if text == other.text and ids
                for part in ids.split(",")
            }
            for message in self._messages(question.chat):
                is_anothers = message.message_id in others or any(
                    other.is_answered_by(message) for other in self._questions if other is not question
                )
                if not is_anothers:
                    self._orphans.add((question.chat, message.message_id))

    async def _until_settled(self) -> None:
        while await self._owed():
            await asyncio.sleep(0.05)

    def _judge(self, outcome: Outcome) -> None:
        outcome.orphans = len(self._orphans)
        outcome.throttled = sum(call.status == 429 for call in self._telegram.calls)
        for question in self._questions:
            whole = [m for m in self._message_of(question) if (question.chat, m.message_id) not in self._orphans]
            if len(whole) != 1:
                (outcome.doubled if whole else outcome.lost).append(question.name)
            asked = sum(question.asked in exchange.prompt for exchange in self._model.exchanges)
            if question.name in self._known and asked > 1:
                outcome.rewritten.append(question.name)
        for chat in {question.chat for question in self._questions}:
            seen = {(chat, message.message_id) for message in self._messages(chat)} - self._orphans
            if len(seen) != sum(question.chat == chat for question in self._questions):
                outcome.doubled.append(f"chat {chat}")


def _text(payload: bytes) -> str:
    return str(orjson.loads(payload)["text"])
