"""Answers without a model: quotations, each with its source."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from rag.generate.citations import check
from rag.generate.extractive import MOST_UNITS, ExtractiveAnswerer, excerpts
from rag.ports import GenerationRequest, Token
from rag.resilience.deadline import Deadline
from rag.types import Usage
from tests.support.passages import passage

FEES = passage(
    1,
    "Fees depend on the product.\n\n"
    "| Product | Price a year | Note |\n|---|---|---|\n"
    "| Theft cover | 90,000 | – |\n| Roadside help | 95,000 | day and night |\n\n"
    "All prices include tax. They hold until December.",
    title="Fees",
)
CLAIMS = passage(
    2,
    "Call us after an accident. To claim you need:\n\n- the form BT-01\n- two photos of the damage\n\n"
    "We decide within 10 working days [2].",
    title="Claims",
)
PHI = passage(3, "Phí cứu hộ là 95.000 đ một năm. Thời hạn báo tai nạn là 5 ngày.", title="Bảng phí")


def answer(question: str, language: str = "en") -> str:
    return "\n".join(excerpts(question, (FEES, CLAIMS, PHI), language))


def test_the_sentence_that_answers_is_quoted_with_its_source() -> None:
    """The sentence that holds the answer is in the answer, followed by the number of its passage."""
    assert "We decide within 10 working days (2). [2]" in answer("How many days until you decide?")


def test_it_says_that_it_quotes_in_the_askers_language() -> None:
    """The first line says in the asker's language that these are the documents' words."""
    assert answer("How long until you decide?").startswith("In the documents:\n\n- ")
    assert answer("Báo tai nạn trong mấy ngày?", "vi").startswith("Trong tài liệu có ghi:\n\n- ")
    assert answer("Combien de jours?", "fr").startswith("In the documents:")


def test_a_table_row_reads_with_its_headers() -> None:
    """A row of a table is quoted with the names of its columns, without empty cells."""
    assert "- Product: Theft cover; Price a year: 90,000 [1]" in answer("What does theft cover cost?")


def test_a_list_item_keeps_the_line_that_introduces_it() -> None:
    """An item of a list is not torn from the sentence that says what the list is."""
    assert "- To claim you need: two photos of the damage [2]" in answer("How many photos of the damage?")


def test_vietnamese_is_found_with_and_without_marks() -> None:
    """A question typed without diacritics finds the same sentence."""
    for question in ("Phí cứu hộ bao nhiêu?", "phi cuu ho bao nhieu"):
        assert "- Phí cứu hộ là 95.000 đ một năm. [3]" in answer(question, "vi")


def test_a_document_in_the_askers_language_is_preferred() -> None:
    """Of two passages that say the same, the one in the asker's language is quoted first."""
    english = passage(1, "The TN-01 fee is 66,000 for motorbikes.", title="TN-01")
    vietnamese = passage(2, "Mức phí TN-01 của xe máy là 66.000 đ.", title="TN-01")
    lines = excerpts("TN-01 bao nhiêu?", (english, vietnamese), "vi")
    assert lines[2].endswith("[2]")


def test_a_sentence_that_leans_on_the_last_brings_it_along() -> None:
    """A quotation that begins with a pronoun keeps the sentence that it points back to."""
    text = "The Review Panel has three members. It decides within 20 working days."
    lines = excerpts("How quickly is it decided in working days?", (passage(1, text),), "en")
    assert lines[2] == f"- {text} [1]"


def test_without_any_shared_word_the_best_passage_speaks() -> None:
    """A passage found by meaning alone is quoted from its beginning."""
    lines = excerpts("xyzzy", (passage(1, "Engines drown easily. Mind the rain."),), "en")
    assert lines[2].startswith("- Engines drown easily.")


async def test_it_is_an_answerer_that_costs_nothing() -> None:
    """It streams its lines and reports no model call."""
    request = GenerationRequest(
        question="What does theft cover cost?", language="en", passages=(FEES,), deadline=Deadline.after(1)
    )
    pieces = [piece async for piece in ExtractiveAnswerer().stream(request)]
    assert pieces[-1] == Usage(model="extractive")
    text = "".join(piece.text for piece in pieces if isinstance(piece, Token))
    assert text.startswith("In the documents:\n\n- ")


@given(st.text(max_size=60), st.lists(st.text(max_size=300), min_size=1, max_size=4))
def test_every_quotation_is_in_its_passage_and_cited(question: str, texts: list[str]) -> None:
    """Whatever is asked of whatever text: few quotations, each of existing passages, none invented."""
    passages = tuple(passage(n, text) for n, text in enumerate(texts, 1))
    lines = excerpts(question, passages, "en")
    assert len(lines) <= 2 + 2 * MOST_UNITS
    for line in lines[2:]:
        number = re.search(r"\[(\d+)\]$", line)
        assert number is not None
        source = re.sub(r"\W", "", passages[int(number[1]) - 1].text)
        assert re.sub(r"\W", "", line[2 : number.start()]) in source


def test_links_between_documents_become_words() -> None:
    """A quotation's link to another document is shown as its words only."""
    quoted = excerpts("What about theft?", (passage(1, "For theft see [Theft cover](theft.md) now."),), "en")
    assert check("\n".join(quoted), (FEES,))[0].endswith("- For theft see Theft cover now. [1]")


def test_asking_for_a_meaning_is_not_asking_about_the_word_meaning() -> None:
    """A question for what X means quotes what is said of X, and no other sentence that only holds "means"."""
    glossary = passage(1, "**Hydrolock** (thủy kích): engine damage because water was drawn into the cylinder.")
    errors = passage(2, "Error E-34 means that the photo has no position: allow location and take it again.")
    for question in ("What does hydrolock mean?", "What is the meaning of hydrolock?"):
        (line,) = excerpts(question, (glossary, errors), "en")[2:]
        assert "water was drawn" in line
