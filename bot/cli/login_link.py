"""`grapevine login-link`: a link that opens the dashboard once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import click

from bot.auth import LINK_LIFETIME_S, Sessions, admin_token
from bot.cli.audit import audited
from bot.cli.common import json_option, print_json, run, settings
from bot.settings import Settings
from bot.state.sessions import SessionTable
from bot.state.sqlite import SqliteState


@click.command("login-link")
@click.option("--url", help="Where the server is reached, e.g. `https://bot.example.org`; default: where it listens.")
@json_option
def command(url: str | None, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Print a link that opens the dashboard: good once, for five minutes."""
    configured = settings()
    base = _base(configured, url)
    link = f"{base}/login?link={run(_make(configured))}"
    audited(configured, "login-link", "dashboard")
    if as_json:
        until = datetime.now(UTC) + timedelta(seconds=LINK_LIFETIME_S)
        print_json({"url": link, "expires": until.isoformat(timespec="seconds").replace("+00:00", "Z")})
    else:
        click.echo(link)
        click.echo("good once, for five minutes; `grapevine serve` must be running", err=True)


async def _make(configured: Settings) -> str:
    secret = configured.admin_token.get_secret_value() if configured.admin_token else None
    key, _ = admin_token(secret, configured.data)
    state = await SqliteState.open(configured.data / "state.db")
    try:
        return await Sessions(await SessionTable.open(state), key=key).make_link()
    finally:
        await state.close()


def _base(configured: Settings, url: str | None) -> str:
    if url is not None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise click.BadParameter("must be an address like `https://bot.example.org`", param_hint="--url")
        return url.rstrip("/")
    if configured.port == 0:
        return _address_in_use(configured.data)
    # An address that means "all of this machine's" is none that a browser can open.
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(configured.host, configured.host)  # noqa: S104 - compared, not bound
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"http://{host}:{configured.port}"


def _address_in_use(data: Path) -> str:
    try:
        return (data / "address").read_text("ascii").strip().rstrip("/")
    except OSError:
        raise click.ClickException(
            "GRAPEVINE_PORT is 0 and no server has written its address; start `grapevine serve`, or give --url"
        ) from None
