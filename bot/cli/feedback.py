"""`grapevine feedback`: what people thought of their answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from bot.cli.common import json_option, log_beside_result, print_json, run, settings
from bot.settings import Settings
from bot.state.transcript_ports import Rated


@click.command("feedback")
@click.option("--since", "days", type=click.FloatRange(0, min_open=True), help="Only of the last DAYS days.")
@click.option("--down", "is_down", is_flag=True, help="Only answers that somebody found bad.")
@json_option
def command(days: float | None, is_down: bool, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """List rated answers with their questions, verdicts and reasons, in the order in which they were asked.

    They are kept as long as everything that is said (GRAPEVINE_RETENTION_DAYS). Who asked is not listed.
    """
    configured = settings()
    log_beside_result(configured)
    found = run(_read(configured, days))
    if is_down:
        found = [one for one in found if any(rating.verdict == "down" for rating in one.ratings)]
    if as_json:
        print_json([_as_json(one) for one in found])
        return
    if not found:
        click.echo("no answer was rated")
        return
    for one in found:
        _print(one)


async def _read(configured: Settings, days: float | None) -> list[Rated]:
    from bot.wiring import open_conversations  # noqa: PLC0415 - only when needed

    async with open_conversations(configured) as conversations:
        return await conversations.rated(days=days)


def _print(one: Rated) -> None:
    for rating in one.ratings:
        sign = "+" if rating.verdict == "up" else "-"
        reason = f"  {rating.reason}" if rating.reason else ""
        click.secho(f"{sign} {_time(rating.at)}  {one.past.platform}{reason}", bold=True)
    click.echo("Q: " + one.past.question.strip().replace("\n", "\n   "))
    click.echo("A: " + one.past.answer.strip().replace("\n", "\n   ") + "\n")


def _as_json(one: Rated) -> dict[str, Any]:
    past = one.past
    return {
        "trace_id": past.id,
        "asked": _time(past.asked_at),
        "platform": past.platform,
        "question": past.question,
        "standalone": past.standalone,
        "answer": past.answer,
        "outcome": past.outcome,
        "sources": [{"collection": source.collection, "document": source.document} for source in past.sources],
        "ratings": [
            {"verdict": rating.verdict, "reason": rating.reason, "at": _time(rating.at)} for rating in one.ratings
        ],
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
