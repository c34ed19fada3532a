"""A bot in chats of an emulated Telegram: everything between the update and the answer is real but the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from aiogram import Bot

from adapters.live.budget import Charge, Limit, LocalBudget
from adapters.ports import Call
from adapters.telegram.limits import charges
from adapters.telegram.platform import TelegramPlatform
from bot.access import parse_access
from bot.commands import Commands
from bot.conversations import Conversations
from bot.intake import Intake
from bot.lanes import Lanes
from bot.outbox import Outbox
from bot.places import Places
from bot.smalltalk import SmallTalk
from bot.state.moves import MovedPlaces
from bot.state.sqlite import SqliteState
from bot.state.transcripts import SqliteTranscripts
from bot.state.turns import SqliteTurns
from bot.telemetry.line import TurnLine
from bot.turn import Turns
from rag.ports import DocumentPage, StoredDocument
from rag.types import AnswerEvent, Citation, Done, Language, Passage, Sources
from tests.emulators.telegram import Limits, Message, TelegramEmulator
from tests.support.answers import ScriptedEngine, deltas, passage

PASSAGES = (
    passage(1, title="Claims guide", text="Report a theft within *24 hours* to @claims or <b>the police</b>.", page=3),
    passage(2, title="Price list", text="TC-03 costs 0.9%.", url="https://example.com/prices"),
)
SHELVED = (passage(9, title="Staff manual", text="Goodwill up to 500.", collection="staff"), *PASSAGES)


class Shelf:
    """Passages and documents, handed out to those who may read them."""

    async def passage(self, passage_id: str, *, collections: frozenset[str]) -> Passage | None:
        return next((p for p in SHELVED if p.passage_id == passage_id and p.collection in collections), None)

    async def documents(
        self, collections: frozenset[str], *, after: str | None = None, limit: int = 100, source: str | None = None
    ) -> DocumentPage:
        return DocumentPage(documents=tuple(_document(p) for p in SHELVED if p.collection in collections), after=None)

    def examples(self, collections: frozenset[str]) -> dict[Language, tuple[str, ...]]:
        return {"en": ("What does theft cover cost?",), "vi": ("Phí là bao nhiêu?", "Gọi ai?", "Ở đâu?")}


def _document(of: Passage) -> StoredDocument:
    return StoredDocument(
        collection=of.collection,
        source="test",
        id=of.document,
        file=of.document,
        title=of.title,
        url=of.url,
        language="en",
        valid_from=None,
        valid_until=None,
        content_hash="",
        size=1,
        chunks=1,
        pending=0,
        updated_at=datetime.now(UTC),
    )


def answer(text: str = "Theft is covered [1], for 0.9% [2].") -> tuple[AnswerEvent, ...]:
    """What an engine says that found the first two passages."""
    citations = tuple(_citation(n, p) for n, p in enumerate(PASSAGES, 1) if f"[{n}]" in text)
    return (Sources(passages=PASSAGES), *deltas(text), Done(outcome="answered", answer=text, citations=citations))


def _citation(n: int, of: Passage) -> Citation:
    return Citation(
        n=n,
        document=of.document,
        title=of.title,
        collection=of.collection,
        passage_id=of.passage_id,
        page=of.page,
        url=of.url,
    )


@dataclass(slots=True, kw_only=True)
class BotInChats:
    """The process, with what a test may want to see of it."""

    emu: TelegramEmulator
    engine: ScriptedEngine
    intake: Intake
    conversations: Conversations
    platform: TelegramPlatform
    places: Places
    moves: MovedPlaces
    lines: list[TurnLine]

    async def answered(self, text: str, chat_id: int = 1001) -> Message:
        """The message of ours that says this and is not being written any more."""

        def there(emu: TelegramEmulator) -> Message | None:
            found = [m for m in emu.from_bot(chat_id) if text in m.text and not is_growing(m)]
            return found[-1] if found else None

        message: Message = await self.emu.wait_for(there)
        return message

    async def pressed(self, message: Message, data: str, **how: object) -> tuple[str | None, bool]:
        """Press the button whose data begins so; what the bot answers, and whether as an alert."""
        full = next((b["callback_data"] for b in message.buttons if b["callback_data"].startswith(data)), data)
        query = self.emu.press(message, full, **how)  # type: ignore[arg-type]  # a test names what it cares about
        await self.emu.wait_for(lambda e: e.callbacks[query]["answered"])
        return self.emu.callbacks[query]["text"], self.emu.callbacks[query]["is_alert"]

    async def questions(self, count: int) -> list[str]:
        """What the engine was asked, once there are so many."""
        while len(self.engine.questions) < count:
            await asyncio.sleep(0.005)
        return [question.text for question in self.engine.questions]

    async def line(self) -> TurnLine:
        """The log line of the first turn, once it is there."""
        while not self.lines:
            await asyncio.sleep(0.005)
        return self.lines[0]

    async def gone(self, message: Message, data: str) -> None:
        """Until no button of the message begins so."""
        await self.emu.wait_for(lambda _: not any(b["callback_data"].startswith(data) for b in message.buttons))


def is_growing(message: Message) -> bool:
    """Whether it has a stop button."""
    return any(button["callback_data"].startswith("stop:") for button in message.buttons)


async def existing() -> frozenset[str]:
    """The collections there are."""
    return frozenset({"public", "staff"})


def _quick(call: Call) -> tuple[Charge, ...]:
    """Telegram's buckets, all of them wide."""
    return tuple(replace(charge, limit=Limit(50, 5)) for charge in charges(call))


@asynccontextmanager
async def chatting(
    emu: TelegramEmulator, bot: Bot, *, access: str = "", state: SqliteState | None = None
) -> AsyncIterator[BotInChats]:
    """A bot that polls, quick, on a server without limits."""
    emu.flood.limits = Limits(private=None, group=None, bot=None)
    state = state or SqliteState.in_memory()
    engine, lines, shelf = ScriptedEngine(*answer()), list[TurnLine](), Shelf()

    moves = await MovedPlaces.open(state)
    places = Places(parse_access(access), moves, existing=existing)
    conversations = Conversations(await SqliteTranscripts.open(state), may_read=places.may_read)
    store = SqliteTurns(state)
    outbox = Outbox(store)
    turns = Turns(
        engine=engine,
        small_talk=SmallTalk(contact=None),
        write=lines.append,
        hash_key=b"k" * 32,
        deadline_s=60.0,
        transcripts=conversations,
        suggest=lambda **_: ("And what about fire?", "And floods?"),
    )
    intake = Intake(
        turns=turns,
        lanes=Lanes(store, owner=outbox.owner),
        outbox=outbox,
        may_read=places.may_read,
        past=conversations,
    )
    desk = Commands(
        past=conversations,
        passages=shelf,
        documents=shelf,
        places=places,
        examples=shelf.examples,
        retention_days=30,
        hash_key=b"k" * 32,
    )
    budget = LocalBudget(_quick)
    platform = TelegramPlatform(bot, accept=intake.accept, stop=intake.stop, desk=desk, budget=budget)
    intake.connect("telegram", platform)
    polling = asyncio.create_task(platform.run())
    try:
        yield BotInChats(
            emu=emu,
            engine=engine,
            intake=intake,
            conversations=conversations,
            platform=platform,
            places=places,
            moves=moves,
            lines=lines,
        )
    finally:
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        await intake.drain(timeout_s=0)
        await platform.close()
