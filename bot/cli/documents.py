"""`grapevine documents`: what is in the knowledge base, and how to take it out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import click

from bot.access import COLLECTION
from bot.cli.audit import audited
from bot.cli.common import json_option, print_json, print_table, run, settings
from bot.settings import Settings
from bot.web.documents import document_json
from rag.ports import KnowledgeStore, StoredDocument

_PAGE = 500


def _collection(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not COLLECTION.fullmatch(value):
        raise click.BadParameter("a collection's name is 1 to 40 of a-z, 0-9 and _, like `public`")
    return value


@click.group("documents")
def command() -> None:
    """List and remove documents."""


@command.command("list")
@click.option("--collection", callback=_collection, help="Only this collection.")
@json_option
def list_documents(collection: str | None, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """List the documents: collection, id, title, chunks."""
    found = run(_list(settings(), collection))
    if as_json:
        print_json([document_json(item) for item in found])
        return
    if not found:
        click.echo("no documents" + (f" in {collection}" if collection else "") + "; `grapevine ingest PATH` adds some")
        return
    print_table(
        ("collection", "document", "title", "chunks", "without vectors"),
        [(item.collection, item.id, item.title, item.chunks, item.pending or "") for item in found],
        numbers_from=3,
    )


@command.command("remove")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--collection", callback=_collection, help="Where they are; needed if several collections have them.")
@json_option
def remove_documents(ids: Sequence[str], collection: str | None, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Remove documents by id, with everything they left; a running server stops serving them within a second."""
    configured = settings()
    removed, missing = run(_remove(configured, ids, collection))
    for where, document in removed:
        audited(configured, "documents.remove", f"{where}: {document}")
    if as_json:
        print_json({"removed": [{"collection": w, "id": d} for w, d in removed], "unknown": missing})
    else:
        for where, document in removed:
            click.echo(f"removed {document} from {where}")
    if missing:
        where = f" in {collection}" if collection else ""
        raise click.ClickException(f"there is no document {', '.join(missing)}{where}; `grapevine documents list`")


async def _list(configured: Settings, collection: str | None) -> list[StoredDocument]:
    found: list[StoredDocument] = []
    async with _opened(configured) as store:
        collections = frozenset({collection}) if collection else frozenset(await store.counts())
        after: str | None = None
        while True:
            page = await store.documents(collections, after=after, limit=_PAGE)
            found += page.documents
            if (after := page.after) is None:
                return found


async def _remove(
    configured: Settings, ids: Sequence[str], collection: str | None
) -> tuple[list[tuple[str, str]], list[str]]:
    from rag.ingest.removal import remove_document  # noqa: PLC0415 - with numpy, see `_opened`

    found: list[tuple[str, str]] = []
    missing: list[str] = []
    async with _opened(configured) as store:
        existing = [collection] if collection else sorted(await store.counts())
        for document in ids:
            holders = [name for name in existing if await store.document(name, document) is not None]
            if len(holders) > 1:
                raise click.ClickException(f"{document} is in {' and '.join(holders)}; say which with --collection")
            if holders:
                found.append((holders[0], document))
            else:
                missing.append(document)
        for where, document in found:  # only once it is clear what is meant by all of them
            await remove_document(store, where, document)
    return found, missing


@asynccontextmanager
async def _opened(configured: Settings) -> AsyncIterator[KnowledgeStore]:
    from bot.wiring import knowledge_store  # noqa: PLC0415 - brings numpy along, which `--help` needs not wait for

    store = knowledge_store(configured)
    await store.open()
    try:
        yield store
    finally:
        await store.close()
