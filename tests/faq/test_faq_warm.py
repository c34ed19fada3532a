"""Answers made beforehand, from the documents."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path

import pytest

from bot.faqs.desk import Faqs
from bot.faqs.drafts import Draft, new_draft
from bot.faqs.warm import NotWarmed, Warmer
from rag.errors import InputError
from rag.stores.embedded import EmbeddedStore
from rag.types import Done, Failed
from tests.support.answers import ScriptedEngine
from tests.support.faqs import Bench, Outcomes, bench_over

PUBLIC = frozenset({"public"})
THEFT = "What does theft cover cost?"


def draft(question: str = THEFT, answer: str | None = None, **fields: object) -> Draft:
    return new_draft(question, answer=answer, **fields)  # type: ignore[arg-type]  # a test names the fields it cares about


async def test_a_question_without_an_answer_is_answered_from_its_collection_alone(bench: Bench) -> None:
    """The answer comes with citations, and only the FAQ's own collection was searched for it."""
    faq = await bench.faqs.add(draft())
    assert "90,000 VND" in faq.answer
    assert [(c.collection, c.document) for c in faq.citations] == [("public", "theft.md")]
    assert {collections for _, collections in bench.finds.asked} == {PUBLIC}
    assert bench.faqs.match("what does THEFT cover cost", collections=PUBLIC).faq == faq


async def test_a_given_answer_is_stored_as_it_is(bench: Bench) -> None:
    """A curated answer needs no documents, and nothing is searched."""
    faq = await bench.faqs.add(draft(answer="**90,000**"))
    assert (faq.kind, faq.answer, faq.citations, bench.finds.asked) == ("curated", "**90,000**", (), [])


async def test_adding_a_question_again_replaces_it(bench: Bench) -> None:
    """The same question of the same collection and language has one answer, the latest; others are untouched."""
    first = await bench.faqs.add(draft(answer="Old."))
    again = await bench.faqs.add(draft("what does theft cover COST", answer="New."))
    await bench.faqs.add(draft(answer="Intern.", collection="staff"))
    await bench.faqs.add(draft(answer="Tiếng Việt.", language="vi"))
    assert first.id == again.id
    assert sorted(faq.answer for faq in await bench.faqs.listing()) == ["Intern.", "New.", "Tiếng Việt."]


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (Done(outcome="refused", answer="No."), "refused"),
        (Done(outcome="incomplete", answer="Half", error="timeout"), "incomplete"),
        (Done(outcome="answered", answer="From nowhere."), "uncited"),
        (Failed(code="model_busy", cause="429"), "failed"),
    ],
)
async def test_only_whole_and_grounded_answers_are_kept(bench: Bench, end: Done | Failed, why: str) -> None:
    """A refusal, a half answer, one without sources and a failure are said and not stored; the old answer stays."""
    before = await bench.faqs.add(draft())
    desk = Faqs(bench.store, bench.book, Warmer(bench.store, ScriptedEngine(end), deadline_s=5))
    with pytest.raises(NotWarmed) as caught:
        await desk.add(draft())
    assert caught.value.why == why
    assert THEFT not in str(caught.value)
    assert await bench.faqs.listing() == (before,)


async def test_an_unknown_collection_is_named(bench: Bench) -> None:
    """A collection without documents gives no answer, and the message says which ones there are."""
    with pytest.raises(NotWarmed, match=r"`partners` has no documents to answer from; there is public, staff"):
        await bench.faqs.add(draft(collection="partners"))
    with pytest.raises(InputError, match="a-z, 0-9 and _"):
        draft(collection="Staff!")


async def test_a_document_that_changes_during_a_warm_up_is_asked_again(bench: Bench) -> None:
    """What is stored comes from the documents as they are when it is stored."""
    prices = iter(("95,000", "99,000"))

    async def change() -> None:
        if price := next(prices, None):
            await bench.write("theft.md", f"Theft cover costs {price} VND a year.")

    bench.finds.meanwhile = change
    faq = await bench.faqs.add(draft())
    assert "99,000 VND" in faq.answer
    assert [f.is_stale for f in await bench.faqs.listing()] == [False]


async def test_documents_that_never_rest_end_the_warm_up(bench: Bench) -> None:
    """After a few attempts it gives up and says so; nothing is stored."""
    count = 0

    async def change() -> None:
        nonlocal count
        count += 1
        await bench.write("theft.md", f"Theft cover costs {count} VND a year.")

    bench.finds.meanwhile = change
    with pytest.raises(NotWarmed, match="keep changing"):
        await bench.faqs.add(draft())
    assert 2 <= count <= 10
    assert await bench.faqs.listing() == ()


async def test_an_edit_during_a_warm_up_wins(bench: Bench) -> None:
    """An answer that an admin writes, or a FAQ that they remove, meanwhile is not undone."""
    first = await bench.faqs.add(draft())

    async def edit() -> None:
        await bench.faqs.add(draft(answer="Written by hand."))

    bench.finds.meanwhile = edit
    outcomes = Outcomes()
    await bench.faqs.warm([draft()], outcomes.append)
    assert [(o.outcome, o.reason) for o in outcomes] == [
        ("failed", "it was edited or removed while its answer was being made")
    ]
    assert [faq.answer for faq in await bench.faqs.listing()] == ["Written by hand."]

    async def remove() -> None:
        await bench.faqs.remove(first.id)

    await bench.faqs.remove(first.id)
    bench.finds.meanwhile = None
    await bench.faqs.add(draft())
    bench.finds.meanwhile = remove
    await bench.faqs.warm([draft()], outcomes.append)
    assert await bench.faqs.listing() == ()


