"""What the admin's routes are given, and the one guard before all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

from bot.auth import Sessions, Via
from bot.jobs import JobRunner
from bot.state.jobs import JobTable
from bot.telemetry.line import TurnLine
from bot.uploads import Uploads
from bot.web.callers import Caller, identify
from bot.web.errors import ApiError
from rag.ports import KnowledgeStore

ADMIN_COOKIE = "grapevine_admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminServices:
    """Everything the admin's handlers use; built in `bot/wiring/`."""

    sessions: Sessions
    jobs: JobTable
    runner: JobRunner
    uploads: Uploads
    store: KnowledgeStore
    recent: Callable[[], Sequence[TurnLine]]
    """The lines of the last turns, oldest first."""
    pools: Callable[[], Mapping[str, Mapping[str, float]]] = dict
    """By pool (`neo4j`): how its connections are doing."""


ADMIN = web.AppKey("admin", AdminServices)


async def require_admin(request: web.Request) -> Via:
    """Let the admin in, by bearer token or by the dashboard's session, and say which.

    Raises:
        ApiError: 401 (no or a wrong token, no session), 403 (an API token; a session used by another site's page),
            429 (too many wrong tokens from this address).
    """
    if "Authorization" in request.headers:
        if not identify(request).is_admin:
            raise ApiError(403, "admin_only", "An API token does not open this; it needs the admin token.")
        return "token"
    session = request.cookies.get(ADMIN_COOKIE)
    if session is None or not await request.app[ADMIN].sessions.is_open(session):
        raise ApiError(
            401,
            "unauthorized",
            "Only for the admin: send the admin token (`Authorization: Bearer TOKEN`), or open `grapevine login-link`.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if not is_same_origin(request):
        raise ApiError(403, "foreign_origin", "This came from another site's page. Open the dashboard itself.")
    return "session"


async def identify_admin_too(request: web.Request) -> Caller:
    """As `identify`, and the dashboard's session counts for as much as the admin's token."""
    session = request.cookies.get(ADMIN_COOKIE)
    is_asked = session is not None and "Authorization" not in request.headers and ADMIN in request.app
    if is_asked and is_same_origin(request) and await request.app[ADMIN].sessions.is_open(session or ""):
        return Caller(platform="web", key="admin", client="admin", is_admin=True, is_known=True)
    return identify(request)


def is_same_origin(request: web.Request) -> bool:
    """Whether a request with the admin's cookie was made by our own page, or typed by the person.

    SameSite=Strict is not enough: `localhost:3000` is the same *site* as `localhost:8080`, so its pages may send our
    cookie. https://web.dev/articles/fetch-metadata
    """
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        return False
    is_reading = request.method in {"GET", "HEAD"}
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin" or (site == "none" and is_reading)
    # Over plain HTTP to another machine browsers send no Sec-Fetch-Site, but an Origin with whatever changes something.
    return origin is not None or is_reading
