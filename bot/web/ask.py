"""`POST /api/v1/ask`: a question to an answer, whole or as server-sent events; `POST /api/v1/stop` ends one.

The page stops an answer by `stop`, so that what was shown stays, is logged as `stopped` and gets its sources. Closing
the connection means that nobody reads any more (`gone`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict

from aiohttp import ClientConnectionError, web
from pydantic import Field

from adapters.ports import Inbound, LiveMessage, Platform
from adapters.web.live import EventStream, WholeAnswer
from bot.state.ports import REFUSED
from bot.state.sqlite import StateError
from bot.turn import new_trace_id
from bot.turn_ports import TurnResult
from bot.web.bodies import Body, checked_question, read_body
from bot.web.callers import Caller, charge, identify, readable
from bot.web.errors import STATUS_OF_FAILURE, ApiError, as_api_error, error_json, json_response, log_unexpected
from bot.web.services import SERVICES, WebServices
from bot.words import word
from rag.language import detect

CONVERSATION_HEADER = "X-Conversation"
"""Names the conversation from the first byte of a stream on, so that it can be stopped before `done`."""

_COLLECTIONS_FORM = "a list of collection names, or left out for all that you may read"
_CONVERSATION_FORM = "an id from an earlier answer, or left out to begin anew"


class AskBody(Body):
    """The body of `ask`."""

    question: str = Field(description="a text")
    conversation: str | None = Field(default=None, description=_CONVERSATION_FORM)
    stream: bool = Field(default=False, description="true or false")
    collections: list[str] | None = Field(default=None, description=_COLLECTIONS_FORM)


class StopBody(Body):
    """The body of `stop`."""

    conversation: str = Field(description="the id of the conversation to stop")


async def ask(request: web.Request) -> web.StreamResponse:
    """Answer a question."""
    services = request.app[SERVICES]
    received_at = services.clock()
    caller = identify(request)
    await charge(request, caller, "asks")
    body = await read_body(request, AskBody)
    question = checked_question(request, body.question)
    collections = await readable(request, caller, body.collections)
    if body.conversation is not None:
        _check_owner(request, caller, body.conversation)
    conversation = body.conversation or services.signer.new_conversation(caller.key)
    inbound = Inbound(
        platform=caller.platform,
        conversation=conversation,
        sender=caller.key,
        text=question,
        event_id=new_trace_id(),
        received_at=received_at,
        language_hint=_language(request),
    )
    if body.stream:
        return await _stream(request, inbound, collections)
    return await _whole(request, inbound, collections)


async def stop(request: web.Request) -> web.Response:
    """Stop the answer that is being written in a conversation; answers `{stopped}`: whether there was one."""
    caller = identify(request)
    await charge(request, caller, "reads")
    body = await read_body(request, StopBody)
    _check_owner(request, caller, body.conversation)
    lane = _lane(caller.platform, body.conversation)
    return json_response({"stopped": await request.app[SERVICES].lanes.stop(lane)})


async def _whole(request: web.Request, inbound: Inbound, collections: frozenset[str]) -> web.Response:
    live = WholeAnswer(is_open=_connection(request), clock=request.app[SERVICES].clock)
    result = await _run(request, inbound, live, collections)
    event, data = ending(result, inbound.conversation)
    status = 200 if event == "done" else _status(result)
    return json_response(data, status=status, headers={"Retry-After": "5"} if status in {429, 503} else None)


async def _stream(request: web.Request, inbound: Inbound, collections: frozenset[str]) -> web.StreamResponse:
    services = request.app[SERVICES]
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream; charset=utf-8",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",  # nginx would gather the events: https://nginx.org/en/docs/http/ngx_http_proxy_module.html
            CONVERSATION_HEADER: inbound.conversation,
        }
    )
    await response.prepare(request)
    if request.transport is not None:
        # "Drained" has to mean that the kernel has the bytes, or the lag would be measured against a buffer of ours.
        request.transport.set_write_buffer_limits(high=0)

    async def write(data: bytes) -> None:
        try:
            await response.write(data)
            await request.writer.drain()
        except ClientConnectionError as error:
            raise ConnectionResetError("the reader has left") from error

    live = EventStream(
        write=write, is_open=_connection(request), clock=services.clock, heartbeat_s=services.limits.heartbeat_s
    )
    async with live:
        try:
            event, data = ending(await _run(request, inbound, live, collections), inbound.conversation)
        except StateError as error:
            told = as_api_error(error)
            event, data = "error", error_json(told.code, told.message, new_trace_id())
        except Exception as error:  # noqa: BLE001 - the status line is out; the stream has to carry the error
            trace_id = new_trace_id()
            log_unexpected(error, trace_id, where="POST /api/v1/ask (stream)")
            event, data = "error", error_json("internal", "Something went wrong on our side.", trace_id)
        await live.end(event, data)
    return response


async def _run(request: web.Request, inbound: Inbound, live: LiveMessage, collections: frozenset[str]) -> TurnResult:
    turn = asyncio.create_task(_turn(request.app[SERVICES], inbound, live, collections))
    try:
        return await asyncio.shield(turn)
    except asyncio.CancelledError:
        # A server with `handler_cancellation` cancels us when the reader leaves. The turn notices that by itself,
        # and has a line to log; only a shutdown, with the reader still there, cuts it off.
        if _connection(request)():
            turn.cancel()
        await asyncio.wait({turn})
        raise


async def _turn(services: WebServices, inbound: Inbound, live: LiveMessage, collections: frozenset[str]) -> TurnResult:
    """Answer when the questions before it in its conversation are answered, whichever replica they came to."""
    lanes = services.lanes
    async with lanes.visit(_lane(inbound.platform, inbound.conversation), inbound.platform) as run:
        if run.place == REFUSED:
            return await services.turns.refuse(inbound, live, "queue_full")
        if run.place > 0:
            live.status(word("queued", detect(inbound.text, default=inbound.language_hint or "")))

        async def wait_turn() -> bool:
            return await lanes.wait_turn(run) == "now"

        return await services.turns.run(inbound, live, collections=collections, stop=run.stop, wait_turn=wait_turn)


def _lane(platform: Platform, conversation: str) -> str:
    return f"{platform}:{conversation}"


def ending(result: TurnResult, conversation: str) -> tuple[str, dict[str, object]]:
    """The last event of a turn, `done` or `error`, and its data; also the body of the JSON response."""
    if result.outcome in {"failed", "busy", "limited"}:
        code = result.error or {"busy": "busy", "limited": "rate_limited"}.get(result.outcome, "internal")
        return "error", error_json(code, result.answer, result.trace_id)
    return "done", {
        "answer": result.answer,
        "outcome": result.outcome,
        "cache": result.cache,
        "citations": [asdict(citation) for citation in result.citations],
        "conversation": conversation,
        "trace_id": result.trace_id,
        "timings": dict(result.timings),
    }


def _status(result: TurnResult) -> int:
    match result.outcome:
        case "limited":
            return 429
        case "busy":
            return 503
        case _:
            return STATUS_OF_FAILURE.get(result.error or "internal", 503)


def _check_owner(request: web.Request, caller: Caller, conversation: str) -> None:
    if not request.app[SERVICES].signer.owns(caller.key, conversation):
        raise ApiError(404, "unknown_conversation", "You have no such conversation. Leave it out to begin a new one.")


def _connection(request: web.Request) -> Callable[[], bool]:
    def is_open() -> bool:
        return request.transport is not None and not request.transport.is_closing()

    return is_open


def _language(request: web.Request) -> str | None:
    """The first language of the reader's interface, e.g. `vi` of `vi-VN,vi;q=0.9`."""
    first = request.headers.get("Accept-Language", "").split(",", 1)[0].split(";", 1)[0].strip()
    primary = first.split("-", 1)[0].lower()
    return primary if primary.isascii() and primary.isalpha() and 2 <= len(primary) <= 3 else None
