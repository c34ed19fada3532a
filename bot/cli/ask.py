"""`grapevine ask`: a question and its answer in the terminal, through the same turn as on every platform."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from dataclasses import asdict
from typing import Any, get_args

import click

from adapters.console.live import ConsoleMessage
from adapters.ports import Inbound, LiveMessage
from adapters.web.live import WholeAnswer
from bot.cli.common import json_option, log_beside_result, print_json, run, settings
from bot.settings import Settings
from bot.state.sqlite import SqliteState
from bot.turn import new_trace_id
from bot.turn_ports import TurnResult
from rag.asked import LONGEST_QUESTION
from rag.errors import InputError
from rag.types import Mode, Passage


@click.command("ask")
@click.argument("question", nargs=-1, required=True)
@click.option("--collection", "collections", multiple=True, help="Ask only this collection; may be repeated.")
@click.option("--passages", is_flag=True, help="Print the passages that were found instead of an answer.")
@click.option("-k", default=8, show_default=True, type=click.IntRange(1, 100), help="How many passages to print.")
@click.option("--mode", default="hybrid", show_default=True, type=click.Choice(get_args(Mode)), help="How to search.")
@json_option
def command(
    question: tuple[str, ...],
    collections: tuple[str, ...],
    passages: bool,  # noqa: FBT001 - click passes options by name
    k: int,
    mode: Mode,
    as_json: bool,  # noqa: FBT001 - likewise
) -> None:
    """Ask QUESTION (`-`: read it from standard input) and watch the answer being written."""
    text = sys.stdin.read() if question == ("-",) else " ".join(question)
    configured = settings()
    log_beside_result(configured)
    wanted = frozenset(collections)
    if passages:
        if len(text) > LONGEST_QUESTION:
            raise InputError(f"the question has {len(text):,} characters; at most {LONGEST_QUESTION:,} are read")
        found = run(_passages(configured, text, wanted, k, mode))
        _print_passages(found, as_json=as_json)
        return
    result = run(_answer(configured, text, wanted, as_json=as_json))
    if as_json:
        print_json(_as_json(result))
    if result.outcome == "failed":
        raise click.exceptions.Exit(1)


async def _passages(configured: Settings, text: str, wanted: frozenset[str], k: int, mode: Mode) -> tuple[Passage, ...]:
    from bot.wiring import open_core  # noqa: PLC0415 - onnxruntime and its friends, only when needed

    async with open_core(configured) as core:
        readable = _chosen(await core.may_read("console"), wanted)
        return (await core.search.retrieve(text, collections=readable, k=k, mode=mode)).passages


async def _answer(configured: Settings, text: str, wanted: frozenset[str], *, as_json: bool) -> TurnResult:
    from bot.telemetry.log import write_turn  # noqa: PLC0415 - likewise
    from bot.wiring import build_turns, open_core  # noqa: PLC0415 - likewise

    received_at = time.monotonic()
    async with open_core(configured) as core:
        readable = _chosen(await core.may_read("console"), wanted)
        state = await SqliteState.open(configured.data / "state.db")
        try:
            turns = build_turns(core, hash_key=await state.kept_secret("hash-key"), write=write_turn)
            inbound = Inbound(
                platform="console",
                conversation="terminal",
                sender="terminal",
                text=text,
                event_id=f"console:{new_trace_id()}",
                received_at=received_at,
            )
            stop = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
            live: LiveMessage = WholeAnswer(is_open=lambda: True) if as_json else ConsoleMessage()
            return await turns.run(inbound, live, collections=readable, stop=stop)
        finally:
            await state.close()


def _chosen(readable: frozenset[str], wanted: frozenset[str]) -> frozenset[str]:
    if not readable:
        raise InputError("the knowledge base is empty: take documents in with `grapevine ingest PATH`")
    if unknown := sorted(wanted - readable):
        raise InputError(f"there is no collection {', '.join(unknown)}; there is {', '.join(sorted(readable))}")
    return wanted or readable


def _as_json(result: TurnResult) -> dict[str, Any]:
    value = asdict(result)
    value["timings"] = dict(result.timings)
    return value


def _print_passages(found: tuple[Passage, ...], *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(passage) for passage in found])
        return
    if not found:
        click.echo("nothing found", err=True)
    for n, passage in enumerate(found, 1):
        place = f", page {passage.page}" if passage.page else ""
        head = f"[{n}] {passage.title} ({passage.collection}: {passage.document}{place})"
        click.secho(head, bold=True)
        click.echo(f"    {passage.score:.3f}  {', '.join(passage.why)}")
        click.echo("    " + passage.text.strip().replace("\n", "\n    ") + "\n")
