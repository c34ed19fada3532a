"""A model server for tests: OpenAI's chat completions (streamed or not), embeddings and models, as scripted.

In a test, on the test's own loop::

    async with ModelServer() as server:
        server.script(Reply(tokens=words("Hanoi is the capital [1]."), held=True))
        client = AsyncOpenAI(base_url=server.base_url, api_key="any", max_retries=0)
        ...                                   # start asking
        exchange = await server.asked()       # the next request that arrived, whatever it was
        await exchange.release(2)             # two tokens are written, no more
        await exchange.release()              # everything that is left
        await exchange.disconnected.wait()    # the client hung up before the end

Every request takes the first reply of the script that fits (`when` in its text, `times` left). With no reply left the
server *echoes*: it answers with the first sentence of each of the first three passages in the prompt, each with its
`[n]`, paced by `pace_s`. So a server without any script already gives grounded, streamed answers. A request to rewrite
a follow-up question gets that question back, unless a reply `rewrites`; `asked` does not tell of it.

Faults: `status` (with `message`, `headers`), `late` (nothing, not even headers, before `release`), `ending` (`close`
cuts the connection, `stall` says nothing more and stays, `garbage` writes something that is no JSON, `error` is an
error event inside the stream, `no_done` ends without `[DONE]`), `usage=False`, `finish="length"`; and for the whole
server `key`, `models`, `knows_stream_options=False`.

As a process, for tests of `grapevine serve`::

    python -m tests.emulators.model --port 0 --pace 0.02 [--script replies.json] [--key KEY] [--log requests.jsonl]

prints its base URL (`http://127.0.0.1:PORT/v1`) as its first line and runs until it is terminated. `replies.json` is a
list of `Reply` objects, e.g. `[{"when": "flood", "text": "Yes, floods are covered [1].", "pace_s": 0.05, "times": 0}]`
(`text` is cut into words, `tokens` are taken as they are); `--log` gets one line per request and one per hang-up.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

from aiohttp import web

from tests.emulators.model_wire import chunk, completion, echo, embedding, error, usage_of, words

__all__ = ["Ending", "Exchange", "ModelServer", "Reply", "load_script", "words"]

Ending = Literal["done", "close", "stall", "garbage", "error", "no_done"]
_EVERYTHING = 1 << 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one request gets."""

    tokens: tuple[str, ...] | None = None
    """None: echo the passages."""
    reasoning: tuple[str, ...] = ()
    """Sent before the tokens, as `reasoning_content`."""
    when: str = ""
    """Only for a request whose messages contain this."""
    times: int = 1
    """How many requests get it; 0: all that fit."""
    status: int = 200
    message: str = "scripted refusal"
    headers: Mapping[str, str] = field(default_factory=dict)
    late: bool = False
    """Even the response's headers wait for `release`."""
    held: bool = False
    """Each token, and the ending, waits for `release`."""
    pace_s: float | None = None
    """Time between two tokens; None: the server's."""
    ending: Ending = "done"
    finish: str = "stop"
    usage: bool = True
    rewrites: bool = False
    """For requests to rewrite a follow-up question, and for no others."""


class Exchange:
    """One request and what has become of it."""

    def __init__(self, path: str, body: dict[str, Any], headers: Mapping[str, str], connection: str = "") -> None:
        self.path = path
        self.connection = connection
        """The client's end of the connection: two exchanges over the same one have the same."""
        self.body = body
        self.headers = headers
        self.disconnected = asyncio.Event()
        """Set when the client hung up before the reply was whole."""
        self.finished = asyncio.Event()
        """Set when nothing more will be written, for whatever reason."""
        self._allowed = 0
        self._written = 0
        self._moved = asyncio.Condition()

    @property
    def prompt(self) -> str:
        """The text of all messages."""
        return "\n".join(str(message.get("content", "")) for message in self.body.get("messages", []))

    @property
    def is_rewriting(self) -> bool:
        """Whether a follow-up question is to be made to stand alone."""
        return self.prompt.startswith("Rewrite the user's last message")

    async def release(self, steps: int | None = None) -> None:
        """Let `steps` more tokens out (None: all, and the ending), and return once they are written."""
        async with self._moved:
            self._allowed = _EVERYTHING if steps is None else self._allowed + steps
            self._moved.notify_all()
            await self._moved.wait_for(lambda: self._written >= self._allowed or self.finished.is_set())

    async def _permit(self) -> None:
        async with self._moved:
            await self._moved.wait_for(lambda: self._allowed > self._written)

    async def _step(self) -> None:
        async with self._moved:
            self._written += 1
            self._moved.notify_all()

    async def _end(self) -> None:
        self.finished.set()
        async with self._moved:
            self._moved.notify_all()


