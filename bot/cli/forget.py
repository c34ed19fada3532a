"""`grapevine forget`: erase all that one person has asked, been answered and rated."""

from __future__ import annotations

from typing import get_args

import click

from adapters.ports import Platform
from bot.audit import person
from bot.cli.audit import audited
from bot.cli.common import FAILED, json_option, log_beside_result, print_json, run, settings
from bot.settings import Settings
from bot.state.sqlite import SqliteState


@click.command("forget")
@click.argument("who", metavar="PLATFORM:PERSON")
@json_option
def command(who: str, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Erase what PERSON has asked, been answered and rated, e.g. `grapevine forget telegram:12345`.

    Where several replicas share Redis, all of them forget. A question that is being answered right now is not kept.
    """
    platform, colon, name = who.partition(":")
    known: tuple[Platform, ...] = get_args(Platform)
    if not colon or not name or platform not in known:
        raise click.UsageError(f"`{who}` names nobody; write PLATFORM:PERSON, PLATFORM being one of {', '.join(known)}")
    configured = settings()
    log_beside_result(configured)
    questions, is_told, pseudonym = run(_forget(configured, next(one for one in known if one == platform), name))
    audited(configured, "forget", pseudonym, outcome="done" if is_told else "failed")
    if as_json:
        print_json({"questions": questions, "is_complete": is_told})
    else:
        click.echo(f"{questions} question{'' if questions == 1 else 's'} forgotten")
    if not is_told:
        click.echo("grapevine: REDIS_URL does not answer: other replicas were not told; try again later", err=True)
        raise click.exceptions.Exit(FAILED)


async def _forget(configured: Settings, platform: Platform, name: str) -> tuple[int, bool, str]:
    from bot.wiring import open_conversations  # noqa: PLC0415 - only when needed

    state = await SqliteState.open(configured.data / "state.db")
    try:
        pseudonym = person(await state.kept_secret("hash-key"), platform, name)
    finally:
        await state.close()
    async with open_conversations(configured) as conversations:
        questions = await conversations.forget(platform, name)
        return questions, not conversations.is_cut_off, pseudonym
