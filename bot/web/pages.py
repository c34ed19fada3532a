"""`GET /`: the chat page, and the browser session that its questions belong to."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import orjson
from aiohttp import web
from pydantic import Field

from bot.web.assets import ASSETS
from bot.web.bodies import Body, read_body
from bot.web.caching import REVALIDATE
from bot.web.callers import SESSION_COOKIE, Caller, charge, identify, is_behind_proxy, readable
from bot.web.errors import ApiError, json_response
from bot.web.services import SERVICES
from bot.web.sessions import Session
from rag.errors import StoreError

_COOKIE_S = 30 * 24 * 3600


class SignInBody(Body):
    """The body of `session`."""

    token: str = Field(description="an API token")


async def chat(request: web.Request) -> web.Response:
    """The chat page; a browser without a session gets one."""
    services = request.app[SERVICES]
    cookie = request.cookies.get(SESSION_COOKIE)
    session = services.signer.session(cookie)
    response = web.Response(
        body=request.app[ASSETS].page(
            "chat.html",
            examples=escape(orjson.dumps(dict(await _examples(request, session))).decode()),
            can_sign_in="true" if services.tokens.has_api_tokens and not (session and session.member) else "false",
            most_chars=str(services.limits.question_chars),
        ),
        content_type="text/html",
        charset="utf-8",
        headers={"Cache-Control": REVALIDATE},
    )
    response.enable_compression()
    # Anew on every visit, so that the cookie of somebody who keeps coming does not expire.
    _remember(request, response, cookie if session and cookie else services.signer.new_session())
    return response


async def sign_in(request: web.Request) -> web.Response:
    """Tie this browser to an API token, so that the page may read what `web` may. 401 for an unknown token."""
    services = request.app[SERVICES]
    caller = identify(request)
    await charge(request, caller, "asks")
    body = await read_body(request, SignInBody)
    member = services.tokens.api_caller(body.token.strip())
    if member is None or caller.platform != "web":
        raise ApiError(401, "unauthorized", "This token is not known.")
    response = json_response({"signed_in": True})
    _remember(request, response, services.signer.new_session(member=member))
    return response


async def _examples(request: web.Request, session: Session | None) -> Mapping[str, tuple[str, ...]]:
    """Questions that this visitor may be offered."""
    services = request.app[SERVICES]
    is_known = session is not None and session.member is not None and services.tokens.is_current(session.member)
    visitor = Caller(platform="web", key="page", client="page", is_known=is_known)
    try:
        return services.examples(await readable(request, visitor, None))
    except StoreError:
        return {}  # the page is of use all the same: it says what is wrong when somebody asks


def _remember(request: web.Request, response: web.Response, session: str) -> None:
    is_https = request.secure or (is_behind_proxy(request) and request.headers.get("X-Forwarded-Proto") == "https")
    response.set_cookie(
        SESSION_COOKIE,
        session,
        max_age=_COOKIE_S,
        httponly=True,
        secure=is_https,
        # Lax, not Strict: a link from a mail to this page must not replace the session by a new one. Questions are
        # POSTs, to which no other site's page can add a Lax cookie.
        samesite="Lax",
    )
