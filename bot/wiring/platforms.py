"""Telegram and Slack, wired to what takes their questions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING

from bot.admin_commands import AdminCommands
from bot.commands import Commands
from bot.intake import Intake
from bot.settings import Settings
from bot.state.kept import Note
from bot.state.sqlite import SqliteState, StateError
from bot.tls import proxy_for, trust
from bot.wiring.clients import telegram_bot, telegram_session
from bot.wiring.core import Core

# The packages of clients are imported where a client is made: aiogram alone takes two seconds, openai half a
# second, and `grapevine ask` over the offline parts should wait for neither.
if TYPE_CHECKING:
    from aiogram import Bot
    from pydantic import SecretStr

    from adapters.ports import Budget, Inbound, Platform, StopOutcome, StopRequest
    from adapters.slack.platform import SlackPlatform
    from adapters.telegram.platform import TelegramPlatform
    from bot.replica import Replica
    from bot.web.telegram import TelegramDoor


@asynccontextmanager
async def open_telegram(settings: Settings) -> AsyncIterator[tuple[Bot, TelegramPlatform]]:
    """The configured bot, receiving nothing; for checks and commands. Raises `SettingsError`."""
    from adapters.telegram.platform import TelegramPlatform  # noqa: PLC0415 - see the top

    session = telegram_session(settings)
    try:
        bot = telegram_bot(settings, session)
        yield bot, TelegramPlatform(bot, accept=_nothing, stop=_nobody)
    finally:
        await session.close()


@asynccontextmanager
async def open_slack(settings: Settings) -> AsyncIterator[Callable[[], Awaitable[str]]]:
    """Asks Slack for the configured bot's name; for checks only."""
    async with connected_slack(settings, _nothing, _nobody) as slack:
        yield slack.identify


async def build_telegram(
    stack: AsyncExitStack,
    core: Core,
    state: SqliteState,
    replica: Replica,
    *,
    intake: Intake,
    admins: AdminCommands,
    desk: Commands,
) -> TelegramPlatform:
    """The configured bot with its admins' commands, closed by `stack`; receives nothing until it is run."""
    from adapters.telegram.admin import TelegramAdmin  # noqa: PLC0415 - see the top
    from adapters.telegram.limits import charges  # noqa: PLC0415 - see the top
    from adapters.telegram.platform import TelegramPlatform  # noqa: PLC0415 - see the top

    settings = core.settings
    session = telegram_session(settings)
    stack.push_async_callback(session.close)
    bot = telegram_bot(settings, session)
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
        is_temporary=is_temporary,
        server_time=session.server_time,
        webhook_note=Note(state, f"telegram-webhook:{bot.id}"),
        desk=desk,
    )
    stack.push_async_callback(telegram.close)
    return telegram


def is_temporary(error: Exception) -> bool:
    """Whether a question that met this error can be recorded later: a full disk, a locked file."""
    return isinstance(error, StateError)


def telegram_door(settings: Settings, telegram: TelegramPlatform | None) -> TelegramDoor | None:
    """Where Telegram delivers; None: updates are polled for."""
    from bot.web.telegram import TelegramDoor  # noqa: PLC0415 - see the top

    if telegram is None or settings.webhook_path is None:
        return None
    return TelegramDoor(path=settings.webhook_path, secret=webhook_secret(settings), receive=telegram.receive)


def webhook_secret(settings: Settings) -> str:
    """What Telegram proves itself with."""
    from adapters.telegram.webhook import secret_of  # noqa: PLC0415 - see the top

    if settings.telegram_webhook_secret is not None:
        return settings.telegram_webhook_secret.get_secret_value()
    assert settings.telegram_bot_token is not None
    return secret_of(settings.telegram_bot_token.get_secret_value())


@asynccontextmanager
async def connected_slack(
    settings: Settings,
    accept: Callable[[Inbound], Awaitable[None]],
    stop: Callable[[StopRequest], Awaitable[StopOutcome]],
    budget: Budget | None = None,
) -> AsyncIterator[SlackPlatform]:
    """The configured app over Socket Mode; receives nothing until it is run."""
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


def fingerprint(token: SecretStr) -> str:
    """Tells one bot's keys from another's without giving the token away."""
    return sha256(token.get_secret_value().encode()).hexdigest()[:12]


async def _nothing(_inbound: Inbound) -> None:
    """A check takes no questions."""


async def _nobody(_request: StopRequest) -> StopOutcome:
    return "idle"
