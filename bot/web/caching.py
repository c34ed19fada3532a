"""Responses that a client may keep and ask about again: ETag, `304 Not Modified`, gzip."""

from __future__ import annotations

import hashlib

from aiohttp import web
from aiohttp.typedefs import LooseHeaders

REVALIDATE = "private, no-cache"
"""Kept by the reader's browser only, and asked about before every use."""


def fingerprint(body: bytes) -> str:
    """A strong validator of these bytes."""
    return hashlib.sha256(body).hexdigest()[:32]


def cacheable(
    request: web.Request,
    body: bytes,
    *,
    content_type: str,
    cache_control: str,
    etag: str | None = None,
    vary: str = "Accept-Encoding",
) -> web.Response:
    """`body`, or 304 where the client has it already.

    The validator is weak: the same bytes go out with and without gzip (RFC 9110, 8.8.1).
    """
    etag = etag or fingerprint(body)
    headers: LooseHeaders = {"ETag": f'W/"{etag}"', "Cache-Control": cache_control, "Vary": vary}
    asked = request.if_none_match or ()
    if any(tag.value in {etag, "*"} for tag in asked):
        return web.Response(status=304, headers=headers)
    response = web.Response(body=body, content_type=content_type, charset="utf-8", headers=headers)
    if len(body) > 1024:
        response.enable_compression()
    return response
