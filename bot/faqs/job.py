"""Jobs of kind `faq.warm`: answers made from the documents while nobody waits."""

from __future__ import annotations

from bot.faqs.desk import FaqOutcome, Faqs
from bot.faqs.drafts import DEFAULT_COLLECTION, new_draft
from bot.jobs import JobFailed, JobKind, JobRun
from rag.errors import InputError

WARM = "faq.warm"


def warm_kind(faqs: Faqs) -> JobKind:
    """How `faq.warm` jobs are done. Payload: `questions` (none: those that are due), `collection`, `all`."""

    async def handler(run: JobRun) -> None:
        questions, collection = run.payload.get("questions"), run.payload.get("collection")
        if questions:
            try:
                drafts = [new_draft(text, collection=collection or DEFAULT_COLLECTION) for text in questions]
            except InputError as error:
                raise JobFailed(str(error)) from error
            todo = await faqs.known({draft.faq_id: draft for draft in drafts}.values())
        else:
            todo = await faqs.due(collection=collection, everything=bool(run.payload.get("all")))
        run.restart(len(todo))

        def report(outcome: FaqOutcome) -> None:
            if outcome.is_fine:
                run.advance(done=1)
            else:
                run.advance(failed=1)
                run.error(f"“{outcome.question}”: {outcome.reason}")

        await faqs.warm(todo, report)

    return JobKind(handler=handler, is_resumable=True)
