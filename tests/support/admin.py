"""The admin's side of the web application on a real socket: real state, store, ingest and jobs in one folder."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, CookieJar, web

from bot.auth import Sessions
from bot.faqs.desk import Faqs
from bot.faqs.job import WARM, warm_kind
from bot.faqs.warm import Warmer
from bot.ingest_job import documents_kinds
from bot.jobs import JobKind, JobRunner
from bot.state.jobs import JobTable
from bot.state.sessions import SessionTable
from bot.state.sqlite import SqliteState
from bot.telemetry.line import TurnLine
from bot.uploads import Uploads
from bot.web.admin import AdminServices
from bot.web.app import build_app
from bot.web.services import Rate, WebLimits
from rag.cache.faq import FaqBook
from rag.engine import Engine
from rag.generate.extractive import ExtractiveAnswerer
from rag.ingest.sandbox import ParserPool
from rag.ports import Embedder
from rag.retrieval.search import Search
from rag.stores.embedded import EmbeddedStore
from tests.support.answers import ScriptedEngine
from tests.support.web import ADMIN, WHOLE, PassagesInMemory, Setup, services_for

BEARER: Mapping[str, str] = {"Authorization": f"Bearer {ADMIN}"}
OWN_PAGE: Mapping[str, str] = {"Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A response whose body has been read."""

    status: int
    headers: Mapping[str, str]
    text: str
    value: Any
    """The body, if it was JSON."""


@dataclass(kw_only=True)
class Desk:
    """A running application and what a test may look at."""

    client: ClientSession
    address: str
    admin: AdminServices
    folder: Path
    lines: list[TurnLine]

    async def ask(self, method: str, path: str, *, headers: Mapping[str, str] = BEARER, **options: Any) -> Answered:
        """One request, as the admin unless other headers are given."""
        async with self.client.request(method, path, headers=headers, **options) as response:
            text = await response.text()
            is_json = response.content_type == "application/json"
            return Answered(
                status=response.status,
                headers=response.headers,
                text=text,
                value=await response.json() if is_json else None,
            )

    async def sign_in(self) -> None:
        """Open a login link, as a browser does; the client keeps the cookie."""
        link = await self.admin.sessions.make_link()
        assert (await self.ask("GET", f"/login?link={link}", headers={})).status == 200

    async def ended(self, job_id: str) -> Any:
        """The job, once it has ended."""
        while (job := (await self.ask("GET", f"/api/v1/jobs/{job_id}")).value)["state"] in {"queued", "running"}:
            await asyncio.sleep(0.02)
        return job

    async def ids(self, **query: str) -> list[str]:
        """The ids of the documents listed."""
        found = (await self.ask("GET", "/api/v1/documents", params=query)).value
        return [item["id"] for item in found["documents"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str


async def grapevine(*arguments: str, data: Path) -> Ran:
    """Run the `grapevine` command over this data folder, with the tests' admin token."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GRAPEVINE_")}
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("grapevine"),
        *arguments,
        env={**environment, "GRAPEVINE_DATA": str(data), "GRAPEVINE_ADMIN_TOKEN": ADMIN},
        cwd=data,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Ran(code=process.returncode or 0, out=out.decode(), err=err.decode())


@asynccontextmanager
async def running_desk(
    folder: Path,
    *,
    limit_bytes: int = 2**20,
    api_tokens: Sequence[str] = (),
    guesses: int = 20,
    kinds: Mapping[str, JobKind] | None = None,
    embedder: Embedder | None = None,
    port: int = 0,
) -> AsyncIterator[Desk]:
    """The application over `folder`, until the block ends; then as after a clean stop."""
    lines: list[TurnLine] = []
    setup = Setup(
        engine=ScriptedEngine(*WHOLE),
        api_tokens=tuple(api_tokens),
        limits=WebLimits(guesses=Rate(per_s=0.1, burst=guesses)),
    )
    state = await SqliteState.open(folder / "state.db")
    store = EmbeddedStore(folder / "knowledge.db")

    async def collections() -> frozenset[str]:
        return frozenset(await store.counts())

    services = replace(services_for(setup, PassagesInMemory(), lines), collections=collections)
    uploads = Uploads(folder / "uploads", limit_bytes=limit_bytes)
    book = FaqBook(store)
    desk = Faqs(store, book, Warmer(store, Engine(Search(store, embedder), ExtractiveAnswerer()), deadline_s=30))
    async with ParserPool(processes=1) as pool:
        table = await JobTable.open(state)
        documents = documents_kinds(store, embedder, pool, uploads)
        runner = JobRunner(table, {**documents, WARM: warm_kind(desk), **(kinds or {})}, poll_s=0.05, report_s=0.02)
        admin = AdminServices(
            sessions=Sessions(await SessionTable.open(state), key=ADMIN),
            jobs=table,
            runner=runner,
            uploads=uploads,
            store=store,
            recent=lambda: lines,
        )
        app = web.AppRunner(build_app(services, admin, desk), shutdown_timeout=1)
        await app.setup()
        await web.TCPSite(app, "127.0.0.1", port).start()
        host, port = app.addresses[0][:2]
        address = f"http://{host}:{port}"
        await book.open()
        await runner.start()
        try:
            async with ClientSession(address, cookie_jar=CookieJar(unsafe=True)) as client:
                yield Desk(client=client, address=address, admin=admin, folder=folder, lines=lines)
        finally:
            await app.cleanup()
            await runner.stop()
            await book.close()
            await store.close()
            await state.close()
