"""`grapevine doctor`: check every configured part and say what to do."""

from __future__ import annotations

import asyncio
import errno
import shutil
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Literal

import click

from bot.cli.common import FAILED, json_option, log_beside_result, print_json, run, settings
from bot.settings import Settings
from bot.state.sqlite import SqliteState, StateError
from bot.state.turns import SqliteTurns
from rag.errors import RagError

Verdict = Literal["ok", "warning", "failed"]
_LOW_DISK_BYTES = 500 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found."""

    part: str
    verdict: Verdict
    detail: str
    """What is so, and if it is not well, what to do."""


@click.command("doctor")
@json_option
def command(as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Check the data folder, the store, the embedder, the model, the platforms and the port.

    Exit code 1 if something fails; a warning does not.
    """
    configured = settings()
    log_beside_result(configured)
    findings = run(_examine(configured))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        marks = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red")}
        for finding in findings:
            mark, colour = marks[finding.verdict]
            click.echo(f"{click.style(mark, fg=colour)} {finding.part:<11} {finding.detail}")
    if any(finding.verdict == "failed" for finding in findings):
        raise click.exceptions.Exit(FAILED)


async def _examine(configured: Settings) -> list[Finding]:
    findings = [await asyncio.to_thread(_data_folder, configured)]
    checks: list[tuple[str, Callable[[Settings], Awaitable[Finding]]]] = [
        ("state", _state),
        ("store", _store),
        ("embeddings", _embeddings),
        ("model", _model),
        ("telegram", _telegram),
        ("slack", _slack),
    ]
    for part, check in checks:
        try:
            findings.append(await check(configured))
        except (RagError, StateError) as error:
            findings.append(Finding(part=part, verdict="failed", detail=str(error)))
    findings.append(await asyncio.to_thread(_port, configured))
    return findings


def _data_folder(configured: Settings) -> Finding:
    folder = configured.data.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        detail = f"{folder} cannot be written ({error.strerror}); set GRAPEVINE_DATA to a folder that can"
        return Finding(part="data", verdict="failed", detail=detail)
    free = shutil.disk_usage(folder).free
    if free < _LOW_DISK_BYTES:
        return Finding(part="data", verdict="warning", detail=f"{folder}: only {free / 2**20:.0f} MB of disk are free")
    return Finding(part="data", verdict="ok", detail=f"{folder}, {free / 2**30:.0f} GB free")


async def _state(configured: Settings) -> Finding:
    state = await SqliteState.open(configured.data / "state.db")
    try:
        owed = await SqliteTurns(state).count()
    finally:
        await state.close()
    detail = f"{owed} answers are owed; `grapevine serve` takes them up" if owed else "nothing is owed"
    return Finding(part="state", verdict="ok", detail=detail)


async def _store(configured: Settings) -> Finding:
    from bot.wiring import knowledge_store  # noqa: PLC0415 - numpy, only when needed

    store = knowledge_store(configured)
    try:
        await store.open()
        await store.check()
        counts = await store.counts()
    finally:
        await store.close()
    documents = sum(count.documents for count in counts.values())
    pending = sum(count.pending for count in counts.values())
    if not documents:
        return Finding(part="store", verdict="warning", detail="no documents yet: `grapevine ingest PATH`")
    held = f"{documents} documents in {', '.join(sorted(counts))}"
    if pending:
        detail = f"{held}; {pending} chunks lack vectors: run the last `grapevine ingest` again"
        return Finding(part="store", verdict="warning", detail=detail)
    return Finding(part="store", verdict="ok", detail=held)


async def _embeddings(configured: Settings) -> Finding:
    from bot.wiring import knowledge_store, open_embedder  # noqa: PLC0415 - onnxruntime, only when needed
    from rag.embeddings.minilm import MiniLM  # noqa: PLC0415 - likewise

    async with open_embedder(configured) as embedder:
        started = time.perf_counter()
        await embedder.embed(["How long does a question take?"], urgent=True)
        took_ms = (time.perf_counter() - started) * 1000
        store = knowledge_store(configured)
        try:
            await store.check_embedding(embedder.name, embedder.dimensions)
        finally:
            await store.close()
    how = f" on {embedder.device} in {embedder.precision}" if isinstance(embedder, MiniLM) else ""
    detail = f"{embedder.name}, {embedder.dimensions} dimensions, {took_ms:.0f} ms a question{how}"
    return Finding(part="embeddings", verdict="ok", detail=detail)


