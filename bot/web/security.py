"""Headers that every response carries: nothing from elsewhere runs, frames or reads what we serve."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

# No 'unsafe-inline': scripts and styles are files. No CORS header anywhere: other sites' pages cannot read answers.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "grapevine",
}


async def add_security_headers(request: web.Request, response: web.StreamResponse) -> None:  # noqa: ARG001 - aiohttp's signature
    """Signal handler for `on_response_prepare`; covers streams and errors too."""
    for name, value in HEADERS.items():
        response.headers[name] = value
