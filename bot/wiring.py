"""The composition root: builds every client and every part once, and closes them in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from bot.admin_commands import AdminCommands, Health
from bot.allowance import Allowance, Ceilings
from bot.auth import Sessions, admin_token
from bot.commands import Commands
from bot.conversations import Conversations
from bot.faqs.desk import Faqs
from bot.faqs.job import WARM, warm_kind
from bot.faqs.suggest import follow_ups
from bot.faqs.warm import Warmer
from bot.fetch_job import FETCH, fetch_kind
from bot.ingest_job import documents_kinds
from bot.intake import Intake
from bot.jobs import JobRunner
from bot.places import Places
from bot.presence import Presence
from bot.reranking import rerank_failed
from bot.settings import Settings, parse_vector_index
from bot.smalltalk import SmallTalk
from bot.state.jobs import JobTable
from bot.state.kept import Note
from bot.state.moves import MovedPlaces
from bot.state.sessions import SessionTable
from bot.state.spending import SqliteSpending
from bot.state.sqlite import SqliteState
from bot.state.transcripts import SqliteTranscripts
from bot.tls import proxy_for, trust
from bot.turn import Turns
from bot.uploads import Uploads
from rag.cache.faq import FaqBook
from rag.embeddings import parse_model
from rag.engine import Engine
from rag.errors import StoreError, StoreUnavailable
from rag.generate.extractive import ExtractiveAnswerer
from rag.generate.followup import RuleRewriter
from rag.ingest.sandbox import ParserPool
from rag.rerank import parse_rerank
from rag.retrieval.search import Search
from rag.stores.embedded import EmbeddedStore

# The packages of clients are imported where a client is made: aiogram alone takes two seconds, openai half a
# second, and `grapevine ask` over the offline parts should wait for neither.
if TYPE_CHECKING:
    from aiogram import Bot
    from aiohttp import web
    from neo4j import AsyncDriver
    from openai import AsyncOpenAI
    from pydantic import SecretStr
    from redis.asyncio import Redis

    from adapters.admin import AdminPlatform
    from adapters.ports import Budget, Inbound, Platform, StopOutcome, StopRequest
    from adapters.slack.platform import SlackPlatform
    from adapters.telegram.platform import TelegramPlatform
    from adapters.telegram.session import TelegramSession
    from bot.replica import Replica, SharedRedis
    from bot.telemetry.line import TurnLine, TurnLog
    from bot.web.telegram import TelegramDoor
    from rag.cache.faq import FaqStore
    from rag.generate.llm import OpenAIAnswerer
    from rag.ports import Answerer, Embedder, Reranker, Retriever, Rewriter
    from rag.stores.neo4j import Neo4jStore

    Store = EmbeddedStore | Neo4jStore

RECENT_TURNS = 200
"""Turns whose lines the dashboard can show."""
_NAMES_FOR_S = 0.5
"""How long the list of collections is believed; a new collection is readable within a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """What answers questions, whatever the platform."""

    settings: Settings
    store: Store
    presence: Presence
    embedder: Embedder
    search: Retriever
    engine: Engine
    faqs: Faqs
    answerer: Answerer
    model_client: AsyncOpenAI | None
    collections: Callable[[], Awaitable[frozenset[str]]]
    """All collections that hold documents."""

    async def may_read(self, platform: Platform, place: str = "") -> frozenset[str]:
        """The collections that may be read at this place."""
        return self.settings.access_map.may_read(platform, place, existing=await self.collections())


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


def knowledge_store(settings: Settings) -> Store:
    """The store that the settings name; not opened yet."""
    if settings.neo4j_uri is None:
        return EmbeddedStore(settings.data / "knowledge.db")
    from rag.stores.neo4j import Neo4jStore, VectorOptions  # noqa: PLC0415 - see the top

    m, ef_construction, quantisation = parse_vector_index(settings.neo4j_vector_index)
    return Neo4jStore(
        _neo4j_driver(settings, settings.neo4j_uri),
        address=settings.neo4j_uri,
        database=settings.neo4j_database,
        pool_size=settings.neo4j_pool_size,
        vectors=VectorOptions(m=m, ef_construction=ef_construction, quantisation=quantisation),
    )


