"""Everything that `serve` runs, built once and closed in reverse order."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from bot.admin_commands import AdminCommands, Health
from bot.allowance import Allowance, Ceilings
from bot.auth import Sessions, admin_token
from bot.commands import Commands
from bot.conversations import Conversations
from bot.faqs.job import WARM, warm_kind
from bot.fetch_job import FETCH, fetch_kind
from bot.ingest_job import documents_kinds
from bot.intake import Intake
from bot.jobs import JobRunner
from bot.places import Places
from bot.settings import Settings
from bot.state.agreed import agreed_secret
from bot.state.jobs import JobTable
from bot.state.moves import MovedPlaces
from bot.state.sessions import SessionTable
from bot.state.spending import SqliteSpending
from bot.state.sqlite import SqliteState
from bot.state.transcripts import SqliteTranscripts
from bot.turn import Turns
from bot.uploads import Uploads
from bot.wiring.clients import redis_client
from bot.wiring.core import Core, build_turns, open_core
from bot.wiring.platforms import build_telegram, connected_slack, fingerprint, telegram_door
from rag.errors import StoreError
from rag.ingest.sandbox import ParserPool
from rag.stores.embedded import EmbeddedStore

# The packages of clients are imported where a client is made: aiogram alone takes two seconds, openai half a
# second, and `grapevine ask` over the offline parts should wait for neither.
if TYPE_CHECKING:
    from aiohttp import web

    from adapters.admin import AdminPlatform
    from adapters.ports import Platform
    from adapters.slack.platform import SlackPlatform
    from adapters.telegram.platform import TelegramPlatform
    from bot.replica import Replica, SharedRedis
    from bot.telemetry.line import TurnLine, TurnLog
    from bot.wiring.core import Store


RECENT_TURNS = 200
"""Turns whose lines the dashboard can show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """Everything that `serve` runs."""

    core: Core
    replica: Replica
    turns: Turns
    intake: Intake
    conversations: Conversations
    web: web.Application
    jobs: JobRunner
    telegram: TelegramPlatform | None
    slack: SlackPlatform | None
    admin_token_file: Path | None
    """Where the admin token lies, if it was not configured."""


