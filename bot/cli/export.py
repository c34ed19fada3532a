"""`grapevine export`: the knowledge base as one JSONL file, vectors and FAQs included."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import click
import orjson

from bot.cli.audit import audited
from bot.cli.common import json_option, run, settings
from bot.cli.moving import MovingBar
from bot.settings import Settings
from rag.transfer.export import Moved, lines


@click.command("export")
@click.argument("file", metavar="FILE|-")
@click.option("--collection", "collections", multiple=True, help="Only this collection; may be repeated.")
@json_option
def command(file: str, collections: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Write documents, their vectors and the FAQs to FILE (`-`: standard output), for `grapevine import`.

    The running server is not disturbed. FILE appears once it is complete, readable by its owner only: it holds the
    texts of all collections that were not left out.
    """
    configured = settings()
    moved = run(_export(configured, file, frozenset(collections) or None, quiet=as_json))
    audited(configured, "export", f"{', '.join(collections) or 'all collections'} to {file}")
    if as_json:
        click.echo(orjson.dumps(asdict(moved), option=orjson.OPT_INDENT_2).decode(), err=file == "-")
        return
    without = f", {moved.without_vectors} of them without vectors yet" if moved.without_vectors else ""
    summary = f"exported {moved.documents} documents, {moved.chunks} chunks{without}, {moved.faqs} FAQs"
    click.echo(summary, err=file == "-")


async def _export(configured: Settings, file: str, collections: frozenset[str] | None, *, quiet: bool) -> Moved:
    from bot.wiring import knowledge_store  # noqa: PLC0415 - brings numpy along, which `--help` needs not wait for

    store = knowledge_store(configured)
    moved = Moved()

    def note(now: Moved) -> None:
        nonlocal moved
        moved = now
        bar.show(now)

    try:
        await store.open()
        with MovingBar("chunks exported", quiet=quiet) as bar, _target(file) as out:
            await _copy(lines(store, collections, on_progress=note), out)
    finally:
        await store.close()
    return moved


async def _copy(pieces: AsyncIterator[bytes], out: BinaryIO) -> None:
    async for piece in pieces:
        await asyncio.to_thread(out.write, piece)


@contextmanager
def _target(file: str) -> Iterator[BinaryIO]:
    """Where to write; a file takes its name only when all of it is on the disk."""
    if file == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(file)
    part = path.with_name(f".{path.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