def _neo4j_driver(settings: Settings, uri: str) -> AsyncDriver:
    from neo4j import AsyncGraphDatabase, NotificationMinimumSeverity  # noqa: PLC0415 - see the top

    password = settings.neo4j_password
    return AsyncGraphDatabase.driver(
        uri,
        auth=(settings.neo4j_username, password.get_secret_value()) if password else None,
        max_connection_pool_size=settings.neo4j_pool_size,
        # The driver's own 60, 30 and 30 seconds are longer than anybody waits for an answer.
        connection_acquisition_timeout=2.0,
        connection_timeout=1.0,
        max_transaction_retry_time=0.0,  # the store retries, and knows what may be
        liveness_check_timeout=30.0,
        keep_alive=True,
        notifications_min_severity=NotificationMinimumSeverity.OFF,
        telemetry_disabled=True,
        user_agent="grapevine",
    )


def _faq_store(settings: Settings, store: Store) -> FaqStore:
    """Where FAQs are read: a database that can be away is backed by a copy on this machine."""
    if settings.neo4j_uri is None:
        return store
    from rag.stores.neo4j import KeptFaqs  # noqa: PLC0415 - see the top

    return KeptFaqs(store, settings.data / "faqs.json")


@asynccontextmanager
async def open_embedder(settings: Settings) -> AsyncIterator[Embedder]:
    """The configured embedder, loaded. Raises `EmbeddingError`."""
    spec = parse_model(settings.embedding_model)
    async with AsyncExitStack() as stack:
        embedder: Embedder
        if spec.kind == "openai":
            from rag.embeddings.openai import OpenAIEmbedder  # noqa: PLC0415 - see the top

            key = settings.embedding_api_key or settings.openai_api_key
            client = _openai(settings, key, settings.embedding_base_url or settings.openai_base_url)
            stack.push_async_callback(client.close)
            embedder = await OpenAIEmbedder.open(client, spec.name, dimensions=spec.dimensions)
        elif spec.kind == "fastembed":
            from rag.embeddings.fastembed import FastEmbedder  # noqa: PLC0415 - see the top

            embedder = await FastEmbedder.open(spec.name)
        else:
            from rag.embeddings.minilm import MiniLM  # noqa: PLC0415 - see the top

            embedder = await MiniLM.open()
        stack.push_async_callback(embedder.close)
        yield embedder


@asynccontextmanager
async def open_reranked(settings: Settings, retriever: Retriever) -> AsyncIterator[Retriever]:
    """`retriever`, with a second look at its best passages if one is configured. Raises `RerankError`."""
    if settings.rerank is None:
        yield retriever
        return
    from rag.rerank.retriever import Reranked  # noqa: PLC0415 - see the top

    spec = parse_rerank(settings.rerank)
    async with AsyncExitStack() as stack:
        reranker: Reranker
        if spec.kind == "fastembed":
            from rag.rerank.fastembed import FastReranker  # noqa: PLC0415 - see the top

            reranker = await FastReranker.open(spec.name)
        else:
            import httpx2  # noqa: PLC0415 - see the top

            from rag.rerank.http import HttpReranker  # noqa: PLC0415 - see the top

            assert settings.rerank_url is not None  # the settings see to that
            timeout = httpx2.Timeout(10.0, connect=2.0)
            client = await stack.enter_async_context(
                httpx2.AsyncClient(timeout=timeout, verify=trust(settings.ca_file))
            )
            key = settings.rerank_key.get_secret_value() if settings.rerank_key else None
            reranker = HttpReranker(client, url=settings.rerank_url, key=key, model=settings.rerank_model)
        stack.push_async_callback(reranker.close)
        yield Reranked(retriever, reranker, on_failure=rerank_failed)


