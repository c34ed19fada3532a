"""`POST /api/v1/retrieve`: the best passages for a question, without an answer."""

from __future__ import annotations

from aiohttp import web
from pydantic import Field

from bot.web.bodies import Body, checked_question, read_body
from bot.web.callers import charge, identify, readable
from bot.web.errors import ApiError, json_response
from bot.web.services import SERVICES
from rag.types import Mode, Passage, Timings


class RetrieveBody(Body):
    """The body of `retrieve`."""

    question: str = Field(description="a text")
    k: int = Field(default=8, description="a whole number from 1 on")
    mode: Mode = Field(default="hybrid", description="hybrid, vector, text or graph")
    collections: list[str] | None = Field(
        default=None, description="a list of collection names, or left out for all that you may read"
    )


async def retrieve(request: web.Request) -> web.Response:
    """Search, and say how long it took."""
    services = request.app[SERVICES]
    started = services.clock()
    caller = identify(request)
    await charge(request, caller, "reads")
    body = await read_body(request, RetrieveBody)
    question = checked_question(request, body.question)
    most = services.limits.most_passages
    if not 1 <= body.k <= most:
        raise ApiError(400, "invalid_field", f"`k` must be a whole number from 1 to {most}.")
    collections = await readable(request, caller, body.collections)
    found = await services.retriever.retrieve(question, collections=collections, k=body.k, mode=body.mode)
    timings = {
        **{name: getattr(found.timings, name) for name in Timings.__slots__},
        "total_ms": (services.clock() - started) * 1000,
    }
    return json_response({"passages": [passage_json(passage) for passage in found.passages], "timings": timings})


def passage_json(passage: Passage) -> dict[str, object]:
    """A passage as callers get it."""
    return {
        "passage_id": passage.passage_id,
        "document": passage.document,
        "title": passage.title,
        "collection": passage.collection,
        "text": passage.text,
        "score": passage.score,
        "why": list(passage.why),
        "heading": passage.heading,
        "page": passage.page,
        "url": passage.url,
    }
