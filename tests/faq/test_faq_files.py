"""FAQs from files."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.faqs.files import FaqFile, read_faqs
from rag.errors import InputError


def read(folder: Path, name: str, text: str | bytes) -> FaqFile:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_faqs(path, collection="partners")


def test_bad_lines_are_named_and_the_rest_is_taken(tmp_path: Path) -> None:
    """Each bad line is said with its number and what is accepted; empty lines do not shift the count."""
    found = read(
        tmp_path,
        "faqs.jsonl",
        '{"question": "What is A?", "answer": "A.", "paraphrases": ["A?"], "language": "en"}\n'
        "\n"
        "not json\n"
        '["a list"]\n'
        '{"answer": "without a question"}\n'
        '{"question": "What is B?", "paraphrases": "one text"}\n'
        '{"question": "What is C?", "anwser": "misspelt"}\n'
        '{"question": "???"}\n'
        '{"question": "what is a"}\n'
        '{"question": "What is D?", "collection": "Not Allowed"}\n'
        '{"question": "What is E?", "language": "English"}\n'
        '{"question": "What is F?", "collection": "public"}\n',
    )
    assert [(d.question, d.answer, d.collection) for d in found.drafts] == [
        ("What is A?", "A.", "partners"),
        ("What is F?", None, "public"),
    ]
    reasons = {bad.line: bad.reason for bad in found.bad}
    assert list(reasons) == [3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert "JSON" in reasons[3]
    assert reasons[5] == "`question` is missing"
    assert reasons[6].startswith("`paraphrases` must be a list of texts")
    assert "`anwser`; accepted are question, answer, paraphrases, collection, language" in reasons[7]
    assert reasons[9] == "the same question as line 1"
    assert "a-z, 0-9 and _" in reasons[10]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_spreadsheet_is_read(tmp_path: Path, separator: str) -> None:
    """CSV with commas, semicolons or tabs, with a byte order mark, with line breaks inside quotes."""
    rows = [
        ["Question", "answer", "paraphrases"],
        ["What is A?", '"First\nSecond"', "A?|The A?"],
        ["What is B?", "", ""],
        ["", "no question", ""],
        ["What is C?", "C.", "", "", "one too many"],
    ]
    text = "\ufeff" + "\r\n".join(separator.join(row) for row in rows)
    found = read(tmp_path, "faqs.csv", text)
    assert [(d.question, d.answer, d.paraphrases) for d in found.drafts] == [
        ("What is A?", "First\nSecond", ("A?", "The A?")),
        ("What is B?", None, ()),
    ]
    assert [bad.line for bad in found.bad] == [5, 6]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("faqs.txt", b"What?", ".jsonl or .csv"),
        ("faqs.csv", b"frage,antwort\nWas?,Das.", "question"),
        ("faqs.csv", b"", "question"),
        ("faqs.jsonl", '{"question": "Là gì?"}'.encode("utf-16"), "UTF-8"),
    ],
)
def test_a_file_that_is_none_is_refused_as_a_whole(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    """The cause and the accepted form are in one line."""
    with pytest.raises(InputError, match=said) as caught:
        read(tmp_path, name, content)
    assert "\n" not in str(caught.value)


@given(content=st.binary(max_size=300), name=st.sampled_from(["a.jsonl", "a.csv"]), head=st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes, name: str, *, head: bool) -> None:
    """Whatever a file holds, it ends in FAQs and named lines, or in one clear error."""
    with contextlib.suppress(InputError):
        found = read(tmp_path, name, b"question,answer\n" + content if head else content)
        assert all(bad.line >= 1 and bad.reason for bad in found.bad)


SAMPLE = Path(__file__).parents[2] / "bot" / "sample"


def test_the_samples_faqs_are_well_formed_and_true() -> None:
    """Every line of the sample is a FAQ, and every number of a curated answer stands in its collection's documents."""
    found = read_faqs(SAMPLE / "faqs.jsonl")
    assert found.bad == ()
    assert len(found.drafts) == 12
    assert {d.language for d in found.drafts} == {"en", "vi"}
    for draft in found.drafts:
        assert 2 <= len(draft.paraphrases) <= 4
        folders = ["public"] if draft.collection == "public" else ["public", "staff"]
        texts = [path.read_text("utf-8") for folder in folders for path in (SAMPLE / folder).iterdir()]
        for number in _numbers(draft.answer or ""):
            assert any(number in _numbers(text) for text in texts), (draft.question, number)


def _numbers(text: str) -> set[str]:

    return {re.sub(r"[.,](?=\d{3}\b)", "", number) for number in re.findall(r"\d+(?:[.,]\d+)*", text)}