@asynccontextmanager
async def open_answerer(settings: Settings) -> AsyncIterator[tuple[Answerer, AsyncOpenAI | None]]:
    """What writes the answers, and its client; without a configured model it quotes the documents."""
    if not settings.has_model:
        yield ExtractiveAnswerer(), None
        return
    from rag.generate.llm import OpenAIAnswerer  # noqa: PLC0415 - see the top

    client = _openai(settings, settings.openai_api_key, settings.openai_base_url)
    try:
        yield OpenAIAnswerer(client, settings.llm_model), client
    finally:
        await client.close()


@asynccontextmanager
async def open_extractor(settings: Settings) -> AsyncIterator[OpenAIAnswerer]:
    """The model that reads documents for `grapevine ingest --extract llm`: patient, as nobody is waiting."""
    from rag.generate.llm import OpenAIAnswerer, Patience  # noqa: PLC0415 - see the top

    client = _openai(settings, settings.openai_api_key, settings.openai_base_url)
    patience = Patience(stall_s=60.0, retries=6, longest_backoff_s=60.0)
    try:
        yield OpenAIAnswerer(client, settings.llm_model, temperature=0.0, answers_json=True, patience=patience)
    finally:
        await client.close()


def _rewriter(settings: Settings, client: AsyncOpenAI | None) -> Rewriter:
    """What makes follow-ups stand alone: a model where there is one, unless told otherwise."""
    if client is None or settings.rewrite_model == "rule":
        return RuleRewriter()
    from rag.generate.rewrite import ModelRewriter  # noqa: PLC0415 - see the top

    return ModelRewriter(client, settings.rewrite_model or settings.llm_model)


@asynccontextmanager
async def open_telegram(settings: Settings) -> AsyncIterator[tuple[Bot, TelegramPlatform]]:
    """The configured bot, receiving nothing; for checks and commands. Raises `SettingsError`."""
    from adapters.telegram.platform import TelegramPlatform  # noqa: PLC0415 - see the top

    session = _telegram_session(settings)
    try:
        bot = _telegram_bot(settings, session)
        yield bot, TelegramPlatform(bot, accept=_nothing, stop=_nobody)
    finally:
        await session.close()


@asynccontextmanager
async def open_slack(settings: Settings) -> AsyncIterator[Callable[[], Awaitable[str]]]:
    """Asks Slack for the configured bot's name; for checks only."""
    async with _open_slack(settings, _nothing, _nobody) as slack:
        yield slack.identify


@asynccontextmanager
async def open_core(settings: Settings, *, may_start_alone: bool = False) -> AsyncIterator[Core]:
    """Store, embedder, retrieval and answerer, open and checked. Raises `StoreError`, `EmbeddingError`.

    With `may_start_alone` a database that is not there yet is no error: see `Core.presence`.
    """
    async with AsyncExitStack() as stack:
        store = knowledge_store(settings)
        stack.push_async_callback(store.close)
        waits = may_start_alone and settings.neo4j_uri is not None
        if not waits:
            await store.open()  # before the embedder is loaded: what is wrong is said at once
        embedder = await stack.enter_async_context(open_embedder(settings))
        presence = Presence(store, embedder)
        await (presence.connect_or_wait() if waits else presence.connect())
        answerer, client = await stack.enter_async_context(open_answerer(settings))
        search = await stack.enter_async_context(open_reranked(settings, Search(store, embedder)))
        book = FaqBook(_faq_store(settings, store))
        await book.open()
        stack.push_async_callback(book.close)
        # Without FAQs: a warm-up would get the very answer that it is to make anew.
        from_documents = Engine(search, answerer)
        warmer = Warmer(store, from_documents, deadline_s=settings.deadline_s)
        yield Core(
            settings=settings,
            store=store,
            presence=presence,
            embedder=embedder,
            search=search,
            engine=Engine(
                search, answerer, contact=settings.contact, instant=book, rewriter=_rewriter(settings, client)
            ),
            faqs=Faqs(store, book, warmer),
            answerer=answerer,
            model_client=client,
            collections=_cached_names(store),
        )


