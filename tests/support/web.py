"""The web application on a real socket of 127.0.0.1, over real turns, a scripted engine and passages in memory."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import ClientResponse, ClientSession, web

from bot.access import parse_access
from bot.lanes import Lanes
from bot.smalltalk import SmallTalk
from bot.state.sqlite import SqliteState
from bot.state.turns import SqliteTurns
from bot.telemetry.line import TurnLine
from bot.turn import Turns
from bot.turn_ports import Answers
from bot.web.app import build_app
from bot.web.services import WebLimits, WebServices
from bot.web.sessions import Signer
from bot.web.tokens import Tokens
from rag.ports import Retrieved
from rag.resilience.deadline import Deadline
from rag.types import AnswerEvent, Citation, Done, Mode, Passage, Sources, Status, Timings
from tests.support.answers import ScriptedEngine, deltas, passage

KEY = b"k" * 32
ADMIN = "admin-token-of-a-test"
API_TOKEN = "api-token-of-a-test-1"
PASSAGES = (
    passage(1, text="Theft cover costs **90,000 VND** a year.", url="https://example.org/theft", page=3),
    passage(2, text="Flood damage is covered.", passage_id="public/guides/flood.md#2", heading="Guide > Floods"),
    passage(3, text="Call the underwriter first.", collection="staff", title="Call script"),
)
CITED = Citation(
    n=1,
    document="doc1.md",
    title="Title 1",
    collection="public",
    passage_id="p1",
    page=3,
    url="https://example.org/theft",
)
ANSWER = "Theft cover costs **90,000 VND** a year [1]."
WHOLE: tuple[AnswerEvent, ...] = (
    Status(key="retrieving"),
    Sources(passages=PASSAGES[:2]),
    *deltas("Theft cover costs ", "**90,000 VND** ", "a year [1]."),
    Done(outcome="answered", answer=ANSWER, citations=(CITED,), timings=Timings(retrieve_ms=3.0)),
)


class PassagesInMemory:
    """A `Retriever` that finds every permitted passage, in order."""

    def __init__(self, passages: tuple[Passage, ...] = PASSAGES) -> None:
        self.passages = passages
        self.fault: Exception | None = None

    async def retrieve(
        self,
        text: str,
        *,
        collections: frozenset[str],
        k: int = 8,
        mode: Mode = "hybrid",
        deadline: Deadline | None = None,
    ) -> Retrieved:
        if self.fault:
            raise self.fault
        found = tuple(passage for passage in self.passages if passage.collection in collections)[:k]
        return Retrieved(passages=found, is_relevant=True, language="en", timings=Timings(retrieve_ms=1.5))

    async def passage(self, passage_id: str, *, collections: frozenset[str]) -> Passage | None:
        found = (p for p in self.passages if p.passage_id == passage_id and p.collection in collections)
        return next(found, None)


@dataclass(kw_only=True)
class Site:
    """A running application and what a test may look at."""

    client: ClientSession
    engine: ScriptedEngine
    retriever: PassagesInMemory
    lines: list[TurnLine]
    address: str

    async def request(self, method: str, path: str, **options: Any) -> ClientResponse:
        """A response whose body has been read."""
        async with self.client.request(method, path, **options) as response:
            await response.read()
            return response

    async def get(self, path: str, **options: Any) -> ClientResponse:
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Any) -> ClientResponse:
        return await self.request("POST", path, **options)

    async def ask(
        self, question: str = "What does theft cover cost?", headers: Mapping[str, str] | None = None, **fields: Any
    ) -> ClientResponse:
        """The response to a question; with `stream` it is still open."""
        body = {"question": question, **fields}
        if fields.get("stream"):
            return await self.client.post("/api/v1/ask", json=body, headers=headers)
        return await self.post("/api/v1/ask", json=body, headers=headers)

    async def open_page(self) -> Mapping[str, str]:
        """Get a browser's session cookie; returns the headers that a browser sends with the page's requests."""
        assert (await self.get("/")).status == 200
        return {"Sec-Fetch-Site": "same-origin"}


@dataclass(kw_only=True)
class Setup:
    """What differs between tests."""

    engine: Answers
    access: str = "*=public"
    api_tokens: tuple[str, ...] = ()
    limits: WebLimits = field(default_factory=WebLimits)
    missing: tuple[str, ...] = ()
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    clock: Callable[[], float] | None = None
    state: SqliteState = field(default_factory=SqliteState.in_memory)
    """Where the lanes are."""


StartSite = Callable[..., Awaitable[Site]]
"""Takes the engine's events and the fields of `Setup`."""


async def serve(stack: AsyncExitStack, services: WebServices, *, handler_cancellation: bool = True) -> str:
    """Run the application until `stack` closes, as `grapevine serve` does; gives its address."""
    runner = web.AppRunner(build_app(services), shutdown_timeout=1, handler_cancellation=handler_cancellation)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"


def services_for(setup: Setup, retriever: PassagesInMemory, lines: list[TurnLine]) -> WebServices:
    """Services over real turns."""

    async def collections() -> frozenset[str]:
        return frozenset({"public", "staff"})

    async def missing() -> tuple[str, ...]:
        return setup.missing

    turns = Turns(
        engine=setup.engine, small_talk=SmallTalk(contact=None), write=lines.append, hash_key=KEY, deadline_s=60
    )
    services = WebServices(
        turns=turns,
        retriever=retriever,
        access=parse_access(setup.access),
        collections=collections,
        tokens=Tokens(admin=ADMIN, api=setup.api_tokens, key=KEY),
        signer=Signer(KEY),
        missing=missing,
        lanes=Lanes(SqliteTurns(setup.state), owner="test"),
        examples=lambda _: setup.examples,
        limits=setup.limits,
    )
    return replace(services, clock=setup.clock) if setup.clock else services


async def events_of(response: ClientResponse) -> list[tuple[str, dict[str, Any]]]:
    """Every event of a stream, until it ends."""
    text = (await response.read()).decode()
    return [parse_event(frame) for frame in text.split("\n\n") if frame and not frame.startswith(":")]


def parse_event(frame: str) -> tuple[str, dict[str, Any]]:
    """The name and the data of one frame."""
    name, data = frame.split("\n")
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))
