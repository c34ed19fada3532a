"""The clients of other systems: each is made here, by what the settings say, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.setting_values import parse_neo4j_timeouts
from bot.settings import Settings
from bot.tls import trust

# The packages of clients are imported where a client is made: aiogram alone takes two seconds, openai half a
# second, and `grapevine ask` over the offline parts should wait for neither.
if TYPE_CHECKING:
    from aiogram import Bot
    from neo4j import AsyncDriver
    from openai import AsyncOpenAI
    from pydantic import SecretStr
    from redis.asyncio import Redis

    from adapters.telegram.session import TelegramSession


def neo4j_driver(settings: Settings, uri: str) -> AsyncDriver:
    """The one driver of the process, with its pool; not connected yet."""
    from neo4j import AsyncGraphDatabase, NotificationMinimumSeverity  # noqa: PLC0415 - see the top

    password, timeouts = settings.neo4j_password, parse_neo4j_timeouts(settings.neo4j_timeouts)
    return AsyncGraphDatabase.driver(
        uri,
        auth=(settings.neo4j_username, password.get_secret_value()) if password else None,
        max_connection_pool_size=settings.neo4j_pool_size,
        # The driver's own 60, 30 and 30 seconds are longer than anybody waits for an answer.
        connection_acquisition_timeout=timeouts.acquisition,
        connection_timeout=timeouts.connect,
        max_transaction_retry_time=0.0,  # the store retries, and knows what may be
        liveness_check_timeout=timeouts.liveness,
        keep_alive=True,
        notifications_min_severity=NotificationMinimumSeverity.OFF,
        telemetry_disabled=True,
        user_agent="grapevine",
    )


def openai_client(settings: Settings, key: SecretStr | None, base_url: str | None) -> AsyncOpenAI:
    """A client of an OpenAI-compatible endpoint."""
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


def redis_client(url: str) -> Redis:
    """A client with a pool of its own; not connected yet."""
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


def telegram_session(settings: Settings) -> TelegramSession:
    """What the bot's calls go through: proxy, certificates and the Bot API server as configured."""
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


def telegram_bot(settings: Settings, session: TelegramSession) -> Bot:
    """The configured bot."""
    from aiogram import Bot  # noqa: PLC0415 - see the top

    assert settings.telegram_bot_token is not None
    return Bot(settings.telegram_bot_token.get_secret_value(), session=session)