@asynccontextmanager
async def open_faqs(settings: Settings) -> AsyncIterator[Faqs]:
    """The FAQs without what makes answers: neither a model nor vectors are loaded. Raises `StoreError`."""
    store = knowledge_store(settings)
    try:
        book = FaqBook(store)
        await book.refresh()
        yield Faqs(store, book)
    finally:
        await store.close()


def build_turns(core: Core, *, hash_key: bytes, write: TurnLog, conversations: Conversations | None = None) -> Turns:
    """The turns of one process over a core; without `conversations` each question is the first of its own."""
    return Turns(
        engine=core.engine,
        small_talk=SmallTalk(contact=core.settings.contact),
        write=write,
        hash_key=hash_key,
        transcripts=conversations,
        suggest=partial(follow_ups, core.faqs.book),
        deadline_s=core.settings.deadline_s,
    )


@asynccontextmanager
async def open_application(settings: Settings, *, write_turn: TurnLog) -> AsyncIterator[Application]:
    """Everything that `serve` runs, built but not started. Raises `RagError`, `StateError`, `AuthError`."""
    from bot.replica import Replica  # noqa: PLC0415 - see the top
    from bot.web.admin import AdminServices  # noqa: PLC0415 - see the top
    from bot.web.app import build_app  # noqa: PLC0415 - see the top
    from bot.web.services import WebServices  # noqa: PLC0415 - see the top
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

        hash_key = await state.kept_secret("hash-key")
        turns = build_turns(core, hash_key=hash_key, write=write, conversations=conversations)
        intake = Intake(
            turns=turns,
            lanes=replica.chat.lanes,
            outbox=replica.chat.outbox,
            may_read=places.may_read,
            admins=settings.admins,
            past=conversations,
            allowance=await _allowance(settings, state, replica),
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
            telegram = await _telegram(stack, core, state, replica, intake=intake, admins=admins, desk=desk)
            intake.connect("telegram", telegram)
        slack = None
        if settings.slack_bot_token:
            from adapters.slack.limits import charges as slack_charges  # noqa: PLC0415 - see the top

            budget = replica.budget(f"slack:{_fingerprint(settings.slack_bot_token)}", slack_charges)
            slack = await stack.enter_async_context(_open_slack(settings, intake.accept, intake.stop, budget))
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
                key=await state.kept_secret("token-key"),
            ),
            signer=Signer(await state.kept_secret("session-key")),
            missing=_readiness(core),
            degraded=lambda: replica.degraded,
            lanes=replica.web.lanes,
            rates=replica.rates,
            examples=core.faqs.examples,
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
            web=build_app(services, admin, core.faqs, _telegram_door(settings, telegram)),
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


async def _telegram(
    stack: AsyncExitStack,
    core: Core,
    state: SqliteState,
    replica: Replica,
    *,
    intake: Intake,
    admins: AdminCommands,
    desk: Commands,
) -> TelegramPlatform:
    from adapters.telegram.admin import TelegramAdmin  # noqa: PLC0415 - see the top
    from adapters.telegram.limits import charges  # noqa: PLC0415 - see the top
    from adapters.telegram.platform import TelegramPlatform  # noqa: PLC0415 - see the top

    settings = core.settings
    session = _telegram_session(settings)
    stack.push_async_callback(session.close)
    bot = _telegram_bot(settings, session)
    budget = replica.budget(f"telegram:{bot.id}", charges)
    hands = TelegramAdmin(bot, admins, admins=_people(settings.admins, "telegram"), budget=budget)
    stack.push_async_callback(hands.close)
    admins.connect("telegram", hands)
    telegram = TelegramPlatform(
        bot,
        routers=(hands.router(),),
        introductions=(hands.introduce, lambda _bot: admins.resume()),
        accept=intake.accept,
        stop=intake.stop,
        budget=budget,
        streaming=settings.telegram_streaming,
        backlog_s=settings.backlog_s,
        server_time=session.server_time,
        webhook_note=Note(state, f"telegram-webhook:{bot.id}"),
        desk=desk,
    )
    stack.push_async_callback(telegram.close)
    return telegram


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