async def test_it_lasts_as_long_as_everything_it_cites(bench: Bench) -> None:
    """The earliest last day among the cited documents is the FAQ's."""
    await bench.write("theft.md", "Theft cover costs 90,000 VND a year.", valid_until=date(2031, 5, 31))
    faq = await bench.faqs.add(draft())
    assert faq.valid_until == date(2031, 5, 31)


async def test_warming_renews_what_a_changed_document_outdated(bench: Bench) -> None:
    """Stale answers are due, are made from the new document, keep their paraphrases, and others are not touched."""
    await bench.faqs.add(draft(paraphrases=["Price of theft cover"]))
    await bench.faqs.add(draft("Hotline?", answer="1900 0000"))
    assert await bench.faqs.due() == ()
    await bench.write("theft.md", "Theft cover costs 95,000 VND a year.")
    await bench.book.refresh()
    assert bench.faqs.match(THEFT, collections=PUBLIC).refused_by == "stale"
    due = await bench.faqs.due()
    assert [d.question for d in due] == [THEFT]
    assert await bench.faqs.due(collection="staff") == ()
    outcomes = Outcomes()
    await bench.faqs.warm(due, outcomes.append)
    found = bench.faqs.match("price of theft cover", collections=PUBLIC).faq
    assert found is not None
    assert "95,000 VND" in found.answer
    assert [d.question for d in await bench.faqs.due(everything=True)] == [THEFT]


async def test_every_question_is_reported(bench: Bench) -> None:
    """Refusals and failures are reported with their reason; the rest goes on; a curated answer is not replaced."""
    bench.finds.unanswerable.add("How tall is it?")
    await bench.faqs.add(draft("Hotline?", answer="1900 0000"))
    outcomes = Outcomes()
    questions = (THEFT, "How tall is it?", "Hotline?", *(f"What does theft cover number {n} cost?" for n in range(9)))
    await bench.faqs.warm([draft(question) for question in questions], outcomes.append)
    found = outcomes.by_question()
    assert len(outcomes) == len(questions)
    assert (found[THEFT], found["How tall is it?"], found["Hotline?"]) == ("warmed", "refused", "failed")
    reasons = {o.question: o.reason for o in outcomes if not o.is_fine}
    assert reasons["How tall is it?"] == "the documents of `public` do not answer it"
    assert "curated" in (reasons["Hotline?"] or "")


async def test_few_are_warmed_at_a_time(tmp_path: Path) -> None:
    """However many questions there are, no more than the limit are asked at once, in the whole process."""
    store = EmbeddedStore(tmp_path / "few.db")
    bench = bench_over(store, concurrency=2)
    await bench.write("theft.md", "Theft cover costs 90,000 VND a year.")
    running = most = 0
    go_on = asyncio.Event()

    async def count() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go_on.wait()
        running -= 1

    bench.finds.meanwhile = count
    drafts = [draft(f"What does theft cover number {n} cost?") for n in range(8)]
    outcomes = Outcomes()
    work = asyncio.gather(bench.faqs.warm(drafts, outcomes.append), bench.faqs.add(draft()))
    while running < 2:
        await asyncio.sleep(0.001)
    for _ in range(20):  # time for a third one to come, if it were let in
        await store.faqs()
    go_on.set()
    await work
    assert most == 2
    assert len(outcomes) == 8
    await store.close()


async def test_taking_the_same_again_costs_nothing(bench: Bench) -> None:
    """What is in place already is left alone; changed answers and paraphrases are stored without asking anew."""
    drafts = [draft(), draft("Hotline?", answer="1900 0000")]
    outcomes = Outcomes()
    rest = await bench.faqs.take(drafts, outcomes.append)
    assert [d.question for d in rest] == [THEFT]
    await bench.faqs.warm(rest, outcomes.append, keep_curated=False)
    before, asked = await bench.faqs.listing(), len(bench.finds.asked)
    outcomes = Outcomes()
    assert await bench.faqs.take(drafts, outcomes.append) == ()
    assert [o.outcome for o in outcomes] == ["unchanged", "unchanged"]
    assert await bench.faqs.listing() == before
    changed = [draft(paraphrases=["Theft price"]), draft("Hotline?", answer="1900 0001")]
    assert await bench.faqs.take(changed, outcomes.append) == ()
    assert len(bench.finds.asked) == asked
    found = bench.faqs.match("theft price", collections=PUBLIC).faq
    assert found is not None
    assert found.citations
    await bench.write("theft.md", "Theft cover costs 95,000 VND a year.")
    assert [d.question for d in await bench.faqs.take(changed, outcomes.append)] == [THEFT]


async def test_examples_are_few_public_and_ready(bench: Bench) -> None:
    """Up to three questions per language are offered, of `public` alone, and only to who may read it."""
    for number in range(5):
        await bench.faqs.add(draft(f"Question {number}?", answer="Yes."))
    await bench.faqs.add(draft("Câu hỏi nào thường gặp?", answer="Có."))
    await bench.faqs.add(draft("Is this secret?", answer="Yes.", collection="staff"))
    warmed = await bench.faqs.add(draft("Câu nào về giá?"))
    await bench.write("theft.md", "Changed.")
    await bench.book.refresh()
    examples = bench.faqs.examples(frozenset({"public", "staff"}))
    assert {language: len(questions) for language, questions in examples.items()} == {"en": 3, "vi": 1}
    assert warmed.question not in examples["vi"]
    assert bench.faqs.examples(frozenset({"staff"})) == {}
