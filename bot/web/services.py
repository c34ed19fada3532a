"""What the web application is given, and its limits."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from aiohttp import web

from bot.access import Access
from bot.lanes import Lanes
from bot.turn import Turns
from bot.web.rates import SharedRates
from bot.web.sessions import Signer
from bot.web.tokens import Tokens
from rag.asked import LONGEST_QUESTION
from rag.ports import Retriever


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A token bucket: `burst` at once, `per_s` in the long run."""

    per_s: float
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebLimits:
    """What one client may do. Callers with an API token get `token_factor` times the rates, the admin any."""

    body_bytes: int = 256 * 1024
    body_s: float = 20.0
    """How long a client may take to send its body."""
    question_chars: int = LONGEST_QUESTION
    most_passages: int = 100
    asks: Rate = Rate(per_s=2, burst=60)
    reads: Rate = Rate(per_s=100, burst=600)
    token_factor: int = 5
    local_factor: int = 20
    """For callers on this very machine, whose address says nothing: programs beside the server, a proxy that does not
    name its clients, a load test of 500 people."""
    guesses: Rate = Rate(per_s=1 / 6, burst=20)
    """How many wrong tokens may come from one address before it has to wait, even with the right one."""
    heartbeat_s: float = 15.0
    proxies: tuple[IPv4Network | IPv6Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    """Peers whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebServices:
    """Everything the handlers use; built in `bot/wiring/`."""

    turns: Turns
    retriever: Retriever
    access: Access
    collections: Callable[[], Awaitable[frozenset[str]]]
    """All collections there are, now."""
    tokens: Tokens
    signer: Signer
    missing: Callable[[], Awaitable[tuple[str, ...]]]
    """What `/readyz` still waits for, one line each; empty when ready."""
    lanes: Lanes
    """The order of the questions in each conversation."""
    rates: Callable[[str, float, int], SharedRates | None] = lambda _name, _per_s, _burst: None
    """Rate limits that replicas share, by name, tokens a second and burst; None: each process counts alone."""
    degraded: Callable[[], tuple[str, ...]] = lambda: ()
    """What does not work as configured though questions are answered, one line each."""
    examples: Callable[[frozenset[str]], Mapping[str, tuple[str, ...]]] = lambda _: {}
    """Example questions for the page, by language, for somebody who may read these collections; asked on each visit."""
    limits: WebLimits = WebLimits()
    clock: Callable[[], float] = time.monotonic


SERVICES = web.AppKey("services", WebServices)
