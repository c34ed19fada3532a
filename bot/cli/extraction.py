"""`grapevine ingest --extract llm`: what it is going to cost, whether to go on, how far it is, what it did cost."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from bot.cli.common import progress_bar
from bot.setting_values import parse_price
from bot.settings import Settings

if TYPE_CHECKING:
    from rag.ingest.llm_extract.run import ExtractionReport, Plan
    from rag.ingest.llm_extract.run import Progress as Extracting

_DOCUMENTS_NAMED = 5


async def extracted(configured: Settings, collection: str, *, is_agreed: bool, quiet: bool) -> ExtractionReport:
    """Run it, and say on standard error what it costs, before and after. Raises a `RagError`."""
    from bot.wiring import knowledge_store, open_extractor  # noqa: PLC0415 - openai, only when needed
    from rag.ingest.llm_extract.run import Price, extract  # noqa: PLC0415 - likewise

    price = None
    if configured.llm_price is not None:
        told, answered = parse_price(configured.llm_price)
        price = Price(input=told, output=answered)

    async def confirm(plan: Plan) -> bool:
        click.echo(_announced(plan, configured.llm_price), err=True)
        if is_agreed:
            return True
        if not sys.stdin.isatty():
            click.echo("nothing was sent: --yes agrees to this where nobody can be asked", err=True)
            return False
        return await asyncio.to_thread(click.confirm, "Send it?", default=False, err=True)

    store = knowledge_store(configured)
    bar = _Bar(quiet=quiet)
    try:
        await store.open()
        async with open_extractor(configured) as model:
            report = await extract(store, model, collection, confirm=confirm, price=price, on_progress=bar.show)
        await store.refresh()
    finally:
        bar.stop()
        await store.close()
    for line in _told(report):
        click.echo(line, err=True)
    return report


def is_whole(report: ExtractionReport) -> bool:
    """Whether all of it was read."""
    return not report.is_refused and not report.failed


def _announced(plan: Plan, price: str | None) -> str:
    cost = "" if plan.cost is None else f", about {plan.cost:,.4f} at LLM_PRICE {price}"
    return (
        f"to be read by {plan.model}: {_many(plan.chunks, 'chunk')} in {_many(plan.calls, 'call')}, "
        f"about {plan.input_tokens:,} tokens in and {plan.output_tokens:,} out{cost}"
    )


def _told(report: ExtractionReport) -> list[str]:
    if report.is_refused:
        return []
    lines = []
    if report.failed:
        names = list(dict.fromkeys(report.failed))
        more = f" and {len(names) - _DOCUMENTS_NAMED} more" if len(names) > _DOCUMENTS_NAMED else ""
        lines.append(
            f"no valid answer for {_many(len(report.failed), 'chunk')} of {', '.join(names[:_DOCUMENTS_NAMED])}{more}; "
            "the next run asks again"
        )
    if report.calls:
        least = "" if report.is_counted else "at least "
        cost = "" if report.cost is None else f", {least}{report.cost:,.4f}"
        lines.append(
            f"read by {report.model}: {_many(report.chunks, 'chunk')} in {_many(report.calls, 'call')}, "
            f"{least}{report.input_tokens:,} tokens in and {report.output_tokens:,} out{cost}"
        )
    lines.append(
        f"{_many(report.entities, 'entity', 'entities')} and {_many(report.relations, 'relation')} in the collection; "
        f"{_many(report.documents, 'document')} changed"
    )
    return lines


def _many(count: int, one: str, more: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else more or one + 's'}"


class _Bar:
    """Chunks read, on standard error; nothing where that is no terminal. Begins once somebody has agreed."""

    def __init__(self, *, quiet: bool) -> None:
        self._bar = progress_bar(quiet=quiet)
        self._chunks = self._bar.add_task("chunks read", total=None)

    def show(self, progress: Extracting) -> None:
        self._bar.start()
        self._bar.update(self._chunks, completed=progress.chunks, total=progress.chunks_total)

    def stop(self) -> None:
        self._bar.stop()
