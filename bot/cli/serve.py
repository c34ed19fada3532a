"""`grapevine serve`: start whatever is configured, say what it runs with, stop cleanly on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
from functools import partial
from typing import TYPE_CHECKING

import click
import structlog
from aiohttp import web

from bot.cli.common import open_log, run, settings
from bot.leader import leading
from bot.settings import Settings
from bot.state.sqlite import StateError
from bot.telemetry.log import log_loop_error, write_turn
from rag.errors import EmbeddingError, StoreUnavailable

if TYPE_CHECKING:
    from bot.lanes import Lanes
    from bot.wiring import Application, Core

_LAST_WORDS_S = 2.0
"""For what a stopped answer still has to say to its reader."""
_PRUNE_EVERY_S = 3600.0

log = structlog.get_logger(__name__)


@click.command("serve")
@click.option("--host", help="Address to listen on (default: GRAPEVINE_HOST).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (default: GRAPEVINE_PORT; 0: any).")
def command(host: str | None, port: int | None) -> None:
    """Start whatever is configured: chat page and API always, Telegram and Slack with their tokens."""
    configured = settings()
    changes = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    configured = configured.model_copy(update=changes)
    close_log = open_log(configured, configured.log)
    try:
        run(_serve(configured))
    finally:
        close_log()


async def _serve(configured: Settings) -> None:
    from bot.wiring import open_application  # noqa: PLC0415 - onnxruntime, aiogram: only when needed

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(log_loop_error)
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    async with open_application(configured, write_turn=write_turn) as app:
        if app.core.presence.problem is None:
            await _load_what_is_there(app.core)
        drain_s = configured.drain_s
        runner = web.AppRunner(app.web, access_log=None, shutdown_timeout=_LAST_WORDS_S, handler_cancellation=True)
        await runner.setup()
        try:
            address = await _listen(runner, configured)
            (configured.data / "address").write_text(address + "\n", encoding="ascii")
            await app.jobs.start()
            for line in await _summary(app, address):
                click.echo(line, err=True)
            log.info("started", address=address)
            await _run_until(stop, app)
            log.info("stopping")
            click.echo("stopping: running answers come to their end", err=True)
            is_complete, _ = await asyncio.gather(
                app.intake.drain(timeout_s=drain_s), _close_web(runner, app.replica.web.lanes, drain_s)
            )
            if not is_complete:
                click.echo("stopping: unfinished answers are resumed by the next start", err=True)
        finally:
            await runner.cleanup()
            await app.jobs.stop()
            with contextlib.suppress(OSError):
                (configured.data / "address").unlink()


async def _listen(runner: web.AppRunner, configured: Settings) -> str:
    # A backlog for five hundred people who come at the same moment; the kernel may cap it (net.core.somaxconn).
    site = web.TCPSite(runner, configured.host, configured.port, backlog=1024)
    try:
        await site.start()
    except OSError as error:
        where = f"{configured.host}:{configured.port}"
        if error.errno == errno.EADDRINUSE:
            raise click.ClickException(
                f"{where} is in use: stop what listens there, or set GRAPEVINE_PORT to another port"
            ) from error
        raise click.ClickException(f"cannot listen on {where} ({error.strerror}); set GRAPEVINE_HOST") from error
    host, port = runner.addresses[0][:2]
    # An address that means "all of this machine's" is none that a browser can open.
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - compared, not bound
    return f"http://{shown}:{port}"


async def _close_web(runner: web.AppRunner, lanes: Lanes, drain_s: float) -> None:
    """Let the answers on the web come to their end; those that do not in time are stopped, with what there is of them.

    aiohttp waits for its timeout twice, and then cuts connections: nobody would learn how the answer ended.
    """
    for site in list(runner.sites):
        await site.stop()
    lanes.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(drain_s):
            while lanes.known:  # noqa: ASYNC110 - once, at the end
                await asyncio.sleep(0.05)
    for event_id in lanes.known:
        lanes.tell("stop", event_id)
    await runner.cleanup()


async def _run_until(stop: asyncio.Event, app: Application) -> None:
    """Run the platforms until told to stop; a refused token ends only its own platform."""
    tasks = [asyncio.create_task(_prune(app), name="prune"), asyncio.create_task(_warm(app.core), name="warm")]
    tasks.append(asyncio.create_task(app.core.presence.follow(partial(_load, app.core)), name="store"))
    if app.telegram is not None or app.slack is not None:
        tasks.append(asyncio.create_task(app.intake.watch(), name="owed"))
    if app.telegram is not None:
        tasks.append(asyncio.create_task(_telegram(app), name="telegram"))
    if app.slack is not None:
        tasks.append(asyncio.create_task(_slack(app), name="slack"))
    for task in tasks:
        task.add_done_callback(_note_failure)
    try:
        await stop.wait()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _note_failure(task: asyncio.Task[None]) -> None:
    """Work that ended by a bug is missed at once, not when the server stops."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("background_work_failed", task=task.get_name(), error=type(error).__qualname__)


