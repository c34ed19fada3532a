"""Request bodies: JSON objects checked by pydantic models; what is wrong is said by field and accepted form."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from bot.web.errors import ApiError
from bot.web.services import SERVICES


class Body(BaseModel):
    """A JSON object. The description of a field says which form it accepts, for error messages.

    Unknown fields are refused: a misspelt `collections` would otherwise search more than was asked.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


BodyT = TypeVar("BodyT", bound=Body)


async def read_body(request: web.Request, model: type[BodyT]) -> BodyT:
    """The request's body as `model`.

    Raises:
        ApiError: 400 (malformed, wrong fields), 408 (too slow), 413 (too large), 415 (not JSON).
    """
    if request.content_type != "application/json" or (request.charset or "utf-8").lower() not in {"utf-8", "utf8"}:
        raise ApiError(415, "unsupported_media_type", "Send the body as `application/json`, in UTF-8.")
    limits = request.app[SERVICES].limits
    try:
        async with asyncio.timeout(limits.body_s):
            raw = await request.read()
    except TimeoutError:
        headers = {"Connection": "close"}
        raise ApiError(408, "too_slow", "The request took too long to arrive.", headers=headers) from None
    except web.HTTPRequestEntityTooLarge:
        raise ApiError(413, "too_large", f"The body may have at most {limits.body_bytes // 1024} KiB.") from None
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        # orjson's message names the place and the cause ("lone leading surrogate"), and never quotes the text.
        raise ApiError(400, "invalid_json", f"The body is not valid JSON in UTF-8: {error}.") from None
    if not isinstance(value, dict):
        raise ApiError(400, "invalid_json", 'The body must be a JSON object, like {"question": "..."}.')
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise ApiError(400, "invalid_field", _explain(error, model)) from None


def _explain(error: ValidationError, model: type[Body]) -> str:
    sentences = []
    for detail in error.errors(include_url=False, include_input=False, include_context=False):
        name = str(detail["loc"][0])
        field = model.model_fields.get(name)
        if field is None:
            sentences.append(f"There is no such field; accepted are {', '.join(model.model_fields)}.")
        elif detail["type"] == "missing":
            sentences.append(f"`{name}` is missing; it must be {field.description}.")
        else:
            sentences.append(f"`{name}` must be {field.description}.")
    return " ".join(dict.fromkeys(sentences))


def checked_question(request: web.Request, question: str) -> str:
    """The question without surrounding blanks.

    Raises:
        ApiError: 400, when it is empty or too long.
    """
    most = request.app[SERVICES].limits.question_chars
    question = question.strip()
    if not question:
        raise ApiError(400, "empty_question", "The question is empty: please write what you want to know.")
    if len(question) > most:
        raise ApiError(
            400,
            "question_too_long",
            f"The question has {len(question)} characters; at most {most} are read. Please ask in fewer words.",
        )
    return question
