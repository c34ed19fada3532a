"""`grapevine telegram-webhook`: tell Telegram where to deliver, see how its deliveries fare, let it deliver nowhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click

from bot.cli.common import json_option, print_json, run, settings
from bot.settings import Settings, SettingsError
from bot.state.kept import Note
from bot.state.sqlite import SqliteState

if TYPE_CHECKING:
    from aiogram import Bot

    from adapters.telegram.platform import TelegramPlatform

Work = Callable[["Bot", "TelegramPlatform"], Awaitable[dict[str, Any]]]


@click.group("telegram-webhook")
def command() -> None:
    """Where Telegram delivers. `serve` sets the webhook by itself when TELEGRAM_WEBHOOK_URL is set."""


@command.command("set")
@click.option("--drop-pending", is_flag=True, help="Forget what waits to be delivered.")
@json_option
def set_(drop_pending: bool, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Have Telegram deliver to TELEGRAM_WEBHOOK_URL, whatever is set there now."""
    configured = settings()
    address = configured.webhook_address
    if address is None:
        raise SettingsError("TELEGRAM_WEBHOOK_URL is not set: the public address that Telegram delivers to")

    async def work(bot: Bot, platform: TelegramPlatform) -> dict[str, Any]:
        from adapters.telegram.webhook import Webhook, set_webhook  # noqa: PLC0415 - aiogram, only when needed
        from bot.wiring import webhook_secret  # noqa: PLC0415 - likewise

        kinds = tuple(platform.update_kinds)
        webhook = Webhook(url=address, secret=webhook_secret(configured), allowed_updates=kinds)
        await set_webhook(bot, webhook, drop_pending=drop_pending)
        await _note(configured, bot, webhook.fingerprint)
        return {"url": address, "allowed_updates": list(kinds)}

    done = _at_telegram(configured, work)
    _show(done, as_json=as_json, text=f"Telegram delivers to {address}")


@command.command("info")
@json_option
def info(as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Print what Telegram knows: address, kinds of updates, how many wait, the last failure."""
    configured = settings()

    async def work(bot: Bot, _: TelegramPlatform) -> dict[str, Any]:
        from adapters.telegram.webhook import webhook_info  # noqa: PLC0415 - aiogram, only when needed

        known = await webhook_info(bot)
        failed_at = known.last_error_date
        return {
            "url": known.url or None,
            "is_configured": known.url == (configured.webhook_address or ""),
            "pending": known.pending_update_count,
            "allowed_updates": known.allowed_updates,
            "last_error": known.last_error_message,
            "last_error_at": failed_at.isoformat() if failed_at else None,
        }

    found = _at_telegram(configured, work)
    _show(found, as_json=as_json, text="\n".join(_lines(found)))


@command.command("delete")
@click.option("--drop-pending", is_flag=True, help="Forget what waits to be delivered.")
@json_option
def delete(drop_pending: bool, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Let Telegram deliver nowhere: updates wait up to a day for whoever polls."""
    configured = settings()

    async def work(bot: Bot, _: TelegramPlatform) -> dict[str, Any]:
        from adapters.telegram.webhook import delete_webhook  # noqa: PLC0415 - aiogram, only when needed

        await delete_webhook(bot, drop_pending=drop_pending)
        return {"url": None}

    _show(_at_telegram(configured, work), as_json=as_json, text="Telegram delivers to no webhook any more")


def _at_telegram(configured: Settings, work: Work) -> dict[str, Any]:
    if configured.telegram_bot_token is None:
        raise SettingsError("TELEGRAM_BOT_TOKEN is not set: the token that @BotFather shows for your bot")

    async def inside() -> dict[str, Any]:
        from adapters.telegram.polling import TokenRefused  # noqa: PLC0415 - aiogram, only when needed
        from adapters.telegram.webhook import WebhookRefused  # noqa: PLC0415 - likewise
        from bot.wiring import open_telegram  # noqa: PLC0415 - likewise

        async with open_telegram(configured) as (bot, platform):
            try:
                return await work(bot, platform)
            except ConnectionError as error:
                hint = "check the network, HTTPS_PROXY and TELEGRAM_API_URL"
                raise click.ClickException(f"{error}; {hint}") from None
            except (TokenRefused, WebhookRefused) as error:
                raise click.ClickException(str(error)) from None

    return run(inside())


async def _note(configured: Settings, bot: Bot, fingerprint: str) -> None:
    """So that `serve` knows that nothing is left to be set."""
    state = await SqliteState.open(configured.data / "state.db")
    try:
        await Note(state, f"telegram-webhook:{bot.id}").write(fingerprint)
    finally:
        await state.close()


def _lines(found: dict[str, Any]) -> list[str]:
    if found["url"] is None:
        return ["no webhook is set: updates are polled for", f"waiting     {found['pending']} updates"]
    lines = [
        f"address     {found['url']}" + ("" if found["is_configured"] else " (not what is configured here)"),
        f"kinds       {', '.join(found['allowed_updates'] or ['all but a few'])}",
        f"waiting     {found['pending']} updates",
    ]
    if found["last_error"]:
        lines.append(f"last error  {found['last_error']} ({found['last_error_at']})")
    return lines


def _show(found: dict[str, Any], *, as_json: bool, text: str) -> None:
    if as_json:
        print_json(found)
    else:
        click.echo(text)