class ModelServer:
    """The server; see the module's docstring."""

    def __init__(
        self,
        *,
        port: int = 0,
        key: str | None = None,
        models: Sequence[str] | None = None,
        knows_stream_options: bool = True,
        pace_s: float = 0.0,
        dimensions: int = 64,
        log: Path | None = None,
    ) -> None:
        self.base_url = ""
        self.exchanges: list[Exchange] = []
        """Every request so far, oldest first."""
        self._port = port
        self._key = key
        self._models = models
        self._knows_stream_options = knows_stream_options
        self._pace_s = pace_s
        self._dimensions = dimensions
        self._log_path = log
        self._replies: list[Reply] = []
        self._arrivals: asyncio.Queue[Exchange] = asyncio.Queue()
        self._transports: set[asyncio.Transport] = set()
        self._runner: web.AppRunner | None = None

    def script(self, *replies: Reply) -> None:
        """Add to what the next requests get."""
        self._replies.extend(replies)

    def forget(self) -> None:
        """Nothing is scripted any more."""
        self._replies.clear()

    async def asked(self) -> Exchange:
        """The next request that nobody has waited for yet."""
        return await self._arrivals.get()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/embeddings", self._embeddings)
        app.router.add_get("/v1/models", self._list_models)
        # handler_cancellation: a hang-up is noticed at once, not at the next write.
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1.0, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        port = self._runner.addresses[0][1]
        self.base_url = f"http://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        for transport in self._transports:
            transport.abort()
        if self._runner is not None:
            await self._runner.cleanup()

    def _log(self, line: dict[str, Any]) -> None:
        if self._log_path is not None:
            with self._log_path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")

    async def _arrive(self, request: web.Request) -> Exchange:
        body = await request.json() if request.can_read_body else {}
        assert request.transport is not None
        connection = str(request.transport.get_extra_info("peername"))
        exchange = Exchange(request.path, body, dict(request.headers), connection)
        self.exchanges.append(exchange)
        if not exchange.is_rewriting:
            self._arrivals.put_nowait(exchange)
        self._log({"event": "request", "path": exchange.path, "body": body})
        return exchange

    def _refusal(self, exchange: Exchange) -> web.Response | None:
        """What OpenAI answers to a wrong key, a wrong model or a parameter it does not know."""
        if self._key is not None and exchange.headers.get("Authorization") != f"Bearer {self._key}":
            given = exchange.headers.get("Authorization", "").removeprefix("Bearer ")
            return error(401, f"Incorrect API key provided: {given}.", "invalid_api_key")
        model = exchange.body.get("model")
        if model is not None and self._models is not None and model not in self._models:
            return error(404, f"The model `{model}` does not exist or you do not have access to it.", "model_not_found")
        if "stream_options" in exchange.body and not self._knows_stream_options:
            return error(400, "Unrecognized request argument supplied: stream_options", None)
        return None

    def _take(self, exchange: Exchange) -> Reply:
        for index, reply in enumerate(self._replies):
            if reply.when in exchange.prompt and reply.rewrites == exchange.is_rewriting:
                if reply.times == 1:
                    del self._replies[index]
                elif reply.times > 1:
                    self._replies[index] = replace(reply, times=reply.times - 1)
                return reply
        return Reply(tokens=(exchange.body["messages"][-1]["content"],)) if exchange.is_rewriting else Reply()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        exchange = await self._arrive(request)
        transport = request.transport
        assert transport is not None
        self._transports.add(transport)
        try:
            refusal = self._refusal(exchange)
            if refusal is not None:
                return refusal
            reply = self._take(exchange)
            if reply.late:
                await exchange._permit()
                await exchange._step()
            if reply.status != 200:
                return error(reply.status, reply.message, None, headers=reply.headers)
            tokens = reply.tokens if reply.tokens is not None else echo(exchange.prompt)
            if exchange.body.get("stream"):
                return await self._stream(request, exchange, reply, tokens)
            return web.json_response(completion(exchange.body, tokens, reply.finish), headers=reply.headers)
        except (asyncio.CancelledError, ConnectionResetError):
            exchange.disconnected.set()
            self._log({"event": "disconnected"})
            raise
        finally:
            self._transports.discard(transport)
            await exchange._end()

    async def _stream(
        self, request: web.Request, exchange: Exchange, reply: Reply, tokens: Sequence[str]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **reply.headers})
        await response.prepare(request)
        pace_s = self._pace_s if reply.pace_s is None else reply.pace_s
        pieces: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
        pieces += [{"reasoning_content": text} for text in reply.reasoning]
        pieces += [{"content": token} for token in tokens]
        for index, delta in enumerate(pieces):
            if index and reply.held:
                await exchange._permit()
            if index and pace_s:
                await asyncio.sleep(pace_s)
            await _event(response, chunk(exchange.body, [{"index": 0, "delta": delta, "finish_reason": None}]))
            if index:
                await exchange._step()
        if reply.held:
            await exchange._permit()
        await self._end_stream(request, response, exchange, reply, tokens)
        await exchange._step()
        return response

    async def _end_stream(
        self,
        request: web.Request,
        response: web.StreamResponse,
        exchange: Exchange,
        reply: Reply,
        tokens: Sequence[str],
    ) -> None:
        if reply.ending == "close":
            assert request.transport is not None
            request.transport.close()
            return
        if reply.ending == "stall":
            await exchange._step()
            await asyncio.Event().wait()
        if reply.ending == "garbage":
            await response.write(b"data: {this is no JSON\n\n")
            return
        if reply.ending == "error":
            await _event(response, {"error": {"message": reply.message, "type": "server_error", "code": None}})
            return
        await _event(response, chunk(exchange.body, [{"index": 0, "delta": {}, "finish_reason": reply.finish}]))
        if reply.usage and exchange.body.get("stream_options", {}).get("include_usage"):
            await _event(response, {**chunk(exchange.body, []), "usage": usage_of(exchange.body, tokens)})
        if reply.ending == "done":
            await response.write(b"data: [DONE]\n\n")

    async def _embeddings(self, request: web.Request) -> web.Response:
        exchange = await self._arrive(request)
        refusal = self._refusal(exchange)
        if refusal is not None:
            return refusal
        given = exchange.body["input"]
        texts = [given] if isinstance(given, str) else given
        dimensions = exchange.body.get("dimensions", self._dimensions)
        data = []
        for index, text in enumerate(texts):
            vector: Any = embedding(str(text), dimensions)
            if exchange.body.get("encoding_format") == "base64":
                vector = base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode()
            data.append({"object": "embedding", "index": index, "embedding": vector})
        used = sum(len(str(text).split()) for text in texts)
        usage = {"prompt_tokens": used, "total_tokens": used}
        return web.json_response(
            {"object": "list", "model": exchange.body["model"], "data": data, "usage": usage},
        )

    async def _list_models(self, request: web.Request) -> web.Response:
        exchange = await self._arrive(request)
        refusal = self._refusal(exchange)
        if refusal is not None:
            return refusal
        names = self._models or ("scripted",)
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "tests"} for name in names]
        return web.json_response({"object": "list", "data": data})


