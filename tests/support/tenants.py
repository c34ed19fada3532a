"""The real application over collections that not everybody may read, and everything that one caller sees of it.

`opened_house` runs what `grapevine serve` runs, wired by `bot/wiring/`; only embeddings and, if wanted, the model
come from a scripted server. `visit` goes through every door and gives what came back, without what is random by design
(ids of requests and conversations) and durations: two visits can be compared with `==`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from aiohttp import ClientSession, CookieJar, web
from pydantic import SecretStr

from bot.settings import Settings
from bot.telemetry.line import TurnLine
from bot.wiring import Application, Core, open_application
from rag.ingest.chunk import build_document
from rag.ingest.parse.markdown import parse_markdown
from rag.ingest.vectors import attach_pending
from rag.records import Document
from rag.stores.writer import passage_id
from tests.emulators.model import ModelServer
from tests.support.services import Neo4jServer
from tests.support.web import parse_event

ADMIN = "admin-token-of-a-test"
API_TOKEN = "api-token-of-a-test-1"
Who = Literal["anonymous", "token", "page", "member"]
"""`anonymous` and `token` call the API; `page` is a browser, `member` one that signed in with the token."""

MODES = ("hybrid", "vector", "text", "graph")
_RANDOM = frozenset({"trace_id", "conversation", "timings"})
_OF_THE_LENGTH = frozenset({"Content-Length", "Content-Encoding", "Transfer-Encoding"})
_RANDOM_HEADERS = frozenset({"Date", "Set-Cookie", "X-Conversation"})
Seen = tuple[str, int, Mapping[str, str], Any]
"""What was asked, and the status, headers and body that came back."""


@dataclass(kw_only=True)
class House:
    """A running application and what a test may look at."""

    app: Application
    address: str
    model: ModelServer | None
    lines: list[TurnLine] = field(default_factory=list)

    @property
    def core(self) -> Core:
        return self.app.core

    async def feed(self, documents: Sequence[Document]) -> None:
        """Write documents and give them their vectors."""
        await self.core.store.put(documents)
        await attach_pending(self.core.store, self.core.embedder)
        await self.core.store.refresh()

    @asynccontextmanager
    async def caller(self, who: Who) -> AsyncIterator[ClientSession]:
        """A client of its own, as this kind of caller."""
        headers = {"Authorization": f"Bearer {API_TOKEN}"} if who == "token" else {}
        if who in {"page", "member"}:
            headers = {"Sec-Fetch-Site": "same-origin"}
        async with ClientSession(self.address, headers=headers, cookie_jar=CookieJar(unsafe=True)) as client:
            if who in {"page", "member"}:
                await (await client.get("/")).read()
            if who == "member":
                async with client.post("/api/v1/session", json={"token": API_TOKEN}) as response:
                    assert response.status == 200
            yield client

    async def passage_ids(self, collections: Iterable[str]) -> list[str]:
        """The ids of all passages of these collections, those of expired documents too."""
        found: list[str] = []
        after: int | None = 0
        while after is not None:
            page = await self.core.store.dump(frozenset(collections), after=after)
            for each in page.documents:
                seen: Counter[str] = Counter()
                for chunk in each.document.chunks:
                    found.append(passage_id(each.document, chunk, seen[chunk.text]))
                    seen[chunk.text] += 1
            after = page.after
        return found


@asynccontextmanager
async def opened_house(
    data: Path,
    *,
    access: str,
    server: ModelServer,
    is_extractive: bool = False,
    minilm: bool = False,
    neo4j: Neo4jServer | None = None,
) -> AsyncIterator[House]:
    """The application over `data`; `server` gives embeddings and writes answers, unless told otherwise.

    `neo4j`: keep the knowledge there, in whatever it holds.
    """
    settings = Settings(
        data=data,
        access=access,
        admin_token=SecretStr(ADMIN),
        api_tokens=(SecretStr(API_TOKEN),),
        embedding_model="minilm" if minilm else "openai:hashing@64",
        embedding_base_url=None if minilm else server.base_url,
        openai_base_url=None if is_extractive else server.base_url,
        neo4j_uri=None if neo4j is None else neo4j.uri,
        neo4j_password=None if neo4j is None else SecretStr(neo4j.password),
    )
    lines: list[TurnLine] = []
    async with open_application(settings, write_turn=lines.append) as app:
        runner = web.AppRunner(app.web, access_log=None, shutdown_timeout=1, handler_cancellation=True)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            model = None if is_extractive else server
            yield House(app=app, address=f"http://{host}:{port}", model=model, lines=lines)
        finally:
            await runner.cleanup()


def written(collection: str, id_: str, text: str) -> Document:
    """Markdown as ingest would store it."""
    parsed = parse_markdown(text, fallback_title=id_)
    return build_document(
        parsed,
        collection=collection,
        source="folder",
        document_id=id_,
        file=id_,
        content_hash=str(hash((id_, text))),
        size=len(text.encode()),
    )


async def visit(
    client: ClientSession,
    *,
    questions: Sequence[str],
    passages: Sequence[str],
    collections: Sequence[str],
) -> list[Seen]:
    """Go through every door. `passages` and `collections` are names to try, permitted or not."""
    doors = [
        *_questions(questions),
        *_named(questions[0], [*collections, "never_heard_of"]),
        *_opened([*passages, "AAAAAAAAAAAAAAAA"]),
    ]
    return [await knock(client, *door) for door in doors]


async def knock(
    client: ClientSession, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> Seen:
    """One request and what came back."""
    async with client.request(method, path, json=body, headers=headers) as response:
        raw = await response.read()
    kept = {name: value for name, value in response.headers.items() if name not in _RANDOM_HEADERS}
    value = _settled(response.content_type, raw)
    if value != raw:  # durations are longer or shorter, and a body is compressed from a certain length on
        kept = {name: text for name, text in kept.items() if name not in _OF_THE_LENGTH}
    return f"{method} {path} {json.dumps(body)} {headers or ''}", response.status, kept, value


_Door = tuple[str, str, Any, Mapping[str, str] | None]


def _questions(questions: Sequence[str]) -> Iterator[_Door]:
    for question in questions:
        yield "POST", "/api/v1/ask", {"question": question}, None
        yield "POST", "/api/v1/ask", {"question": question, "stream": True}, None
        yield "POST", "/api/v1/faqs/match", {"question": question}, None
        for mode in MODES:
            yield "POST", "/api/v1/retrieve", {"question": question, "mode": mode, "k": 3}, None
        yield "POST", "/api/v1/retrieve", {"question": question, "k": 100}, None


def _named(question: str, collections: Sequence[str]) -> Iterator[_Door]:
    for name in collections:
        for path in ("ask", "retrieve", "faqs/match"):
            yield "POST", f"/api/v1/{path}", {"question": question, "collections": [name]}, None
        yield "POST", "/api/v1/ask", {"question": question, "collections": [name], "stream": True}, None
        for path in ("documents", "faqs"):
            yield "GET", f"/api/v1/{path}?collection={name}", None, None
        yield "DELETE", f"/api/v1/documents/a.md?collection={name}", None, None


def _opened(passages: Sequence[str]) -> Iterator[_Door]:
    for passage in passages:
        for accept in ("application/json", "text/html"):
            yield "GET", f"/api/v1/passages/{passage}", None, {"Accept": accept}
    for path in ("/", "/healthz", "/readyz", "/api/v1/jobs", "/api/v1/jobs/1", "/api/performance", "/metrics"):
        yield "GET", path, None, None
    yield "GET", "/dashboard", None, {"Accept": "text/html"}
    yield "POST", "/api/v1/faqs/warm", {"all": True}, None


def _settled(kind: str, raw: bytes) -> Any:
    """The body without what is random by design, and without how a stream was cut into events."""
    if kind == "application/json":
        return _without_random(json.loads(raw))
    if kind == "text/event-stream":
        frames = [frame for frame in raw.decode().split("\n\n") if frame and not frame.startswith(":")]
        events = [parse_event(frame) for frame in frames]
        text = "".join(data["text"] for name, data in events if name == "delta")
        return text, [(name, _without_random(data)) for name, data in events if name not in {"delta", "status"}]
    return raw


def _without_random(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_random(item) for name, item in value.items() if name not in _RANDOM}
    if isinstance(value, list):
        return [_without_random(item) for item in value]
    return value


def settled_line(line: TurnLine) -> Mapping[str, Any]:
    """A turn's log line without ids, durations, what depends on them, and the store's count of changes."""
    dropped = {"ts", "trace_id", "conversation", "edits", "epoch"}
    return {name: value for name, value in line.as_dict().items() if name not in dropped and not name.endswith("_ms")}
