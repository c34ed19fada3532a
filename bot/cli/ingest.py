"""`grapevine ingest`: files and folders into the knowledge base, one line for whatever needs attention."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Self

import click

from bot.cli.audit import audited
from bot.cli.common import FAILED, json_option, log_beside_result, print_json, progress_bar, run, settings
from bot.cli.extraction import extracted, is_whole
from bot.settings import Settings
from rag.errors import InputError
from rag.ingest import outcome as reports
from rag.ingest.discover import check_collection
from rag.ingest.sync import SyncPlan


@click.command("ingest")
@click.argument("paths", nargs=-1, metavar="PATH...", type=click.Path(path_type=Path))
@click.option("--collection", default="public", show_default=True, help="Collection to put the documents into.")
@click.option("--sync", "is_sync", is_flag=True, help="Also remove what vanished from the same folder.")
@click.option("--dry-run", is_flag=True, help="Read everything, say what would happen, change nothing.")
@click.option("--extract", type=click.Choice(["llm"]), help="Have LLM_MODEL find entities and relations, too.")
@click.option("--yes", is_flag=True, help="Do not ask before --sync removes more than a fifth, or --extract costs.")
@click.option("--re-embed", is_flag=True, help="Forget all vectors and compute them anew with EMBEDDING_MODEL.")
@click.option("--max-mb", default=64, show_default=True, type=click.IntRange(1, 4096), help="Refuse larger files.")
@click.option("-q", "--quiet", is_flag=True, help="Only what needs attention, and the summary.")
@json_option
def command(
    paths: tuple[Path, ...],
    collection: str,
    is_sync: bool,  # noqa: FBT001 - click passes options by name
    dry_run: bool,  # noqa: FBT001 - likewise
    extract: str | None,
    yes: bool,  # noqa: FBT001 - likewise
    re_embed: bool,  # noqa: FBT001 - likewise
    max_mb: int,
    quiet: bool,  # noqa: FBT001 - likewise
    as_json: bool,  # noqa: FBT001 - likewise
) -> None:
    """Take files and folders (md, html, txt, csv, jsonl, pdf, docx) into the knowledge base.

    Files that did not change cost nothing. Returns when text and vectors are in place; a running server serves them.
    Exit code 1 if a file could not be read; the others are in place all the same.

    With --extract llm, LLM_MODEL reads what it has not read of the collection, PATH or not, after saying what that is
    going to cost. A run that was interrupted is gone on with by the next one.
    """
    if not paths and not re_embed and not extract:
        raise click.UsageError("name at least one file or folder, or --re-embed, or --extract llm")
    if extract and dry_run:
        raise click.UsageError("--dry-run sends nothing to a model; leave --extract out")
    try:
        check_collection(collection)
    except InputError as error:
        raise click.UsageError(str(error)) from None
    configured = settings()
    if extract and not configured.has_model:
        raise click.UsageError("--extract llm needs a language model: set OPENAI_API_KEY or OPENAI_BASE_URL")
    log_beside_result(configured)
    options = _Options(collection, is_sync, dry_run, max_mb * 2**20, re_embed)
    confirm = _always if yes else _ask
    report = run(_ingest(configured, paths, options, confirm, quiet=as_json))
    if not as_json:
        _print(report, is_dry_run=dry_run, is_quiet=quiet)
    if not dry_run:
        _leave_trace(configured, collection, report)
    extraction = run(extracted(configured, collection, is_agreed=yes, quiet=as_json)) if extract else None
    is_complete = report.is_complete and (extraction is None or is_whole(extraction))
    if as_json:
        value = {**asdict(report), "counts": dict(report.counts), "is_complete": is_complete}
        print_json(value | ({"extraction": asdict(extraction)} if extraction else {}))
    if not is_complete:
        raise click.exceptions.Exit(FAILED)


def _leave_trace(configured: Settings, collection: str, report: reports.IngestReport) -> None:
    """One line for all that changed; the documents themselves are in the list."""
    changed = {name: count for name in ("added", "updated") if (count := report.counts.get(name))}
    changed |= {"removed": len(report.removed)} if report.removed else {}
    if changed:
        said = ", ".join(f"{count} {name}" for name, count in changed.items())
        audited(configured, "documents.ingest", f"{collection}: {said}")


class _Options:
    """What was asked for, before the heavy modules are loaded."""

    def __init__(self, collection: str, is_sync: bool, is_dry_run: bool, max_bytes: int, re_embed: bool) -> None:  # noqa: FBT001 - local
        self.collection = collection
        self.is_sync = is_sync
        self.is_dry_run = is_dry_run
        self.max_bytes = max_bytes
        self.re_embed = re_embed


async def _ingest(
    configured: Settings,
    paths: tuple[Path, ...],
    options: _Options,
    confirm: Callable[[SyncPlan], Awaitable[bool]],
    *,
    quiet: bool,
) -> reports.IngestReport:
    from bot.wiring import knowledge_store, open_embedder  # noqa: PLC0415 - onnxruntime, only when needed
    from rag.ingest.pipeline import IngestOptions, ingest  # noqa: PLC0415 - likewise
    from rag.ingest.sandbox import ParserPool  # noqa: PLC0415 - likewise

    store = knowledge_store(configured)
    try:
        await store.open()
        async with open_embedder(configured) as embedder, ParserPool() as pool:
            if options.re_embed:
                await store.reset_vectors(embedder.name, embedder.dimensions)
            else:
                await store.check_embedding(embedder.name, embedder.dimensions)
            with _Bar(quiet=quiet) as bar:
                return await ingest(
                    paths,
                    store=store,
                    embedder=embedder,
                    options=IngestOptions(
                        collection=options.collection,
                        is_sync=options.is_sync,
                        is_dry_run=options.is_dry_run,
                        max_bytes=options.max_bytes,
                    ),
                    pool=pool,
                    on_progress=bar.show,
                    confirm=confirm,
                )
    finally:
        await store.close()


async def _ask(plan: SyncPlan) -> bool:
    if not sys.stdin.isatty():
        return False
    question = f"--sync would remove {len(plan.removed)} of {plan.total} documents of this folder. Remove them?"
    return await asyncio.to_thread(click.confirm, question, default=False, err=True)


async def _always(_plan: SyncPlan) -> bool:
    return True


class _Bar:
    """The progress bar, on standard error; nothing where that is no terminal."""

    def __init__(self, *, quiet: bool) -> None:
        self._bar = progress_bar(quiet=quiet)
        self._files = self._bar.add_task("files", total=None)
        self._vectors = self._bar.add_task("vectors", total=None, visible=False)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, progress: reports.Progress) -> None:
        """Move the bar; print what needs attention above it as soon as it is known."""
        self._bar.update(self._files, completed=progress.files_done, total=progress.files_total)
        self._bar.update(
            self._vectors,
            completed=progress.vectors,
            total=progress.vectors_total,
            visible=progress.stage == "vectors",
        )


def _print(report: reports.IngestReport, *, is_dry_run: bool, is_quiet: bool) -> None:
    for outcome in report.outcomes:
        needs_attention = outcome.outcome in {"failed", "skipped"} or outcome.notes
        if is_quiet and not needs_attention:
            continue
        for line in outcome.lines():
            click.echo(line, err=bool(needs_attention))
    for name in report.removed:
        click.echo(f"{'would remove' if is_dry_run else 'removed'}    {name}")
    if report.kept:
        click.echo(f"{len(report.kept)} documents vanished from the folder but were kept; --yes removes them", err=True)
    counts = ", ".join(f"{count} {name}" for name, count in sorted(report.counts.items()))
    removed = f", {len(report.removed)} removed" if report.removed else ""
    click.echo(
        f"{'Dry run: ' if is_dry_run else ''}{counts or 'nothing to do'}{removed}; {report.chunks} chunks, "
        f"{report.vectors} vectors, {report.bytes / 1e6:.1f} MB in {report.total_s:.1f} s"
    )