async def _allowance(settings: Settings, state: SqliteState, replica: Replica) -> Allowance | None:
    ceilings = Ceilings(
        asks_per_minute=settings.asks_per_minute,
        daily_tokens_per_person=settings.daily_tokens_per_person,
        daily_tokens=settings.daily_tokens,
    )
    if ceilings == Ceilings():
        return None
    ledger = replica.ledger(await SqliteSpending.open(state))
    key = await state.kept_secret("hash-key")
    return Allowance(ceilings, ledger, key=key, admins=settings.admins, rates=replica.rates)


@asynccontextmanager
async def _open_redis(settings: Settings) -> AsyncIterator[SharedRedis | None]:
    if settings.redis_url is None:
        yield None
        return
    from bot.replica import SharedRedis  # noqa: PLC0415 - see the top
    from bot.state.redis_link import RedisLink  # noqa: PLC0415 - see the top

    url = settings.redis_url.get_secret_value()
    client, ears = _redis(url), _redis(url)
    try:
        yield SharedRedis(link=RedisLink(client), ears=ears)
    finally:
        await client.aclose()
        await ears.aclose()


def _redis(url: str) -> Redis:
    from redis.asyncio import BlockingConnectionPool, Redis  # noqa: PLC0415 - see the top
    from redis.asyncio.retry import Retry  # noqa: PLC0415 - see the top
    from redis.backoff import NoBackoff  # noqa: PLC0415 - see the top
    from redis.maint_notifications import MaintNotificationsConfig  # noqa: PLC0415 - see the top

    # No retries (the client's default is three): whoever asks has 20 ms, and a way to do without. No time-outs either:
    # `RedisLink` has them, and can tell a Redis that is late from a process that was held up itself.
    return Redis.from_pool(
        BlockingConnectionPool.from_url(
            url,
            max_connections=32,
            timeout=None,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=None,
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
    )


def _telegram_door(settings: Settings, telegram: TelegramPlatform | None) -> TelegramDoor | None:
    from bot.web.telegram import TelegramDoor  # noqa: PLC0415 - see the top

    if telegram is None or settings.webhook_path is None:
        return None
    return TelegramDoor(path=settings.webhook_path, secret=webhook_secret(settings), receive=telegram.receive)


def _telegram_session(settings: Settings) -> TelegramSession:
    from aiogram.client.telegram import TelegramAPIServer  # noqa: PLC0415 - see the top
    from aiohttp import ClientSession, TCPConnector, TraceConfig  # noqa: PLC0415 - see the top

    from adapters.telegram.session import TelegramSession  # noqa: PLC0415 - see the top

    api = TelegramAPIServer.from_base(settings.telegram_api_url)
    tls = trust(settings.ca_file)

    def connect(tracing: TraceConfig) -> ClientSession:
        # aiogram's own reads neither HTTPS_PROXY nor NO_PROXY. Otherwise the same: 100 connections, names for an hour.
        connector = TCPConnector(ssl=tls, limit=100, ttl_dns_cache=3600)
        return ClientSession(connector=connector, trust_env=True, trace_configs=[tracing])

    return TelegramSession(api=api, connect=connect)


def _telegram_bot(settings: Settings, session: TelegramSession) -> Bot:
    from aiogram import Bot  # noqa: PLC0415 - see the top

    assert settings.telegram_bot_token is not None
    return Bot(settings.telegram_bot_token.get_secret_value(), session=session)


def webhook_secret(settings: Settings) -> str:
    """What Telegram proves itself with."""
    from adapters.telegram.webhook import secret_of  # noqa: PLC0415 - see the top

    if settings.telegram_webhook_secret is not None:
        return settings.telegram_webhook_secret.get_secret_value()
    assert settings.telegram_bot_token is not None
    return secret_of(settings.telegram_bot_token.get_secret_value())


@asynccontextmanager
async def _open_slack(
    settings: Settings,
    accept: Callable[[Inbound], Awaitable[None]],
    stop: Callable[[StopRequest], Awaitable[StopOutcome]],
    budget: Budget | None = None,
) -> AsyncIterator[SlackPlatform]:
    from aiohttp import ClientSession  # noqa: PLC0415 - see the top
    from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler  # noqa: PLC0415 - see the top
    from slack_bolt.async_app import AsyncApp  # noqa: PLC0415 - see the top
    from slack_sdk.web.async_client import AsyncWebClient  # noqa: PLC0415 - see the top

    from adapters.slack.platform import SlackPlatform  # noqa: PLC0415 - see the top

    assert settings.slack_bot_token is not None
    assert settings.slack_app_token is not None
    async with ClientSession() as session:
        # One session: without it the client opens a connection for every call. No retries: the publisher has its own.
        client = AsyncWebClient(
            settings.slack_bot_token.get_secret_value(),
            base_url=settings.slack_api_url.rstrip("/") + "/",
            session=session,
            ssl=trust(settings.ca_file),
            retry_handlers=[],
        )
        app = AsyncApp(client=client, raise_error_for_unhandled_request=False)
        socket = AsyncSocketModeHandler(app, settings.slack_app_token.get_secret_value())
        # The SDK reads HTTPS_PROXY by itself, but not NO_PROXY.
        client.proxy = socket.client.proxy = proxy_for(settings.slack_api_url)
        slack = SlackPlatform(app, socket=socket, accept=accept, stop=stop, budget=budget)
        try:
            yield slack
        finally:
            await slack.close()
            await socket.client.aiohttp_client_session.close()  # also where it was never connected


def _people(admins: frozenset[str], platform: Platform) -> list[str]:
    """The ids of those who are admins on this platform."""
    return [name.partition(":")[2] for name in admins if name.startswith(f"{platform}:")]


def _fingerprint(token: SecretStr) -> str:
    """Tells one bot's keys from another's without giving the token away."""
    return sha256(token.get_secret_value().encode()).hexdigest()[:12]


async def _nothing(_inbound: Inbound) -> None:
    """A check takes no questions."""


async def _nobody(_request: StopRequest) -> StopOutcome:
    return "idle"


def _openai(settings: Settings, key: SecretStr | None, base_url: str | None) -> AsyncOpenAI:
    import httpx2  # noqa: PLC0415 - see the top
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient  # noqa: PLC0415 - see the top

    # max_retries=0: there is one retry layer, in rag/generate/llm.py, and it knows the turn's deadline.
    # A key must not be empty for the client, but many servers of one's own want none.
    return AsyncOpenAI(
        api_key=key.get_secret_value() if key else "unused",
        base_url=base_url,
        max_retries=0,
        timeout=httpx2.Timeout(connect=5.0, read=600.0, write=10.0, pool=5.0),
        http_client=DefaultAsyncHttpxClient(
            verify=trust(settings.ca_file),
            limits=httpx2.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=60.0),
        ),
    )


def _cached_names(store: Store, clock: Callable[[], float] = time.monotonic) -> Callable[[], Awaitable[frozenset[str]]]:
    known: frozenset[str] = frozenset()
    until = float("-inf")
    lock = asyncio.Lock()

    async def names() -> frozenset[str]:
        nonlocal known, until
        if clock() >= until:
            async with lock:
                if clock() >= until:
                    # A store that is away for a while takes no FAQ away from those who may read it.
                    with contextlib.suppress(StoreUnavailable):
                        known = frozenset(await store.counts())
                    until = clock() + _NAMES_FOR_S
        return known

    return names


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
