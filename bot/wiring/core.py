"""What answers questions, whatever the platform: store, embedder, retrieval, model and FAQs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bot.conversations import Conversations
from bot.faqs.desk import Faqs
from bot.faqs.suggest import follow_ups
from bot.faqs.warm import Warmer
from bot.presence import Presence
from bot.reranking import rerank_failed
from bot.setting_values import parse_vector_index
from bot.settings import Settings
from bot.smalltalk import SmallTalk
from bot.tls import trust
from bot.turn import Turns
from bot.wiring.clients import neo4j_driver, openai_client
from rag.cache.faq import FaqBook
from rag.embeddings import parse_model
from rag.engine import Engine
from rag.errors import StoreError
from rag.generate.extractive import ExtractiveAnswerer
from rag.generate.followup import RuleRewriter
from rag.rerank import parse_rerank
from rag.retrieval.search import Search
from rag.stores.embedded import EmbeddedStore

# The packages of clients are imported where a client is made: aiogram alone takes two seconds, openai half a
# second, and `grapevine ask` over the offline parts should wait for neither.
if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from adapters.ports import Platform
    from bot.telemetry.line import TurnLog
    from rag.cache.faq import FaqStore
    from rag.generate.llm import OpenAIAnswerer
    from rag.ports import Answerer, Embedder, Reranker, Retriever, Rewriter
    from rag.stores.neo4j import Neo4jStore

    Store = EmbeddedStore | Neo4jStore

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


def knowledge_store(settings: Settings) -> Store:
    """The store that the settings name; not opened yet."""
    if settings.neo4j_uri is None:
        return EmbeddedStore(settings.data / "knowledge.db")
    from rag.stores.neo4j import Neo4jStore, VectorOptions  # noqa: PLC0415 - see the top

    m, ef_construction, quantisation = parse_vector_index(settings.neo4j_vector_index)
    return Neo4jStore(
        neo4j_driver(settings, settings.neo4j_uri),
        address=settings.neo4j_uri,
        database=settings.neo4j_database,
        pool_size=settings.neo4j_pool_size,
        vectors=VectorOptions(m=m, ef_construction=ef_construction, quantisation=quantisation),
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
            client = openai_client(settings, key, settings.embedding_base_url or settings.openai_base_url)
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

    client = openai_client(settings, settings.openai_api_key, settings.openai_base_url)
    try:
        yield OpenAIAnswerer(client, settings.llm_model), client
    finally:
        await client.close()


@asynccontextmanager
async def open_extractor(settings: Settings) -> AsyncIterator[OpenAIAnswerer]:
    """The model that reads documents for `grapevine ingest --extract llm`: patient, as nobody is waiting."""
    from rag.generate.llm import OpenAIAnswerer, Patience  # noqa: PLC0415 - see the top

    client = openai_client(settings, settings.openai_api_key, settings.openai_base_url)
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
                    with contextlib.suppress(StoreError):
                        known = frozenset(await store.counts())
                    until = clock() + _NAMES_FOR_S
        return known

    return names