async def _telegram(app: Application) -> None:
    from adapters.telegram.polling import TokenRefused  # noqa: PLC0415 - aiogram, only when needed
    from bot.wiring import webhook_secret  # noqa: PLC0415 - likewise

    assert app.telegram is not None
    work, address = app.telegram.run, app.core.settings.webhook_address
    if address is not None:
        work = partial(app.telegram.keep_webhook, address, webhook_secret(app.core.settings))
    try:
        await leading(app.replica.chat.outbox, "telegram", work)
    except TokenRefused as error:
        log.error("telegram_stopped", reason=str(error))  # noqa: TRY400 - the reason is all there is to say
        click.echo(f"grapevine: {error}", err=True)


async def _slack(app: Application) -> None:
    from adapters.slack.platform import SlackRefused  # noqa: PLC0415 - Bolt, only when needed

    assert app.slack is not None
    try:
        await app.slack.run()  # on every replica: Slack gives each event to one of up to ten sockets
    except SlackRefused as error:
        log.error("slack_stopped", reason=str(error))  # noqa: TRY400 - the reason is all there is to say
        click.echo(f"grapevine: {error}", err=True)


async def _load(core: Core) -> None:
    """Have everything in memory before the first question: it would wait a second for it (measured: 350 ms, not 9)."""
    await core.store.load()
    if collections := await core.collections():
        await core.search.retrieve("What is this about?", collections=collections, k=1)


async def _load_what_is_there(core: Core) -> None:
    """The same at the start: a database or model that has just gone away costs the first question a second, no more."""
    try:
        await _load(core)
    except (StoreUnavailable, EmbeddingError) as error:
        log.warning("not_loaded", cause=str(error))


async def _warm(core: Core) -> None:
    """Open the connection to the model before the first question needs it; a failure here is only a slower start."""
    from openai import OpenAIError  # noqa: PLC0415 - only when needed

    if core.model_client is not None:
        with contextlib.suppress(OpenAIError, TimeoutError):
            async with asyncio.timeout(10):
                await core.model_client.models.list()


async def _prune(app: Application) -> None:
    while True:
        try:
            await app.replica.chat.outbox.prune(days=app.core.settings.retention_days)
            await app.conversations.prune()
        except StateError as error:
            log.warning("not_pruned", cause=str(error))
        await asyncio.sleep(_PRUNE_EVERY_S)


async def _summary(app: Application, address: str) -> list[str]:
    core = app.core
    held = core.presence.problem
    if held is None:
        counts = await core.store.counts()
        held = ", ".join(f"{name} ({count.documents} documents)" for name, count in sorted(counts.items()))
    where = core.settings.neo4j_uri
    kept = f"embedded, {core.settings.data / 'knowledge.db'}" if where is None else f"Neo4j, {where}"
    model = core.answerer.model
    if core.model_client is None:
        model += " (no OPENAI_API_KEY or OPENAI_BASE_URL: answers quote the documents)"
    platforms = ["web", *(["telegram"] if app.telegram else []), *(["slack"] if app.slack else [])]
    lines = [
        f"store       {kept}",
        f"documents   {held or 'none; `grapevine ingest PATH` takes some in'}",
        f"embeddings  {core.embedder.name} ({core.embedder.dimensions} dimensions)",
        f"model       {model}",
        f"platforms   {', '.join(platforms)}",
    ]
    if core.settings.redis_url is not None:
        lines.append("replicas    " + (app.replica.degraded[0] if app.replica.degraded else "share Redis"))
    if app.admin_token_file:
        lines.append(f"admin       token in {app.admin_token_file}; `grapevine login-link` opens {address}/dashboard")
    lines.append(f"address     {address}")
    return lines
