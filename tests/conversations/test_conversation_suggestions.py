"""Questions worth asking next: near the answer, readable, and not asked already."""

from __future__ import annotations

from datetime import date
from typing import Any

from bot.faqs.suggest import MOST, faq_key, faq_terms, near
from rag.cache.faq import Faq
from rag.types import Citation

TODAY = date(2026, 11, 21)
CITED = Citation(n=1, document="theft.md", title="Theft", collection="public", passage_id="p")


def faq(question: str, collection: str = "public", *documents: str, **fields: Any) -> Faq:
    cited = tuple(
        Citation(n=n, document=document, title=document, collection=collection, passage_id=f"{document}{n}")
        for n, document in enumerate(documents, 1)
    )
    values: dict[str, Any] = {"kind": "warmed", "answer": "-", "language": "en"}
    return Faq(id=question, collection=collection, question=question, citations=cited, **(values | fields))


def suggested(*faqs: Faq, asked: str = "What does theft cover cost?", **fields: Any) -> tuple[str, ...]:
    values: dict[str, Any] = {
        "asked": (asked,),
        "answer": "Theft cover costs 90,000 VND a year; an approved tracker lowers the price [1].",
        "citations": (CITED,),
        "collections": frozenset({"public"}),
        "language": "en",
        "today": TODAY,
    }
    return near(faqs, **(values | fields))


def test_questions_on_the_same_documents_come_first() -> None:
    """Then those that share what they are about with the answer; nothing that shares neither."""
    assert suggested(
        faq("Which tracker is approved?"),
        faq("When do you open?"),
        faq("Within how many days must a loss be reported?", "public", "theft.md"),
    ) == ("Within how many days must a loss be reported?", "Which tracker is approved?")


def test_at_most_three_are_offered() -> None:
    """However many are near."""
    assert len(suggested(*(faq(f"Is theft by method {n} in the cover?") for n in range(9)))) == MOST


def test_what_may_not_be_read_has_no_influence() -> None:
    """FAQs of other collections are neither offered nor counted; a document of another collection is another one."""
    public = [faq("Which approved tracker is there?"), faq("Is the theft cover yearly?")]
    hidden = [faq(f"Is the theft cover approved by staff {n}?", "staff", "theft.md") for n in range(20)]
    assert suggested(*public, *hidden) == suggested(*public)
    assert suggested(*hidden) == ()
    assert suggested(*hidden, collections=frozenset({"public", "staff"})) != ()


def test_a_question_that_was_asked_is_not_offered() -> None:
    """Not in other words, not by one of its paraphrases, and none of those asked before."""
    faqs = (
        faq("What does theft cover cost?", "public", "theft.md"),
        faq("How much is theft cover?", "public", "theft.md", paraphrases=("what does THEFT cover cost",)),
        faq("The theft cover, what does it cost?", "public", "theft.md"),
        faq("Is a tracker needed?", "public", "theft.md"),
    )
    assert suggested(*faqs) == ("Is a tracker needed?",)
    assert set(suggested(*faqs, asked="Is a tracker needed?")) == {one.question for one in faqs[:3]}


def test_only_what_is_served_is_offered() -> None:
    """No stale or expired answers, and none in another language."""
    assert (
        suggested(
            faq("Is a tracker needed?", "public", "theft.md", is_stale=True),
            faq("Is a tracker free?", "public", "theft.md", valid_until=date(2026, 11, 20)),
            faq("Có cần thiết bị định vị không?", "public", "theft.md", language="vi"),
        )
        == ()
    )


def test_the_words_of_a_faq_are_worked_out_once() -> None:
    """The second turn over the same FAQs finds them ready; what people ask and are told is not kept in memory."""
    faqs = [faq(f"Is theft by trick {n} in the cover?", paraphrases=(f"Trick {n}, covered?",)) for n in range(30)]
    suggested(*faqs)
    before = [kept.cache_info() for kept in (faq_key, faq_terms)]
    assert suggested(*faqs, asked="Is a ferry covered?", answer="Tricks are in the cover of theft [1].")
    after = [kept.cache_info() for kept in (faq_key, faq_terms)]
    assert [info.misses for info in after] == [info.misses for info in before]
    assert all(after[n].hits > before[n].hits for n in range(2))