async def _event(response: web.StreamResponse, data: Mapping[str, Any]) -> None:
    await response.write(b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n")


def load_script(path: Path) -> tuple[Reply, ...]:
    """The replies of a JSON file; see the module's docstring."""
    return tuple(_reply(entry) for entry in json.loads(path.read_text(encoding="utf-8")))


def _reply(entry: dict[str, Any]) -> Reply:
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
    text = fields.pop("text", None)
    if text is not None:
        fields["tokens"] = words(text)
    return Reply(**fields)


async def _serve(arguments: argparse.Namespace) -> None:
    server = ModelServer(port=arguments.port, key=arguments.key, pace_s=arguments.pace, log=arguments.log)
    if arguments.script is not None:
        server.script(*load_script(arguments.script))
    async with server:
        print(server.base_url, flush=True)  # noqa: T201 - the address is what the caller waits for
        await asyncio.Event().wait()


def main() -> None:
    """Run the server as a process."""
    parser = argparse.ArgumentParser(description="A scripted OpenAI-compatible server on 127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one; the address is printed")
    parser.add_argument("--pace", type=float, default=0.0, help="seconds between two tokens")
    parser.add_argument("--script", type=Path, help="JSON list of replies")
    parser.add_argument("--key", help="the only accepted API key")
    parser.add_argument("--log", type=Path, help="one JSON line per request and per hang-up")
    try:
        asyncio.run(_serve(parser.parse_args()))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
