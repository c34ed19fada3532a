"""An admin's private chat: the real router, desk, jobs, ingest and store, over the emulated Telegram server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiogram import Bot, Dispatcher, F, Router
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.types import CallbackQuery, Message

from adapters.live.budget import Limit, LocalBudget, per_chat
from adapters.telegram.admin import TelegramAdmin
from adapters.telegram.polling import Poller
from bot.admin_commands import AdminCommands, Health
from bot.faqs.job import WARM, warm_kind
from bot.fetch_job import FETCH, fetch_kind
from bot.ingest_job import documents_kinds
from bot.jobs import JobRunner
from bot.state.jobs import Job, JobTable
from bot.state.sqlite import SqliteState
from bot.telemetry.line import TurnLine
from bot.uploads import Uploads
from rag.ingest.sandbox import ParserPool
from rag.ports import Embedder
from rag.stores.embedded import EmbeddedStore
from tests.emulators.telegram import Message as Shown
from tests.emulators.telegram import TelegramEmulator, User
from tests.support.faqs import Bench, bench_over

BOSS = 12345
STRANGER = 777
HASH_KEY = b"a key of the tests"


@dataclass(kw_only=True)
class Office:
    """What a test of admin commands touches."""

    emu: TelegramEmulator
    bench: Bench
    table: JobTable
    runner: JobRunner
    desk: AdminCommands
    telegram: TelegramAdmin
    others: list[str]
    """What fell through to whoever answers everybody."""
    problems: list[str] = field(default_factory=list)
    turns: list[TurnLine] = field(default_factory=list)

    @property
    def boss(self) -> User:
        return self.emu.user(BOSS)

    async def said(self, text: str, *, count: int = 1) -> Shown:
        """The newest message to the admin, once there are `count` and it contains this."""

        def newest(emu: TelegramEmulator) -> Shown | None:
            found = emu.from_bot(BOSS)
            return found[-1] if len(found) >= count and text in found[-1].text else None

        shown: Shown = await self.emu.wait_for(newest)
        return shown

    async def job(self) -> Job:
        """The newest job, once it has ended."""
        while not (jobs := await self.table.newest()) or jobs[0].state in {"queued", "running"}:
            await asyncio.sleep(0.01)
        return jobs[0]

    async def ids(self, collection: str) -> list[str]:
        """The documents of a collection."""
        page = await self.bench.store.documents(frozenset({collection}))
        return [document.id for document in page.documents]


@asynccontextmanager
async def office(
    folder: Path, emu: TelegramEmulator, *, embedder: Embedder | None = None, is_working: bool = True
) -> AsyncIterator[Office]:
    """Everything over `folder`, until the block ends; then as after a stop. `is_working`: jobs are worked on."""
    async with AsyncExitStack() as stack:
        state = await SqliteState.open(folder / "state.db")
        stack.push_async_callback(state.close)
        store = EmbeddedStore(folder / "knowledge.db")
        stack.push_async_callback(store.close)
        bench = bench_over(store)
        pool = await stack.enter_async_context(ParserPool(processes=1))
        uploads = Uploads(folder / "uploads")
        table = await JobTable.open(state)
        platforms: dict[str, TelegramAdmin] = {}
        kinds = documents_kinds(store, embedder, pool, uploads)
        kinds = {**kinds, WARM: warm_kind(bench.faqs), FETCH: fetch_kind(platforms, uploads)}
        runner = JobRunner(table, kinds, poll_s=0.05, report_s=0.02)
        problems: list[str] = []
        turns: list[TurnLine] = []

        async def missing() -> tuple[str, ...]:
            return ()

        desk = AdminCommands(
            admins=frozenset({f"telegram:{BOSS}"}),
            key=HASH_KEY,
            store=store,
            faqs=bench.faqs,
            runner=runner,
            table=table,
            platforms=platforms,  # type: ignore[arg-type]  # one kind of platform only
            health=Health(
                version="1.2.3",
                recent=lambda: turns,
                missing=missing,
                degraded=lambda: tuple(problems),
                pools=lambda: {"neo4j": {"in_use": 1, "idle": 2}},
            ),
        )
        stack.push_async_callback(desk.stop)
        bot = Bot(emu.token, session=AiohttpSession(api=TelegramAPIServer.from_base(emu.url)))
        stack.push_async_callback(bot.session.close)
        budget = LocalBudget(per_chat(Limit(100, 100)))
        telegram = TelegramAdmin(bot, desk, admins=[str(BOSS)], budget=budget, every_s=0.0)
        stack.push_async_callback(telegram.close)
        desk.connect("telegram", telegram)
        others: list[str] = []
        dispatcher = Dispatcher()
        dispatcher.include_routers(telegram.router(), _whoever_answers_everybody(others))
        poller = Poller(
            bot,
            lambda update: dispatcher.feed_update(bot, update),
            allowed_updates=dispatcher.resolve_used_update_types(),
        )
        polling = asyncio.create_task(poller.run())
        if is_working:
            await runner.start()
        await desk.resume()
        try:
            yield Office(
                emu=emu,
                bench=bench,
                table=table,
                runner=runner,
                desk=desk,
                telegram=telegram,
                others=others,
                problems=problems,
                turns=turns,
            )
        finally:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)
            await runner.stop()


def _whoever_answers_everybody(others: list[str]) -> Router:
    router = Router()

    async def on_message(message: Message) -> None:
        others.append(message.text or message.caption or "(no words)")

    async def on_button(query: CallbackQuery) -> None:
        others.append(query.data or "")

    router.message.register(on_message)
    router.edited_message.register(on_message)
    router.callback_query.register(on_button, F.data)
    return router
