"""Who is calling, what they may read, and how often they may ask.

The rule for `platform`, which decides between the `web` and `api` entries of `GRAPEVINE_ACCESS`:

- a request with a bearer token is `api`;
- a request that carries our session cookie *and* comes from our own page (`Sec-Fetch-Site`, or `Origin` where a browser
  does not send that) is `web`;
- everything else, another site's page included, is `api` without a token.

A caller is *known* by an API token, or on the page by having signed in with one. Others read what their platform and
strangers (`*`) may both read. The admin token may name any collection that exists.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Literal
from urllib.parse import urlsplit

from aiohttp import web

from bot.access import EVERYTHING, Access
from bot.auth import Failures
from bot.web.errors import ApiError
from bot.web.rates import Buckets, Meter
from bot.web.services import SERVICES, Rate, WebServices

SESSION_COOKIE = "grapevine_session"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """One client of the API."""

    platform: Literal["web", "api"]
    key: str
    """What conversations are bound to: the browser, the token, or `anonymous`."""
    client: str
    """What rate limits are counted by: the token, or else the network address."""
    is_admin: bool = False
    is_known: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Meters:
    """The buckets of one application."""

    asks: Meter
    reads: Meter
    token_asks: Meter
    token_reads: Meter
    local_asks: Meter
    local_reads: Meter
    guesses: Failures


METERS = web.AppKey("meters", Meters)


def new_meters(services: WebServices) -> Meters:
    """Full buckets."""
    limits = services.limits

    def buckets(rate: Rate, factor: int = 1) -> Buckets:
        return Buckets(per_s=rate.per_s * factor, burst=rate.burst * factor, clock=services.clock)

    def meter(name: str, rate: Rate, factor: int = 1) -> Meter:
        return Meter(buckets(rate, factor), services.rates(name, rate.per_s * factor, rate.burst * factor))

    return Meters(
        asks=meter("asks", limits.asks),
        reads=meter("reads", limits.reads),
        token_asks=meter("token_asks", limits.asks, limits.token_factor),
        token_reads=meter("token_reads", limits.reads, limits.token_factor),
        local_asks=Meter(buckets(limits.asks, limits.local_factor)),
        local_reads=Meter(buckets(limits.reads, limits.local_factor)),
        guesses=Failures(burst=limits.guesses.burst, refill_s=1 / limits.guesses.per_s, clock=services.clock),
    )


def identify(request: web.Request) -> Caller:
    """Who is calling.

    Raises:
        ApiError: 401, when there is a token and we do not know it; 429 after many of those.
    """
    services = request.app[SERVICES]
    if "Authorization" in request.headers:
        return _by_token(request, services)
    client = f"at:{client_address(request)}"
    session = services.signer.session(request.cookies.get(SESSION_COOKIE))
    if session is not None and _is_from_our_page(request):
        is_known = session.member is not None and services.tokens.is_current(session.member)
        return Caller(
            platform="web",
            key=f"web:{session.session_id}",
            client=f"token:{session.member}" if is_known else client,
            is_known=is_known,
        )
    return Caller(platform="api", key="anonymous", client=client)


async def charge(request: web.Request, caller: Caller, kind: Literal["asks", "reads"]) -> None:
    """Count one request.

    Raises:
        ApiError: 429 with `Retry-After`, when there were too many.
    """
    if caller.is_admin:
        return
    meters = request.app[METERS]
    asks, reads = meters.asks, meters.reads
    if caller.is_known:
        asks, reads = meters.token_asks, meters.token_reads
    elif is_local(request):
        asks, reads = meters.local_asks, meters.local_reads
    buckets = asks if kind == "asks" else reads
    wait_s = await buckets.take(caller.client)
    if wait_s:
        seconds = math.ceil(wait_s)
        raise ApiError(
            429,
            "rate_limited",
            f"Too many requests in a short time. Please try again in {seconds} s.",
            headers={"Retry-After": str(seconds)},
        )


async def readable(request: web.Request, caller: Caller, named: Sequence[str] | None) -> frozenset[str]:
    """The collections to search: those that the caller named, or else all they may read.

    Raises:
        ApiError: 403, the same for a forbidden and for an unknown collection.
    """
    services = request.app[SERVICES]
    existing = await services.collections()
    allowed = services.access.may_read(caller.platform, existing=existing)
    if not (caller.is_known or caller.is_admin):
        strangers = Access({EVERYTHING: services.access.grants.get(EVERYTHING, frozenset())})
        allowed &= strangers.may_read(caller.platform, existing=existing)
    if named is None:
        return allowed
    wanted = frozenset(named)
    if not wanted <= (allowed | existing if caller.is_admin else allowed):
        raise ApiError(403, "forbidden_collection", "At least one of these collections is not open to you.")
    return wanted


def client_address(request: web.Request) -> str:
    """The client's address, as far as it can be trusted; an IPv6 client is its /64, the smallest that networks give."""
    peer = request.remote or "unknown"
    if is_behind_proxy(request) and (forwarded := request.headers.get("X-Forwarded-For")):
        # Only the last entry was written by our proxy; those before it come from the client.
        peer = forwarded.rsplit(",", 1)[-1].strip()
    try:
        address = ip_address(peer)
    except ValueError:
        return "unknown"
    return str(ip_network(f"{address}/64", strict=False)) if address.version == 6 else str(address)


def is_local(request: web.Request) -> bool:
    """Whether the client is on this machine and nobody says that it speaks for another one."""
    address = client_address(request)
    return address != "unknown" and ip_network(address, strict=False).network_address.is_loopback


def is_behind_proxy(request: web.Request) -> bool:
    """Whether the peer is one whose `X-Forwarded-*` headers are believed."""
    try:
        peer = ip_address(request.remote or "")
    except ValueError:
        return False
    return any(peer in network for network in request.app[SERVICES].limits.proxies)


def check_guesses(request: web.Request) -> None:
    """Hold back an address that sent many wrong tokens.

    Called before comparing, and whatever the token: otherwise the one right guess among many would still be told.

    Raises:
        ApiError: 429 with `Retry-After`.
    """
    if wait_s := request.app[METERS].guesses.wait_s(client_address(request)):
        seconds = math.ceil(wait_s)
        raise ApiError(
            429,
            "too_many_wrong_tokens",
            f"Too many wrong tokens came from this address. Please try again in {seconds} s.",
            headers={"Retry-After": str(seconds)},
        )


def note_guess(request: web.Request) -> None:
    """A wrong token came with this request."""
    request.app[METERS].guesses.note(client_address(request))


def _by_token(request: web.Request, services: WebServices) -> Caller:
    check_guesses(request)
    scheme, _, token = request.headers["Authorization"].partition(" ")
    token = token.strip()
    if scheme.lower() == "bearer" and token:
        if services.tokens.is_admin(token):
            return Caller(platform="api", key="admin", client="admin", is_admin=True, is_known=True)
        if (caller := services.tokens.api_caller(token)) is not None:
            return Caller(platform="api", key=f"token:{caller}", client=f"token:{caller}", is_known=True)
    note_guess(request)
    raise ApiError(
        401,
        "unauthorized",
        "This token is not known. Send `Authorization: Bearer TOKEN`, or no such header.",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _is_from_our_page(request: web.Request) -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        # `none`: typed or opened by the person, which only happens to pages that change nothing.
        return site == "same-origin" or (site == "none" and request.method in {"GET", "HEAD"})
    # Browsers send no Sec-Fetch-Site over plain HTTP to another machine, nor Origin with a same-site GET.
    origin = request.headers.get("Origin")
    return urlsplit(origin).netloc == request.host if origin else request.method in {"GET", "HEAD"}
