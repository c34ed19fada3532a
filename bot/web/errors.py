"""Errors as callers see them: `{"error": {"code", "message", "trace_id"}}` with a fitting status.

ApiError is the one exception that handlers raise on purpose; everything else that escapes is a 500, logged by type and
place only, because an exception's message may hold a question.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from adapters.web.sse import dumps
from bot.state.sqlite import StateError
from bot.turn import new_trace_id
from rag.errors import EmbeddingError, InputError, RagError, StoreError

log = structlog.get_logger(__name__)

STATUS_OF_FAILURE: Mapping[str, int] = {
    "model_unavailable": 503,
    "model_refused_key": 502,
    "model_busy": 503,
    "store_unavailable": 503,
    "embedding_unavailable": 503,
    "timeout": 504,
    "internal": 500,
}
"""HTTP status of the short codes that a failed turn carries."""

_HTTP_ERRORS: Mapping[int, tuple[str, str]] = {
    400: ("bad_request", "The request is not understood."),
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not answer to this method."),
    408: ("too_slow", "The request took too long to arrive."),
    413: ("too_large", "The request is larger than accepted."),
    415: ("unsupported_media_type", "Send the body as `application/json`, in UTF-8."),
}


class ApiError(Exception):
    """A request that cannot be served, and what the caller can do about it."""

    def __init__(self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        """Say what happened.

        Args:
            status: HTTP status.
            code: A short code for programs.
            message: One sentence for people; without secrets, and without what they asked.
            headers: Further response headers, e.g. `Retry-After`.
        """
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


_UNEXPECTED = ApiError(500, "internal", "Something went wrong on our side. Please try again.")


def error_json(code: str, message: str, trace_id: str) -> dict[str, object]:
    """The body of every error."""
    return {"error": {"code": code, "message": message, "trace_id": trace_id}}


def json_response(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """`value` as JSON, compressed where the client accepts it and it is worth it. Never kept by caches."""
    body = dumps(value)
    response = web.Response(
        body=body,
        status=status,
        content_type="application/json",
        charset="utf-8",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
    if len(body) > 1024:
        response.enable_compression()
    return response


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into the JSON error that callers rely on."""
    trace_id = new_trace_id()
    try:
        return await handler(request)
    except (ApiError, web.HTTPException, RagError, StateError) as error:
        if isinstance(error, web.HTTPException) and error.status < 400:
            raise
        told = as_api_error(error)
        if isinstance(error, RagError | StateError) and told.status >= 500:
            # Our own messages name the cause, and never a key or a question.
            log.warning("web_request_failed", trace_id=trace_id, where=_route(request), cause=str(error))
    except Exception as error:  # noqa: BLE001 - one of the three edges that must not die
        told = _UNEXPECTED
        log_unexpected(error, trace_id, where=_route(request))
    return json_response(error_json(told.code, told.message, trace_id), status=told.status, headers=told.headers)


_AWAY: Mapping[type[Exception], tuple[str, str]] = {
    StoreError: ("store_unavailable", "The documents cannot be reached now. Please try again soon."),
    EmbeddingError: ("embedding_unavailable", "Search is not available right now. Please try again soon."),
    StateError: ("state_unavailable", "Questions cannot be taken right now. Please try again soon."),
}
"""What is told while a part is away."""


def as_api_error(error: ApiError | web.HTTPException | RagError | StateError) -> ApiError:
    """What a caller is told of an error that was expected."""
    match error:
        case ApiError():
            return error
        case web.HTTPException():
            code, message = _HTTP_ERRORS.get(error.status, (f"http_{error.status}", error.reason))
            kept = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
            return ApiError(error.status, code, message, headers=kept)
        case InputError():
            return ApiError(400, "invalid_question", str(error))
        case StoreError() | EmbeddingError() | StateError():
            kind = next(kind for kind in _AWAY if isinstance(error, kind))
            return ApiError(503, *_AWAY[kind])
        case _:
            return _UNEXPECTED


def log_unexpected(error: BaseException, trace_id: str, *, where: str) -> None:
    """Log an exception's type and stack, but not its message."""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    log.error("web_request_failed", trace_id=trace_id, where=where, error=type(error).__qualname__, stack=frames[-12:])


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return f"{request.method} {resource.canonical if resource else '?'}"
