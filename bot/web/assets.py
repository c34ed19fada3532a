"""The page's files: read once at start, addressed by the fingerprint of all of them, so that browsers may keep them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from bot.web.caching import cacheable, fingerprint

_FOLDER = Path(__file__).with_name("static")
_TYPES: Mapping[str, str] = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
_FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assets:
    """Files and page templates, in memory."""

    version: str
    """Changes when any file does. It is a folder of the address, so that scripts import each other relatively."""
    files: Mapping[str, bytes]
    templates: Mapping[str, str]

    def page(self, name: str, **values: str) -> bytes:
        """A template with `{{key}}` replaced. Values must be escaped already."""
        values["static"] = f"/static/{self.version}"
        return _PLACEHOLDER.sub(lambda match: values[match[1]], self.templates[name]).encode()


ASSETS = web.AppKey("assets", Assets)


def load_assets() -> Assets:
    """Read every file; blocking, so only for start-up."""
    contents = {path.name: path.read_bytes() for path in sorted(_FOLDER.iterdir()) if path.is_file()}
    return Assets(
        version=fingerprint(b"\0".join(name.encode() + b"\0" + body for name, body in contents.items()))[:12],
        files={name: body for name, body in contents.items() if Path(name).suffix in _TYPES},
        templates={name: body.decode() for name, body in contents.items() if name.endswith(".html")},
    )


async def static_file(request: web.Request) -> web.Response:
    """One file. An address of another version gets today's file, which must then be asked about every time."""
    assets = request.app[ASSETS]
    name = request.match_info["name"]
    body = assets.files.get(name)
    if body is None:
        raise web.HTTPNotFound
    return cacheable(
        request,
        body,
        content_type=_TYPES[Path(name).suffix],
        cache_control=_FOREVER if request.match_info["version"] == assets.version else "no-cache",
    )