async def _model(configured: Settings) -> Finding:
    from bot.wiring import open_answerer  # noqa: PLC0415 - openai, only when needed
    from rag.ports import GenerationRequest, Token  # noqa: PLC0415 - likewise
    from rag.resilience.deadline import Deadline  # noqa: PLC0415 - likewise
    from rag.types import Passage  # noqa: PLC0415 - likewise

    if not configured.has_model:
        detail = "none: answers quote the documents; set OPENAI_API_KEY or OPENAI_BASE_URL for written ones"
        return Finding(part="model", verdict="ok", detail=detail)
    probe = Passage(
        passage_id="doctor", document="doctor", title="Doctor", collection="public", text="The sky is blue.", score=1.0
    )
    request = GenerationRequest(
        question="Which colour has the sky?", language="en", passages=(probe,), deadline=Deadline.after(30)
    )
    async with open_answerer(configured) as (answerer, _):
        started = time.perf_counter()
        async for piece in answerer.stream(request):
            if isinstance(piece, Token):
                break
        took_ms = (time.perf_counter() - started) * 1000
    return Finding(part="model", verdict="ok", detail=f"{answerer.model}, first token after {took_ms:.0f} ms")


async def _telegram(configured: Settings) -> Finding:
    from adapters.telegram.polling import TokenRefused  # noqa: PLC0415 - aiogram, only when needed
    from adapters.telegram.webhook import WebhookRefused, webhook_info  # noqa: PLC0415 - likewise
    from bot.wiring import open_telegram  # noqa: PLC0415 - likewise

    if configured.telegram_bot_token is None:
        return Finding(part="telegram", verdict="ok", detail="not configured; set TELEGRAM_BOT_TOKEN to use it")
    try:
        async with open_telegram(configured) as (bot, platform), asyncio.timeout(15):
            name = await platform.identify()
            info = await webhook_info(bot)
    except (TokenRefused, WebhookRefused, ConnectionError) as error:
        return Finding(part="telegram", verdict="failed", detail=str(error))
    except TimeoutError:
        detail = "Telegram does not answer within 15 s; check the network, HTTPS_PROXY and TELEGRAM_API_URL"
        return Finding(part="telegram", verdict="failed", detail=detail)
    wanted = configured.webhook_address or ""
    if info.url and not wanted:
        hint = "set TELEGRAM_WEBHOOK_URL, or run `grapevine telegram-webhook delete`"
        detail = f"@{name}, but Telegram delivers to a webhook that is not configured here; {hint}"
        return Finding(part="telegram", verdict="warning", detail=detail)
    if info.last_error_message and info.pending_update_count:
        detail = f"@{name}, but Telegram could not deliver to the webhook: {info.last_error_message}"
        return Finding(part="telegram", verdict="warning", detail=detail)
    return Finding(part="telegram", verdict="ok", detail=f"@{name}, by {'webhook' if wanted else 'long polling'}")


async def _slack(configured: Settings) -> Finding:
    from adapters.slack.platform import SlackRefused  # noqa: PLC0415 - Bolt, only when needed
    from bot.wiring import open_slack  # noqa: PLC0415 - likewise

    if configured.slack_bot_token is None:
        detail = "not configured; set SLACK_BOT_TOKEN and SLACK_APP_TOKEN to use it"
        return Finding(part="slack", verdict="ok", detail=detail)
    try:
        async with open_slack(configured) as identify, asyncio.timeout(15):
            name = await identify()
    except (SlackRefused, ConnectionError) as error:
        return Finding(part="slack", verdict="failed", detail=str(error))
    except TimeoutError:
        detail = "Slack does not answer within 15 s; check the network, HTTPS_PROXY and SLACK_API_URL"
        return Finding(part="slack", verdict="failed", detail=detail)
    return Finding(part="slack", verdict="ok", detail=f"@{name}")


def _port(configured: Settings) -> Finding:
    where = f"{configured.host}:{configured.port}"
    family = socket.AF_INET6 if ":" in configured.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((configured.host, configured.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                detail = f"{where} is in use, perhaps by a running `grapevine serve`; else set GRAPEVINE_PORT"
                return Finding(part="port", verdict="warning", detail=detail)
            return Finding(part="port", verdict="failed", detail=f"{where}: {error.strerror}; set GRAPEVINE_HOST")
    return Finding(part="port", verdict="ok", detail=f"{where} is free")
