"""`grapevine faq`: questions whose answers are ready before anybody asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Self

import click

from bot.cli.audit import audited
from bot.cli.common import FAILED, json_option, print_json, print_table, progress_bar, run, settings
from bot.faqs.desk import FaqOutcome, faq_json, faq_state, match_json
from bot.faqs.drafts import DEFAULT_COLLECTION, Draft, check_collection_name, new_draft
from bot.faqs.files import FaqFile, read_faqs
from bot.settings import Settings
from rag.cache.faq import Faq, FaqMatch
from rag.errors import InputError


def _collection(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    try:
        return value and check_collection_name(value)
    except InputError as error:
        raise click.BadParameter(str(error)) from None


@click.group("faq")
def command() -> None:
    """Questions that everyone asks: answered at once, before anything is searched."""


@command.command("add")
@click.argument("question")
@click.option("--answer", help="Its answer (Markdown); left out, it is made from the documents.")
@click.option("--paraphrase", "paraphrases", multiple=True, help="Another way to ask it; may be repeated.")
@click.option(
    "--collection", default=DEFAULT_COLLECTION, show_default=True, callback=_collection, help="Who may see it."
)
@click.option("--language", help="Language of the answer, like `en` or `vi` (default: that of the question).")
@json_option
def add_faq(
    question: str,
    answer: str | None,
    paraphrases: tuple[str, ...],
    collection: str,
    language: str | None,
    as_json: bool,  # noqa: FBT001 - click passes options by name
) -> None:
    """Add QUESTION, or replace its answer. A running server serves it within a second."""
    try:
        draft = new_draft(question, answer=answer, paraphrases=paraphrases, collection=collection, language=language)
    except InputError as error:
        raise click.UsageError(str(error)) from None
    configured = settings()
    faq, is_readable = run(_add(configured, draft))
    audited(configured, "faq.add", f"{faq.collection}: {faq.id}")
    if as_json:
        print_json({"id": faq.id})
    else:
        click.echo(f"{faq.id}  {faq.kind}, {faq.collection}, {faq.language}")
    if not is_readable:
        click.echo(
            f"grapevine: the collection `{faq.collection}` has no documents: is it spelt right?",
            err=True,
        )


@command.command("list")
@click.option("--collection", callback=_collection, help="Only this collection.")
@json_option
def list_faqs(collection: str | None, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """List the FAQs, and which are not served at present."""
    faqs, today = run(_list(settings(), collection))
    if as_json:
        print_json([faq_json(faq, today) for faq in faqs])
        return
    if not faqs:
        click.echo("no FAQs" + (f" in {collection}" if collection else "") + "; `grapevine faq add` adds one")
        return
    print_table(
        ("id", "collection", "language", "kind", "state", "paraphrases", "question"),
        [(f.id, f.collection, f.language, f.kind, faq_state(f, today), len(f.paraphrases), f.question) for f in faqs],
        numbers_from=99,
    )


@command.command("remove")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@json_option
def remove_faqs(ids: Sequence[str], as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Remove FAQs by id; a running server stops serving them within a second."""
    configured = settings()
    removed, missing = run(_remove(configured, ids))
    for faq in removed:
        audited(configured, "faq.remove", f"{faq.collection}: {faq.id}")
    if as_json:
        print_json({"removed": [faq.id for faq in removed], "unknown": missing})
    else:
        for faq in removed:
            click.echo(f"removed {faq.id}: {faq.question}")
    if missing:
        raise click.ClickException(f"there is no FAQ {', '.join(missing)}; `grapevine faq list` names them")


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--collection",
    default=DEFAULT_COLLECTION,
    show_default=True,
    callback=_collection,
    help="For lines that name none.",
)
@json_option
def import_faqs(file: Path, collection: str, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Take the FAQs of a .jsonl or .csv FILE: question, answer, paraphrases, collection, language.

    Those without an answer get one from the documents. What did not change costs nothing. Exit code 1 if a line is
    wrong or got no answer; the others are in place all the same.
    """
    found = read_faqs(file, collection=collection)
    configured = settings()
    with _Bar(quiet=as_json) as bar:
        outcomes = run(_import(configured, found, bar))
    _audit_stored(configured, "faq.import", outcomes)
    for line in () if as_json else found.bad:
        click.echo(f"{file}, line {line.line}: {line.reason}", err=True)
    _report(outcomes, as_json=as_json, bad=[asdict(line) for line in found.bad])


@command.command("warm")
@click.argument("questions", metavar="[QUESTION]...", nargs=-1)
@click.option(
    "--file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Questions from a .jsonl or .csv file."
)
@click.option(
    "--collection", callback=_collection, help="The questions' collection (default: public), or the only one to renew."
)
@click.option("--all", "everything", is_flag=True, help="Also renew answers that are still served.")
@json_option
def warm_faqs(
    questions: tuple[str, ...],
    file: Path | None,
    collection: str | None,
    everything: bool,  # noqa: FBT001 - click passes options by name
    as_json: bool,  # noqa: FBT001 - likewise
) -> None:
    """Make answers from the documents: for QUESTIONs, or else for FAQs whose documents changed or expired.

    Exit code 1 if a question got no answer.
    """
    if everything and (questions or file):
        raise click.UsageError("--all renews what is there already; name no questions with it")
    try:
        drafts = [new_draft(text, collection=collection or DEFAULT_COLLECTION) for text in questions]
    except InputError as error:
        raise click.UsageError(str(error)) from None
    found = read_faqs(file, collection=collection or DEFAULT_COLLECTION) if file else FaqFile(drafts=(), bad=())
    drafts += [draft for draft in found.drafts if draft.answer is None]
    configured = settings()
    wanted = None if not questions and file is None else tuple({draft.faq_id: draft for draft in drafts}.values())
    with _Bar(quiet=as_json) as bar:
        outcomes = run(_warm(configured, wanted, collection, everything, bar))
    _audit_stored(configured, "faq.warm", outcomes)
    for line in () if as_json else found.bad:
        click.echo(f"{file}, line {line.line}: {line.reason}", err=True)
    _report(outcomes, as_json=as_json, bad=[asdict(line) for line in found.bad])


@command.command("match")
@click.argument("question", nargs=-1, required=True)
@click.option("--collection", "collections", multiple=True, help="As somebody who may read only this; may be repeated.")
@json_option
def match_question(question: tuple[str, ...], collections: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Say which FAQ would answer QUESTION, here in the terminal or for somebody who may read only --collection."""
    match = run(_match(settings(), " ".join(question), frozenset(collections)))
    if as_json:
        print_json(match_json(match))
    elif match.faq is not None:
        click.echo(f"{match.faq.id}  {match.kind}, {match.faq.collection}: {match.faq.question}")
    elif match.refused_by:
        click.echo(f"none is served: the one with this question is {match.refused_by}; `grapevine faq warm` renews it")
    else:
        click.echo("none: it would be answered from the documents")


async def _add(configured: Settings, draft: Draft) -> tuple[Faq, bool]:
    from bot.wiring import open_core, open_faqs  # noqa: PLC0415 - numpy and onnxruntime, only when needed

    if draft.answer is None:
        async with open_core(configured) as core:
            return await core.faqs.add(draft), True
    async with open_faqs(configured) as faqs:
        return await faqs.add(draft), draft.collection in await faqs.collections()


async def _list(configured: Settings, collection: str | None) -> tuple[tuple[Faq, ...], date]:
    from bot.wiring import open_faqs  # noqa: PLC0415 - likewise

    async with open_faqs(configured) as faqs:
        return await faqs.listing(collection), faqs.book.today()


async def _remove(configured: Settings, ids: Sequence[str]) -> tuple[list[Faq], list[str]]:
    from bot.wiring import open_faqs  # noqa: PLC0415 - likewise

    removed, missing = [], []
    async with open_faqs(configured) as faqs:
        for faq_id in dict.fromkeys(ids):
            faq = await faqs.remove(faq_id)
            if faq is None:
                missing.append(faq_id)
            else:
                removed.append(faq)
    return removed, missing


async def _import(configured: Settings, found: FaqFile, bar: _Bar) -> list[FaqOutcome]:
    from bot.wiring import open_core, open_faqs  # noqa: PLC0415 - likewise

    bar.total(len(found.drafts))
    async with open_faqs(configured) as faqs:
        rest = await faqs.take(found.drafts, bar.note)
    if rest:
        async with open_core(configured) as core:
            await core.faqs.warm(rest, bar.note, keep_curated=False)
    return bar.outcomes


async def _warm(
    configured: Settings,
    wanted: tuple[Draft, ...] | None,
    collection: str | None,
    everything: bool,  # noqa: FBT001 - local
    bar: _Bar,
) -> list[FaqOutcome]:
    from bot.wiring import open_core, open_faqs  # noqa: PLC0415 - likewise

    async with open_faqs(configured) as faqs:
        if wanted is None:
            drafts = await faqs.due(collection=collection, everything=everything)
        else:
            drafts = await faqs.known(wanted)
    bar.total(len(drafts))
    if drafts:
        async with open_core(configured) as core:
            await core.faqs.warm(drafts, bar.note)
    return bar.outcomes


async def _match(configured: Settings, question: str, wanted: frozenset[str]) -> FaqMatch:
    from bot.wiring import open_faqs  # noqa: PLC0415 - likewise

    async with open_faqs(configured) as faqs:
        readable = configured.access_map.may_read("console", existing=await faqs.collections())
        if unknown := sorted(wanted - readable):
            raise InputError(f"there is no collection {', '.join(unknown)}; there is {', '.join(sorted(readable))}")
        return faqs.match(question, collections=wanted or readable)


class _Bar:
    """The progress bar, on standard error; nothing where that is no terminal. Keeps the outcomes."""

    def __init__(self, *, quiet: bool) -> None:
        self.outcomes: list[FaqOutcome] = []
        self._bar = progress_bar(quiet=quiet)
        self._task = self._bar.add_task("FAQs", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def total(self, items: int) -> None:
        self._bar.update(self._task, total=items)

    def note(self, outcome: FaqOutcome) -> None:
        self.outcomes.append(outcome)
        self._bar.advance(self._task)


def _audit_stored(configured: Settings, action: str, outcomes: Sequence[FaqOutcome]) -> None:
    """One line for the whole act; which FAQs exist is in the list."""
    if changed := [o for o in outcomes if o.outcome in {"stored", "warmed"}]:
        audited(configured, action, f"{len(changed)} FAQs: {', '.join(str(o.id) for o in changed)}")


def _report(outcomes: Sequence[FaqOutcome], *, as_json: bool, bad: Sequence[object]) -> None:
    """One line for each problem, and how many went well. Exit code 1 if something did not."""
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome.outcome] = counts.get(outcome.outcome, 0) + 1
    if as_json:
        print_json({"outcomes": [asdict(outcome) for outcome in outcomes], "bad_lines": bad, "counts": counts})
    else:
        for outcome in outcomes:
            if not outcome.is_fine:
                click.echo(f"{outcome.outcome}: “{outcome.question}”: {outcome.reason}", err=True)
        if bad:
            counts["wrong lines"] = len(bad)
        summary = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        click.echo(f"FAQs: {summary or 'nothing to do'}")
    if bad or not all(outcome.is_fine for outcome in outcomes):
        raise click.exceptions.Exit(FAILED)
