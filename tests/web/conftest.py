"""The web application on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest
from aiohttp import ClientSession, CookieJar

from bot.telemetry.line import TurnLine
from rag.types import AnswerEvent
from tests.support.answers import ScriptedEngine
from tests.support.web import WHOLE, PassagesInMemory, Setup, Site, StartSite, serve, services_for


@pytest.fixture
async def start_site() -> AsyncIterator[StartSite]:
    """Starts a site; takes the fields of `Setup`, and `script`, the events of the engine."""
    async with AsyncExitStack() as stack:
        yield partial(_start, stack)


async def _start(stack: AsyncExitStack, *script: AnswerEvent | asyncio.Event | Exception, **fields: Any) -> Site:
    cancelling = fields.pop("handler_cancellation", True)
    engine = fields.setdefault("engine", ScriptedEngine(*(script or WHOLE)))
    retriever = PassagesInMemory()
    lines: list[TurnLine] = []
    address = await serve(stack, services_for(Setup(**fields), retriever, lines), handler_cancellation=cancelling)
    client = await stack.enter_async_context(ClientSession(address, cookie_jar=CookieJar(unsafe=True)))
    return Site(client=client, engine=engine, retriever=retriever, lines=lines, address=address)


@pytest.fixture
async def site(start_site: StartSite) -> Site:
    """A site that answers every question with the same cited answer."""
    return await start_site()
