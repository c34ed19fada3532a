"""`/api/v1/documents`: uploads become jobs; documents are listed and removed."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import unicodedata
from collections.abc import AsyncIterator
from typing import Any

import orjson
from aiohttp import BodyPartReader, ClientPayloadError, web
from pydantic import Field

from bot.access import COLLECTION
from bot.audit import audit
from bot.jobs import new_job_id
from bot.uploads import SOURCE, Upload, UploadError, UploadTooLarge, safe_name
from bot.web.admin import ADMIN, require_admin
from bot.web.bodies import Body, read_body
from bot.web.errors import ApiError, json_response
from bot.web.jobs import accepted
from rag.ingest.discover import check_document_id
from rag.ingest.removal import remove_document
from rag.ports import StoredDocument

_CHUNK = 256 * 1024
_IDLE_S = 60.0
"""How long a client may pause in the middle of its upload."""
_SLACK = 2**20
"""What boundaries and part headers may add to the bytes of the files."""
_TEXT_BYTES = 8 * 2**20
_LARGEST_PAGE = 1000
_DEFAULT_COLLECTION = "public"


class DocumentBody(Body):
    """A document as JSON."""

    id: str = Field(min_length=1, max_length=400, description="the document's id, 1 to 400 characters")
    title: str = Field(default="", max_length=1000, description="its title")
    text: str = Field(min_length=1, description="its text, Markdown or plain")
    collection: str = Field(default=_DEFAULT_COLLECTION, description="a collection's name: 1 to 40 of a-z, 0-9 and _")


async def upload(request: web.Request) -> web.Response:
    """Take one or several files, or one document as JSON; 202 once they are safely on the disk."""
    via = await require_admin(request)
    admin = request.app[ADMIN]
    draft = await asyncio.to_thread(_begin, request)
    try:
        if request.content_type == "multipart/form-data":
            collection = await _receive_files(request, draft)
        else:
            collection = await _receive_text(request, draft)
        job_id = new_job_id()
        await draft.keep(admin.uploads.of(job_id))
    except UploadTooLarge as error:
        raise ApiError(413, "too_large", f"Too large: {error}.", headers={"Connection": "close"}) from None
    except UploadError as error:
        raise ApiError(400, "invalid_upload", f"Not taken: {error}.") from None
    except OSError as error:
        raise _disk_error(error) from error
    finally:
        await draft.discard()
    payload = {"collection": collection, "source": SOURCE}
    job = await admin.runner.submit("documents", payload, total=len(draft.names), job_id=job_id)
    audit("documents.upload", f"{collection}: {', '.join(draft.names)}", who=via, outcome="queued")
    return accepted(job)


def _begin(request: web.Request) -> Upload:
    try:
        return request.app[ADMIN].uploads.begin()
    except OSError as error:
        raise _disk_error(error) from error


async def _receive_files(request: web.Request, draft: Upload) -> str:
    most = request.app[ADMIN].uploads.limit_bytes
    if request.content_length is not None and request.content_length > most + _SLACK:
        raise UploadTooLarge(f"an upload may have at most {most} bytes")
    collection = request.query.get("collection", _DEFAULT_COLLECTION)
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                raise UploadError("nested multipart bodies are not read")
            if part.name == "collection":
                collection = (await _next(part, 100)).decode("utf-8", "replace")
                checked_collection(collection)  # now, not after some hundred megabytes
            elif part.name == "file":
                await draft.add(safe_name(part.filename or ""), _chunks(part))
            else:
                raise UploadError("the parts are `file` (one or several) and `collection`")
    except ClientPayloadError:
        raise ApiError(400, "aborted", "The upload broke off; nothing of it was kept.") from None
    except (ValueError, AssertionError) as error:
        raise UploadError("the body is not well-formed multipart/form-data") from error
    if not draft.names:
        raise UploadError("there is no `file` part")
    return checked_collection(collection)


async def _chunks(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await _next(part, _CHUNK):
        yield chunk


async def _next(part: BodyPartReader, size: int) -> bytes:
    try:
        async with asyncio.timeout(_IDLE_S):
            return await part.read_chunk(size)
    except TimeoutError:
        raise ApiError(
            408, "too_slow", "The upload stood still for a minute.", headers={"Connection": "close"}
        ) from None


async def _receive_text(request: web.Request, draft: Upload) -> str:
    """Write a JSON document as a file of one line. Raises `InputError` for an id that leads out of its folder."""
    try:
        body = await read_body(request.clone(client_max_size=_TEXT_BYTES), DocumentBody)
    except ApiError as error:
        if error.status == 413:
            raise UploadTooLarge(f"a document as JSON may have at most {_TEXT_BYTES // 2**20} MiB") from None
        raise
    collection = checked_collection(body.collection)
    document_id = check_document_id(body.id)
    line = orjson.dumps({"id": document_id, "title": body.title or document_id, "text": body.text})
    # A file of its own for each id: a document that is sent again must replace itself and nothing else.
    name = f"json/{hashlib.sha256(document_id.encode()).hexdigest()[:32]}.jsonl"

    async def once() -> AsyncIterator[bytes]:
        yield line + b"\n"

    await draft.add(name, once())
    return collection


def checked_collection(name: str) -> str:
    """`name`, if a collection may be called so.

    Raises:
        ApiError: 400 with the accepted form.
    """
    if not COLLECTION.fullmatch(name):
        raise ApiError(400, "invalid_collection", "A collection's name is 1 to 40 of a-z, 0-9 and _, like `public`.")
    return name


async def listing(request: web.Request) -> web.Response:
    """A page of documents, optionally of one collection, optionally those whose title or id contains `q`."""
    await require_admin(request)
    store = request.app[ADMIN].store
    limit = _limit(request)
    wanted = request.query.get("collection")
    counts = await store.counts()
    collections = frozenset(counts) if wanted is None else frozenset({checked_collection(wanted)})
    needle = _fold(request.query.get("q", ""))
    found: list[StoredDocument] = []
    after = request.query.get("after")
    while True:
        page = await store.documents(collections, after=after, limit=limit)
        after = page.after
        found += [item for item in page.documents if not needle or needle in _fold(f"{item.title}\n{item.id}")]
        # With `q`, a page is whatever the stretch that was read held, so that the store's own cursor can go on.
        if after is None or not needle or len(found) * 2 >= limit:
            break
    return json_response(
        {
            "documents": [document_json(item) for item in found],
            "after": after,
            "collections": {
                name: {"documents": count.documents, "chunks": count.chunks, "pending": count.pending}
                for name, count in sorted(counts.items())
            },
        }
    )


async def remove(request: web.Request) -> web.Response:
    """Remove one document with everything it left, the further parts of a long file included."""
    via = await require_admin(request)
    store = request.app[ADMIN].store
    document_id = request.match_info["id"]
    if (named := request.query.get("collection")) is not None:
        collections = [checked_collection(named)]
    else:
        collections = [name for name in sorted(await store.counts()) if await store.document(name, document_id)]
    if len(collections) > 1:
        raise ApiError(
            400, "ambiguous", f"Several collections have this document; add `?collection=` ({', '.join(collections)})."
        )
    removed = await remove_document(store, collections[0], document_id) if collections else 0
    if not removed:
        raise ApiError(404, "unknown_document", "There is no such document.")
    await store.refresh()
    audit("documents.remove", f"{collections[0]}: {document_id}", who=via)
    return json_response({"removed": removed})


def document_json(item: StoredDocument) -> dict[str, Any]:
    """A document as the API and `grapevine documents list --json` show it."""
    return {
        "id": item.id,
        "title": item.title,
        "collection": item.collection,
        "source": item.source,
        "language": item.language,
        "url": item.url,
        "valid_from": item.valid_from,
        "valid_until": item.valid_until,
        "size": item.size,
        "chunks": item.chunks,
        "pending": item.pending,
        "extracted": item.extracted,
        "updated": item.updated_at,
    }


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", "100")
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= _LARGEST_PAGE:
        raise ApiError(400, "invalid_field", f"`limit` must be a number from 1 to {_LARGEST_PAGE}.")
    return int(text)


def _fold(text: str) -> str:
    """For searching: without case and marks, đ as d."""
    plain = unicodedata.normalize("NFKD", text.casefold()).replace("đ", "d")
    return "".join(char for char in plain if not unicodedata.combining(char))


def _disk_error(error: OSError) -> ApiError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return ApiError(507, "disk_full", "There is no room left on the disk; nothing of this upload was kept.")
    return ApiError(500, "disk_error", "The upload cannot be written; the server's log and `grapevine doctor` say why.")
