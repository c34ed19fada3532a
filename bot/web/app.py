"""The aiohttp application: every route, in one place."""

from __future__ import annotations

from aiohttp import web

from bot.faqs.desk import Faqs
from bot.web import ask, dashboard, documents, faqs, health, jobs, login, pages, passages, retrieve
from bot.web.admin import ADMIN, AdminServices
from bot.web.assets import ASSETS, load_assets, static_file
from bot.web.callers import METERS, new_meters
from bot.web.errors import errors
from bot.web.security import add_security_headers
from bot.web.services import SERVICES, WebServices
from bot.web.telegram import TelegramDoor


def build_app(
    services: WebServices,
    admin: AdminServices | None = None,
    desk: Faqs | None = None,
    telegram: TelegramDoor | None = None,
) -> web.Application:
    """The application over `services`. Reads the page's files, so call it at start-up.

    Without `admin` there are no admin routes, without `desk` no FAQs, without `telegram` no webhook.
    """
    app = web.Application(middlewares=[errors], client_max_size=services.limits.body_bytes)
    app[SERVICES] = services
    app[METERS] = new_meters(services)
    app[ASSETS] = load_assets()
    app.on_response_prepare.append(add_security_headers)
    app.add_routes(
        [
            web.get("/", pages.chat),
            web.get("/static/{version}/{name}", static_file),
            web.get("/healthz", health.healthz),
            web.get("/readyz", health.readyz),
            web.post("/api/v1/ask", ask.ask),
            web.post("/api/v1/stop", ask.stop),
            web.post("/api/v1/session", pages.sign_in),
            web.post("/api/v1/retrieve", retrieve.retrieve),
            # Ids may hold slashes: they are made of document ids, which are paths.
            web.get("/api/v1/passages/{passage_id:.+}", passages.passage),
        ]
    )
    if admin is not None:
        app[ADMIN] = admin
        app.add_routes(
            [
                web.get("/dashboard", dashboard.dashboard),
                # Without HEAD: it would use the link up.
                web.get("/login", login.login, allow_head=False),
                web.post("/api/v1/logout", login.logout),
                web.get("/api/performance", dashboard.performance),
                web.get("/monitoring/pool-status", dashboard.pool_status),
                web.post("/api/v1/documents", documents.upload),
                web.get("/api/v1/documents", documents.listing),
                web.delete("/api/v1/documents/{id:.+}", documents.remove),
                web.get("/api/v1/jobs", jobs.newest),
                web.get("/api/v1/jobs/{id}", jobs.one),
            ]
        )
    if desk is not None:
        app[faqs.FAQS] = desk
        app.router.add_post("/api/v1/faqs/match", faqs.match)
        if admin is not None:
            app.add_routes(
                [
                    web.post("/api/v1/faqs", faqs.add),
                    web.get("/api/v1/faqs", faqs.listing),
                    web.post("/api/v1/faqs/warm", faqs.warm),
                    web.delete("/api/v1/faqs/{id}", faqs.remove),
                ]
            )
    if telegram is not None:
        app.router.add_post(telegram.path, telegram.handle)
    return app
