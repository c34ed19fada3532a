"""`GET /api/v1/passages/{passage_id}`: what a source link opens, as JSON or as a small page."""

from __future__ import annotations

from html import escape

from aiohttp import web

from adapters.web.sse import dumps
from bot.web.assets import ASSETS
from bot.web.caching import REVALIDATE, cacheable
from bot.web.callers import charge, identify, readable
from bot.web.errors import ApiError
from bot.web.retrieve import passage_json
from bot.web.services import SERVICES
from rag.types import Passage

_VARY = "Accept, Accept-Encoding, Authorization, Cookie"


async def passage(request: web.Request) -> web.Response:
    """The passage in its document; a forbidden and an unknown one look the same."""
    services = request.app[SERVICES]
    caller = identify(request)
    await charge(request, caller, "reads")
    collections = await readable(request, caller, None)
    if caller.is_admin:
        collections |= await services.collections()
    found = await services.retriever.passage(request.match_info["passage_id"], collections=collections)
    if found is None:
        raise ApiError(404, "unknown_passage", "There is no such passage, or it is not open to you.")
    if _wants_page(request):
        return cacheable(request, _page(request, found), content_type="text/html", cache_control=REVALIDATE, vary=_VARY)
    body = {name: value for name, value in passage_json(found).items() if name not in {"score", "why"}}
    return cacheable(request, dumps(body), content_type="application/json", cache_control=REVALIDATE, vary=_VARY)


def _wants_page(request: web.Request) -> bool:
    """Whether this is a browser that opens a link; programs get JSON unless they ask for HTML."""
    accept = request.headers.get("Accept", "")
    html, json = accept.find("text/html"), accept.find("application/json")
    return html >= 0 and (json < 0 or html < json)


def _page(request: web.Request, found: Passage) -> bytes:
    headings = [part for part in found.heading.split(" > ") if part and part != found.title]
    page = [] if found.page is None else [f"p. {found.page}"]
    url = found.url or ""
    link = ""
    if url.startswith(("https://", "http://")):
        link = f'<a class="original" href="{escape(url)}" rel="noopener noreferrer">{escape(url)}</a>'
    return request.app[ASSETS].page(
        "passage.html",
        title=escape(found.title),
        place=escape(" › ".join([*headings, *page])),
        document=escape(found.document),
        link=link,
        text=escape(found.text),
    )
