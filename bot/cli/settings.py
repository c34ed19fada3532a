"""`grapevine settings`: every setting, its meaning, default and value, and where the value comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
from pydantic import SecretStr

from bot.cli.common import json_option, print_json, print_table
from bot.settings import ENV_NAMES, Settings, load


@click.command("settings")
@click.option("--markdown", is_flag=True, help="Print the README's table: name, default, meaning.")
@json_option
def command(markdown: bool, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Print every setting with its meaning, default, value (secrets masked) and where the value comes from."""
    if markdown:
        click.echo(as_markdown())
        return
    settings, sources = load()
    rows = [
        {"name": name, "value": _shown(getattr(settings, field)), "source": sources[field], **_described(field)}
        for name, field in ENV_NAMES.items()
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(
            ("setting", "value", "from", "meaning"),
            [(row["name"], row["value"], row["source"], row["meaning"]) for row in rows],
            numbers_from=4,
        )


def as_markdown() -> str:
    """The table of all settings as the README shows it."""

    def lines() -> Iterator[str]:
        yield "| setting | default | meaning |"
        yield "|---|---|---|"
        for name, field in ENV_NAMES.items():
            default = _shown(Settings.model_fields[field].default)
            yield f"| `{name}` | {f'`{default}`' if default else ''} | {_described(field)['meaning']} |"

    return "\n".join(lines())


def _described(field: str) -> dict[str, Any]:
    info = Settings.model_fields[field]
    return {"meaning": info.description, "default": _shown(info.default)}


def _shown(value: Any) -> str:
    if value is None or value in ((), frozenset()):
        return ""
    if isinstance(value, SecretStr):
        return "********"
    if isinstance(value, tuple | frozenset):
        return ", ".join(sorted(_shown(item) for item in value))
    return str(value)
