"""`/api/v1/faqs`: the admin adds, lists, warms and removes FAQs; anybody may ask what would be served to them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

import orjson
from aiohttp import web
from pydantic import Field

from bot.audit import audit
from bot.faqs.desk import Faqs, faq_json, match_json
from bot.faqs.drafts import DEFAULT_COLLECTION, check_collection_name, new_draft
from bot.faqs.job import WARM
from bot.faqs.warm import NotWarmed, Why
from bot.web.admin import ADMIN, identify_admin_too, require_admin
from bot.web.bodies import Body, checked_question, read_body
from bot.web.callers import charge, readable
from bot.web.errors import STATUS_OF_FAILURE, ApiError, json_response
from bot.web.jobs import accepted
from rag.cache.faq import Faq
from rag.errors import InputError

_LARGEST_PAGE = 1000
_COLLECTION_FORM = "a collection's name: 1 to 40 of a-z, 0-9 and _"

FAQS = web.AppKey("faqs", Faqs)


class FaqBody(Body):
    """A FAQ to add."""

    question: str = Field(description="a text")
    answer: str | None = Field(default=None, description="Markdown, or left out to have it made from the documents")
    paraphrases: list[str] = Field(default=[], description="a list of other ways to ask it")
    collection: str = Field(default=DEFAULT_COLLECTION, description=_COLLECTION_FORM)
    language: str | None = Field(default=None, description="a language like `en` or `vi`, or left out")


class WarmBody(Body):
    """What to warm: these questions, or else what is due, or everything that was ever warmed."""

    questions: list[str] = Field(default=[], description="a list of questions, or left out for the FAQs that are due")
    collection: str | None = Field(default=None, description=_COLLECTION_FORM)
    all: bool = Field(default=False, description="true to make all warmed answers anew, or false")


class MatchBody(Body):
    """A question to look up."""

    question: str = Field(description="a text")
    collections: list[str] | None = Field(
        default=None, description="a list of collection names, or left out for all that you may read"
    )


async def add(request: web.Request) -> web.Response:
    """Add a FAQ, or replace the one with this question; without an answer it is made now, from the documents."""
    via = await require_admin(request)
    body = await read_body(request, FaqBody)
    try:
        draft = new_draft(
            body.question,
            answer=body.answer,
            paraphrases=body.paraphrases,
            collection=body.collection,
            language=body.language,
        )
    except InputError as error:
        raise _wrong(error) from None
    try:
        faq = await request.app[FAQS].add(draft)
    except NotWarmed as error:
        audit("faq.add", f"{draft.collection}: {draft.faq_id}", who=via, outcome="failed")
        raise _not_warmed(error) from None
    audit("faq.add", f"{faq.collection}: {faq.id}", who=via)
    return json_response({"id": faq.id}, status=201)


async def listing(request: web.Request) -> web.Response:
    """A page of FAQs, optionally of one collection."""
    await require_admin(request)
    faqs = request.app[FAQS]
    collection = request.query.get("collection")
    if collection is not None:
        _checked_collection(collection)
    after, limit = _after(request), _limit(request)
    found = [faq for faq in await faqs.listing(collection) if after is None or _place(faq) > after]
    today = faqs.book.today()
    return json_response(
        {
            "faqs": [faq_json(faq, today) for faq in found[:limit]],
            "after": _mark(found[limit - 1]) if len(found) > limit else None,
        }
    )


async def remove(request: web.Request) -> web.Response:
    """Remove one FAQ."""
    via = await require_admin(request)
    faq = await request.app[FAQS].remove(request.match_info["id"])
    if faq is None:
        raise ApiError(404, "unknown_faq", "There is no such FAQ.")
    audit("faq.remove", f"{faq.collection}: {faq.id}", who=via)
    return json_response({"removed": 1})


async def warm(request: web.Request) -> web.Response:
    """Queue a warm-up."""
    via = await require_admin(request)
    body = await read_body(request, WarmBody)
    collection = body.collection and _checked_collection(body.collection)
    try:
        for text in body.questions:
            new_draft(text)
    except InputError as error:
        raise _wrong(error) from None
    payload = {"questions": body.questions, "collection": collection, "all": body.all}
    job = await request.app[ADMIN].runner.submit(WARM, payload, total=len(body.questions))
    audit("faq.warm", job.id, who=via, outcome="queued")
    return accepted(job)


async def match(request: web.Request) -> web.Response:
    """What would be served to this caller; the admin may name any collections."""
    caller = await identify_admin_too(request)
    await charge(request, caller, "reads")
    body = await read_body(request, MatchBody)
    question = checked_question(request, body.question)
    collections = await readable(request, caller, body.collections)
    return json_response(match_json(request.app[FAQS].match(question, collections=collections)))


_STATUS: Mapping[Why, tuple[int, str]] = {
    "refused": (422, "not_in_documents"),
    "uncited": (422, "uncited_answer"),
    "incomplete": (502, "incomplete_answer"),
    "documents_changing": (409, "documents_changing"),
    "faq_changed": (409, "faq_changed"),
}


def _not_warmed(error: NotWarmed) -> ApiError:
    if error.why == "failed":
        code = error.code or "internal"
        return ApiError(STATUS_OF_FAILURE.get(code, 502), code, f"Nothing was stored: {error}.")
    status, code = _STATUS[error.why]
    return ApiError(status, code, f"Nothing was stored: {error}. You can write the answer yourself.")


def _wrong(error: InputError) -> ApiError:
    return ApiError(400, "invalid_field", f"Not taken: {error}.")


def _checked_collection(name: str) -> str:
    try:
        return check_collection_name(name)
    except InputError as error:
        raise _wrong(error) from None


def _place(faq: Faq) -> tuple[str, str, str]:
    return faq.collection, faq.question, faq.id


def _mark(faq: Faq) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(_place(faq))).decode()


def _after(request: web.Request) -> tuple[str, str, str] | None:
    text = request.query.get("after")
    if text is None:
        return None
    try:
        collection, question, faq_id = map(str, orjson.loads(base64.urlsafe_b64decode(text)))
    except (ValueError, TypeError, binascii.Error):
        raise ApiError(400, "invalid_field", "`after` must be what the page before said.") from None
    return collection, question, faq_id


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", "100")
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= _LARGEST_PAGE:
        raise ApiError(400, "invalid_field", f"`limit` must be a number from 1 to {_LARGEST_PAGE}.")
    return int(text)
