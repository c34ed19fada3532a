"""`grapevine import`: an export into the store that is configured now, whichever kind it came from."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import click

from bot.cli.audit import audited
from bot.cli.common import json_option, log_beside_result, print_json, run, settings
from bot.cli.moving import MovingBar
from bot.settings import Settings
from rag.errors import EmbeddingMismatch
from rag.transfer.export import Moved
from rag.transfer.restore import Checked, check, restore


@click.command("import")
@click.argument("file", metavar="FILE|-")
@click.option("--re-embed", is_flag=True, help="Leave the file's vectors aside; compute them with EMBEDDING_MODEL.")
@json_option
def command(file: str, re_embed: bool, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Take in what `grapevine export` wrote (`-`: standard input), without embedding it again.

    All of FILE is checked first: a damaged one changes nothing. Documents and FAQs that are there already are
    replaced by those of FILE, others stay. Run it again after an interruption: what is there is passed over.
    """
    configured = settings()
    log_beside_result(configured)
    moved, embedded = run(_import(configured, file, re_embed=re_embed, quiet=as_json))
    audited(configured, "import", f"{moved.documents} documents, {moved.faqs} FAQs from {file}")
    if as_json:
        print_json({**asdict(moved), "texts_embedded": embedded})
        return
    unchanged = f" ({moved.unchanged} were there already)" if moved.unchanged else ""
    texts = f", {embedded} texts embedded" if embedded else ""
    click.echo(f"imported {moved.documents} documents{unchanged}, {moved.chunks} chunks, {moved.faqs} FAQs{texts}")


async def _import(configured: Settings, file: str, *, re_embed: bool, quiet: bool) -> tuple[Moved, int]:
    from bot.wiring import knowledge_store, open_embedder  # noqa: PLC0415 - onnxruntime, only when needed
    from rag.ingest.vectors import attach_pending  # noqa: PLC0415 - likewise

    name = "standard input" if file == "-" else file
    store = knowledge_store(configured)
    embedded = 0
    try:
        await store.open()
        with _seekable(file, configured.data) as source, MovingBar("chunks imported", quiet=quiet) as bar:
            checked = await asyncio.to_thread(check, source, name)
            if not re_embed:
                _must_be_configured(checked, configured.embedding_model.strip(), name)
            moved = await restore(store, source, name, checked=checked, with_vectors=not re_embed, on_progress=bar.show)
            if any(count.pending for count in (await store.counts()).values()):
                async with open_embedder(configured) as embedder:
                    embedded = await attach_pending(store, embedder, on_texts=bar.embedded)
    finally:
        await store.close()
    return moved, embedded


def _must_be_configured(checked: Checked, model: str, name: str) -> None:
    """The next question would be embedded by another model than its documents."""
    if checked.embedding is not None and checked.embedding.model != model:
        raise EmbeddingMismatch(
            f"the vectors in {name} come from {checked.embedding.model} ({checked.embedding.dimensions} dimensions), "
            f"but EMBEDDING_MODEL is {model}. Set EMBEDDING_MODEL={checked.embedding.model}, or use "
            "`grapevine import --re-embed`: it leaves the file's vectors aside and computes them anew."
        )


@contextmanager
def _seekable(file: str, data: Path) -> Iterator[BinaryIO]:
    """The file is read twice: once to check it, once to write it. A pipe is kept on the disk for that."""
    if file != "-":
        with Path(file).open("rb") as source:
            yield source
        return
    data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=data) as kept:
        shutil.copyfileobj(sys.stdin.buffer, kept)
        yield kept
