"""The emulated workspace: its channels, the web API, and the socket over which it delivers."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import WSMsgType, web

from tests.emulators.telegram.faults import Bucket

BOT_TOKEN = "xoxb-1-emulated-bot-token"
APP_TOKEN = "xapp-1-emulated-app-token"
BOT_USER = "UBOT00001"
TEAM = "T00000001"
Json = dict[str, Any]


class Refusal(Exception):
    """`{"ok": false, "error": code}`."""

    def __init__(self, code: str, *, status: int = 200, retry_after: int | None = None) -> None:
        super().__init__(code)
        self.code, self.status, self.retry_after = code, status, retry_after


@dataclass(slots=True, kw_only=True)
class Message:
    """A message of the bot, with every text it ever had."""

    channel: str
    ts: str
    thread_ts: str | None
    texts: list[str]
    is_deleted: bool = False

    @property
    def text(self) -> str:
        return self.texts[-1]


@dataclass(slots=True, kw_only=True)
class Fault:
    """What happens to the next calls of a method: refused with `code`, or carried out and the answer lost."""

    method: str
    times: int = 1
    code: str = ""
    status: int = 200
    retry_after: int | None = None
    is_lost: bool = False


@dataclass(slots=True)
class SlackEmulator:
    """A workspace with one app. People act through `mention`, `direct`, `command`; `messages` is what the bot wrote."""

    channels: set[str] = field(default_factory=lambda: {"C1", "D1"})
    messages: dict[tuple[str, str], Message] = field(default_factory=dict)
    calls: list[tuple[str, Json]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    acknowledged: list[Json] = field(default_factory=list)
    """Envelopes' payloads with what the app answered, in the order of the acknowledgements."""
    refused: int = 0
    """429s answered because of a limit."""
    latency_s: float = 0.0
    url: str = ""
    _limits: dict[str, Bucket] = field(default_factory=dict)
    _sockets: list[web.WebSocketResponse] = field(default_factory=list)
    _waiting: dict[str, Json] = field(default_factory=dict)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _change: asyncio.Condition = field(default_factory=asyncio.Condition)
    _runner: web.AppRunner | None = None

    # What people do.

    async def mention(self, text: str, *, user: str = "U1", channel: str = "C1", **more: Any) -> Json:
        """Somebody mentions the bot in a channel; the event, for telling it again."""
        event = {"type": "app_mention", "user": user, "text": f"<@{BOT_USER}> {text}", "channel": channel, **more}
        return await self.tell(event)

    async def direct(self, text: str, *, user: str = "U1", channel: str = "D1", **more: Any) -> Json:
        """Somebody writes to the bot directly."""
        event = {"type": "message", "channel_type": "im", "user": user, "text": text, "channel": channel, **more}
        return await self.tell(event)

    async def command(self, text: str, *, user: str = "U1", channel: str = "C1") -> None:
        """Somebody uses /ask."""
        number = next(self._ids)
        payload = {
            "command": "/ask",
            "text": text,
            "user_id": user,
            "channel_id": channel,
            "team_id": TEAM,
            "trigger_id": f"{number}.trigger",
            "response_url": f"{self.url}/response/{number}",
            "api_app_id": "A1",
        }
        await self._deliver({"type": "slash_commands", "payload": payload, "accepts_response_payload": True})

    async def tell(self, event: Json, **more: Any) -> Json:
        """Deliver an event; one that was told before keeps its timestamp and its id."""
        number = next(self._ids)
        event.setdefault("ts", f"1790000000.{number:06}")
        event.setdefault("event_ts", event["ts"])
        payload = {
            "type": "event_callback",
            "team_id": TEAM,
            "api_app_id": "A1",
            "event_id": f"Ev{event['ts']}",
            "event": event,
            "authorizations": [{"team_id": TEAM, "user_id": BOT_USER, "is_bot": True}],
            **more,
        }
        await self._deliver({"type": "events_api", "payload": payload, "accepts_response_payload": False})
        return event

    async def redeliver(self) -> int:
        """Deliver again what was not acknowledged, as Slack does after three seconds; how many that is."""
        waiting = list(self._waiting.values())
        for envelope in waiting:
            await self._deliver({**envelope, "retry_attempt": 1, "retry_reason": "timeout"})
        return len(waiting)

    # What can be seen.

    @property
    def written(self) -> list[Message]:
        """What the bot wrote and nobody deleted, in order."""
        return [message for message in self.messages.values() if not message.is_deleted]

    async def wait_for(self, condition: Callable[[SlackEmulator], Any], *, timeout_s: float = 20.0) -> Any:
        """Return the condition's value once it is true; it is asked again whenever anything changes."""
        async with asyncio.timeout(timeout_s), self._change:
            while not (value := condition(self)):
                await self._change.wait()
            return value

    def limit(self, name: str, per_minute: float, burst: float) -> None:
        """Limit a method, e.g. `chat.update`; `chat.postMessage/C1` limits posts in one channel."""
        self._limits[name] = Bucket(rate=per_minute / 60, burst=burst, level=burst, at=time.monotonic())

    @property
    def is_connected(self) -> bool:
        return any(not socket.closed for socket in self._sockets)

    # Inside.

    async def _changed(self) -> None:
        async with self._change:
            self._change.notify_all()

    async def _deliver(self, envelope: Json) -> None:
        await self.wait_for(lambda slack: slack.is_connected)
        envelope["envelope_id"] = envelope.get("envelope_id") or f"env-{next(self._ids)}"
        self._waiting[envelope["envelope_id"]] = envelope
        socket = next(socket for socket in self._sockets if not socket.closed)
        await socket.send_str(json.dumps(envelope))

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets.append(socket)
        await socket.send_str(json.dumps({"type": "hello", "num_connections": 1, "debug_info": {}}))
        await self._changed()
        async for message in socket:
            if message.type != WSMsgType.TEXT:
                continue
            answer = json.loads(message.data)
            if (envelope := self._waiting.pop(answer.get("envelope_id", ""), None)) is not None:
                self.acknowledged.append({**envelope["payload"], "answer": answer.get("payload")})
                await self._changed()
        return socket

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        params = await request.json() if request.content_type == "application/json" else dict(await request.post())
        await asyncio.sleep(self.latency_s)
        fault = next((fault for fault in self.faults if fault.method == method), None)
        if fault is not None:
            fault.times -= 1
            if fault.times <= 0:
                self.faults.remove(fault)
        self.calls.append((method, dict(params)))
        try:
            self._check(request, method, fault)
            body = {"ok": True, **self._answer(method, params)}
        except Refusal as refusal:
            headers = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after is not None else {}
            return web.json_response({"ok": False, "error": refusal.code}, status=refusal.status, headers=headers)
        finally:
            await self._changed()
        if fault is not None and fault.is_lost:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(body)

    def _check(self, request: web.Request, method: str, fault: Fault | None) -> None:
        if fault is not None and fault.code:
            raise Refusal(fault.code, status=fault.status, retry_after=fault.retry_after)
        expected = APP_TOKEN if method == "apps.connections.open" else BOT_TOKEN
        if request.headers.get("Authorization") != f"Bearer {expected}":
            raise Refusal("invalid_auth")

    def _answer(self, method: str, params: Json) -> Json:
        match method:
            case "auth.test":
                return {"user_id": BOT_USER, "user": "grapevine", "team_id": TEAM, "bot_id": "B1", "url": self.url}
            case "apps.connections.open":
                return {"url": self.url.replace("http://", "ws://") + "/link"}
            case "chat.postMessage":
                return self._post(params)
            case "chat.update" | "chat.delete":
                return self._change_message(method, params)
            case _:
                raise Refusal("unknown_method")

    def _spend(self, *names: str) -> None:
        buckets = [self._limits[name] for name in names if name in self._limits]
        wait_s = max((bucket.wait_s(time.monotonic()) for bucket in buckets), default=0.0)
        if wait_s > 0:
            self.refused += 1
            raise Refusal("ratelimited", status=429, retry_after=math.ceil(wait_s))
        for bucket in buckets:
            bucket.level -= 1

    def _post(self, params: Json) -> Json:
        channel, text = str(params.get("channel") or ""), _text(params, most=12_000)
        if channel not in self.channels:
            raise Refusal("channel_not_found")
        self._spend("chat.postMessage", f"chat.postMessage/{channel}")
        ts = f"1790000000.{next(self._ids):06}"
        thread = params.get("thread_ts")
        self.messages[channel, ts] = Message(
            channel=channel, ts=ts, thread_ts=str(thread) if thread else None, texts=[text]
        )
        return {"channel": channel, "ts": ts, "message": {"text": text, "ts": ts}}

    def _change_message(self, method: str, params: Json) -> Json:
        message = self.messages.get((str(params.get("channel") or ""), str(params.get("ts") or "")))
        if message is None or message.is_deleted:
            raise Refusal("message_not_found")
        text = "" if method == "chat.delete" else _text(params, most=4_000)
        self._spend(method)
        if method == "chat.delete":
            message.is_deleted = True
        else:
            message.texts.append(text)
        return {"channel": message.channel, "ts": message.ts}

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/api/{method}", self._api)
        app.router.add_get("/link", self._socket)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for socket in self._sockets:
            await socket.close()
        assert self._runner is not None
        await self._runner.cleanup()


def _text(params: Json, *, most: int) -> str:
    if "markdown_text" in params and ("text" in params or "blocks" in params):
        raise Refusal("markdown_text_conflict")
    text = str(params.get("markdown_text") or params.get("text") or "")
    if not text.strip():
        raise Refusal("no_text")
    if len(text) > most:
        raise Refusal("msg_too_long")
    return text