@asynccontextmanager
async def open_application(settings: Settings, *, write_turn: TurnLog) -> AsyncIterator[Application]:
    """Everything that `serve` runs, built but not started. Raises `RagError`, `StateError`, `AuthError`."""
    from bot.replica import Replica  # noqa: PLC0415 - see the top
    from bot.web.admin import AdminServices  # noqa: PLC0415 - see the top
    from bot.web.app import build_app  # noqa: PLC0415 - see the top
    from bot.web.services import WebLimits, WebServices  # noqa: PLC0415 - see the top
    from bot.web.sessions import Signer  # noqa: PLC0415 - see the top
    from bot.web.tokens import Tokens  # noqa: PLC0415 - see the top

    async with AsyncExitStack() as stack:
        core = await stack.enter_async_context(open_core(settings, may_start_alone=True))
        state = await SqliteState.open(settings.data / "state.db")
        stack.push_async_callback(state.close)
        redis = await stack.enter_async_context(_open_redis(settings))
        replica = Replica(state, redis, retention_days=settings.retention_days)
        stack.push_async_callback(replica.stop)
        places = await _places(core, state, redis)
        conversations = await _conversations(core, state, replica, places)
        await replica.start()
        token, token_file = admin_token(
            settings.admin_token.get_secret_value() if settings.admin_token else None, settings.data
        )
        recent: deque[TurnLine] = deque(maxlen=RECENT_TURNS)

        def write(line: TurnLine) -> None:
            recent.append(line)
            write_turn(line)

        link = redis.link if redis else None
        hash_key = await agreed_secret(state, link, "hash-key")
        turns = build_turns(core, hash_key=hash_key, write=write, conversations=conversations)
        intake = Intake(
            turns=turns,
            lanes=replica.chat.lanes,
            outbox=replica.chat.outbox,
            may_read=places.may_read,
            admins=settings.admins,
            past=conversations,
            allowance=await _allowance(settings, state, replica, hash_key),
        )
        pool = await stack.enter_async_context(ParserPool())
        work = await _work(core, state, pool)
        health = Health(
            version=version("grapevine-bot"),
            recent=lambda: tuple(recent),
            missing=_readiness(core),
            degraded=lambda: replica.degraded,
            pools=partial(_pools, core.store),
        )
        admins = _admins(core, work, health, hash_key)
        telegram = None
        if settings.telegram_bot_token:
            desk = Commands(
                past=conversations,
                passages=core.search,
                documents=core.store,
                places=places,
                examples=core.faqs.examples,
                retention_days=settings.retention_days,
                hash_key=hash_key,
            )
            telegram = await build_telegram(stack, core, state, replica, intake=intake, admins=admins, desk=desk)
            intake.connect("telegram", telegram)
        slack = None
        if settings.slack_bot_token:
            from adapters.slack.limits import charges as slack_charges  # noqa: PLC0415 - see the top

            budget = replica.budget(f"slack:{fingerprint(settings.slack_bot_token)}", slack_charges)
            slack = await stack.enter_async_context(connected_slack(settings, intake.accept, intake.stop, budget))
            intake.connect("slack", slack)
        stack.push_async_callback(admins.stop)
        services = WebServices(
            turns=turns,
            retriever=core.search,
            access=settings.access_map,
            collections=core.collections,
            tokens=Tokens(
                admin=token,
                api=[secret.get_secret_value() for secret in settings.api_tokens],
                key=await agreed_secret(state, link, "token-key"),
            ),
            signer=Signer(await agreed_secret(state, link, "session-key")),
            missing=_readiness(core),
            degraded=lambda: replica.degraded,
            lanes=replica.web.lanes,
            rates=replica.rates,
            examples=core.faqs.examples,
            limits=WebLimits(proxies=tuple(ip_network(name) for name in settings.proxies)),
        )
        admin = AdminServices(
            sessions=Sessions(await SessionTable.open(state), key=token),
            jobs=work.table,
            runner=work.runner,
            uploads=work.uploads,
            store=core.store,
            recent=health.recent,
            pools=health.pools,
        )
        yield Application(
            core=core,
            replica=replica,
            turns=turns,
            intake=intake,
            conversations=conversations,
            web=build_app(services, admin, core.faqs, telegram_door(settings, telegram)),
            jobs=work.runner,
            telegram=telegram,
            slack=slack,
            admin_token_file=token_file,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What does jobs, and what they need."""

    runner: JobRunner
    table: JobTable
    uploads: Uploads
    chats: dict[str, AdminPlatform]
    """Where admins send files from; filled as platforms are built."""


async def _work(core: Core, state: SqliteState, pool: ParserPool) -> _Work:
    chats: dict[str, AdminPlatform] = {}
    uploads = Uploads(core.settings.data / "uploads")
    table = await JobTable.open(state)
    kinds = {**documents_kinds(core.store, core.embedder, pool, uploads), FETCH: fetch_kind(chats, uploads)}
    runner = JobRunner(table, {**kinds, WARM: warm_kind(core.faqs)})
    return _Work(runner=runner, table=table, uploads=uploads, chats=chats)


def _admins(core: Core, work: _Work, health: Health, hash_key: bytes) -> AdminCommands:
    return AdminCommands(
        admins=core.settings.admins,
        key=hash_key,
        store=core.store,
        faqs=core.faqs,
        runner=work.runner,
        table=work.table,
        platforms=work.chats,
        health=health,
    )


async def _places(core: Core, state: SqliteState, redis: SharedRedis | None) -> Places:
    moves = await MovedPlaces.open(state, redis.link if redis else None)
    return Places(core.settings.access_map, moves, existing=core.collections)


async def _conversations(core: Core, state: SqliteState, replica: Replica, places: Places) -> Conversations:
    return Conversations(
        replica.transcripts(await SqliteTranscripts.open(state)),
        may_read=places.may_read,
        retention_days=core.settings.retention_days,
    )


@asynccontextmanager
async def open_conversations(settings: Settings) -> AsyncIterator[Conversations]:
    """What was said, for commands: nothing of it can be shown to a place. Raises `StateError`."""
    from bot.replica import Replica  # noqa: PLC0415 - see the top

    async with AsyncExitStack() as stack:
        state = await SqliteState.open(settings.data / "state.db")
        stack.push_async_callback(state.close)
        redis = await stack.enter_async_context(_open_redis(settings))
        replica = Replica(state, redis, retention_days=settings.retention_days)
        stack.push_async_callback(replica.stop)
        store = replica.transcripts(await SqliteTranscripts.open(state))
        if redis is not None:
            await redis.link.connect()

        async def nothing(_platform: Platform, _place: str) -> frozenset[str]:
            return frozenset()

        yield Conversations(
            store,
            may_read=nothing,
            retention_days=settings.retention_days,
            is_cut_off=lambda: redis is not None and redis.link.is_away,
        )


async def _allowance(settings: Settings, state: SqliteState, replica: Replica, key: bytes) -> Allowance | None:
    ceilings = Ceilings(
        asks_per_minute=settings.asks_per_minute,
        daily_tokens_per_person=settings.daily_tokens_per_person,
        daily_tokens=settings.daily_tokens,
    )
    if ceilings == Ceilings():
        return None
    ledger = replica.ledger(await SqliteSpending.open(state))
    return Allowance(ceilings, ledger, key=key, admins=settings.admins, rates=replica.rates)


@asynccontextmanager
async def _open_redis(settings: Settings) -> AsyncIterator[SharedRedis | None]:
    if settings.redis_url is None:
        yield None
        return
    from bot.replica import SharedRedis  # noqa: PLC0415 - see the top
    from bot.state.redis_link import RedisLink  # noqa: PLC0415 - see the top

    url = settings.redis_url.get_secret_value()
    client, ears = redis_client(url), redis_client(url)
    try:
        yield SharedRedis(link=RedisLink(client), ears=ears)
    finally:
        await client.aclose()
        await ears.aclose()


def _pools(store: Store) -> dict[str, dict[str, float]]:
    return {} if isinstance(store, EmbeddedStore) else {"neo4j": asdict(store.gauges)}


def _readiness(core: Core) -> Callable[[], Awaitable[tuple[str, ...]]]:
    async def missing() -> tuple[str, ...]:
        if core.presence.problem is not None:
            return ("the knowledge store is not there yet; `grapevine doctor` says why",)
        try:
            await core.store.counts()
        except StoreError:
            return ("the knowledge store does not answer; `grapevine doctor` says why",)
        return ()

    return missing
