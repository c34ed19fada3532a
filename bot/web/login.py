"""`/login`: a one-time link becomes the dashboard's session; `POST /api/v1/logout` ends it."""

from __future__ import annotations

from aiohttp import web

from bot.audit import audit
from bot.web.admin import ADMIN, ADMIN_COOKIE, require_admin
from bot.web.assets import ASSETS
from bot.web.callers import check_guesses, is_behind_proxy, note_guess
from bot.web.errors import ApiError, json_response


async def login(request: web.Request) -> web.Response:
    """Redeem the link and go on to the dashboard.

    The way on is a page, not a redirect: a browser that came from elsewhere (a link in a mail) sends no Strict cookie
    along a redirect, but does to where our own page leads.
    """
    admin = request.app[ADMIN]
    if "prefetch" in request.headers.get("Sec-Purpose", "") or request.headers.get("Purpose") == "prefetch":
        raise ApiError(503, "not_prefetched", "This link works once and is not fetched ahead.")
    try:
        check_guesses(request)
    except ApiError as error:
        return sign_in_page(request, error.status, error.message)
    session = await admin.sessions.redeem(request.query.get("link", ""))
    if session is None:
        note_guess(request)
        return sign_in_page(request, 401, "This link was used already, or is older than five minutes.")
    audit("login", "dashboard", who="session")
    response = web.Response(
        body=request.app[ASSETS].page("welcome.html"),
        content_type="text/html",
        charset="utf-8",
        headers={"Cache-Control": "no-store"},
    )
    response.set_cookie(
        ADMIN_COOKIE,
        session,
        max_age=int(admin.sessions.lifetime_s),
        path="/",
        httponly=True,
        samesite="Strict",
        secure=request.secure or (is_behind_proxy(request) and request.headers.get("X-Forwarded-Proto") == "https"),
    )
    return response


async def logout(request: web.Request) -> web.Response:
    """End the session that the request carries."""
    via = await require_admin(request)
    if session := request.cookies.get(ADMIN_COOKIE):
        await request.app[ADMIN].sessions.end(session)
        audit("logout", "dashboard", who=via)
    response = json_response({"signed_out": True})
    response.del_cookie(ADMIN_COOKIE, path="/", httponly=True, samesite="Strict")
    return response


def sign_in_page(request: web.Request, status: int, reason: str) -> web.Response:
    """The page that says how to sign in. `reason` is a sentence of ours."""
    return web.Response(
        body=request.app[ASSETS].page("login.html", reason=reason),
        status=status,
        content_type="text/html",
        charset="utf-8",
        headers={"Cache-Control": "no-store"},
    )
