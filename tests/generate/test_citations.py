"""Citations and links in an answer are checked while it streams."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.generate.citations import CitationChecker, check
from tests.support.passages import passage

PASSAGES = (
    passage(1, "One."),
    passage(2, "Two.", url="https://example.com/two"),
    passage(3, "Three.", url="https://example.com/a_(b)"),
)


def checked(text: str) -> str:
    return check(text, PASSAGES)[0]


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("Yes [1].", "Yes [1]."),
        ("Yes [1][2].", "Yes [1][2]."),
        ("Yes [1, 2].", "Yes [1][2]."),
        ("Yes [1-3].", "Yes [1][2][3]."),
        ("Yes [^1].", "Yes [1]."),
        ("Yes 【1】.", "Yes [1]."),
        ("Yes 【2†source】.", "Yes [2]."),
        ("Có [Nguồn 1].", "Có [1]."),
        ("Yes [passage 2].", "Yes [2]."),
        ("Yes [1][1].", "Yes [1]."),
        ("Yes [1](https://evil.example/x).", "Yes [1]."),
        ("Yes [1](on page 3).", "Yes [1](on page 3)."),
    ],
)
def test_every_way_to_cite_becomes_one(given_text: str, shown: str) -> None:
    """Whatever brackets a model uses, a reader sees `[n]`."""
    assert checked(given_text) == shown


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("Yes [9].", "Yes."),
        ("Yes [0] and no [4] more.", "Yes and no more."),
        ("Yes [1, 9].", "Yes [1]."),
        ("In [2024] it was [x] a[i].", "In [2024] it was [x] a[i]."),
    ],
)
def test_numbers_that_stand_for_nothing_are_dropped(given_text: str, shown: str) -> None:
    """A number no passage has is dropped with the space before it; brackets that are no citations stay."""
    assert checked(given_text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "Use `a[9]` here.",
        "```python\na[9] = b[8]  # https://evil.example\n```\n",
        "~~~\n[9]\n~~~\n",
        "See [two](https://example.com/two) and https://example.com/two, or <https://example.com/two>.",
        "See [three](https://example.com/a_(b)).",
        r"Escaped \[9\] stays.",
        "Write to help@example.com at 10:30, 1.500.000 đ, v.v. or e.g. this/that.",
        "Read price-list.md, done.In time a < b and c <d> e.",
    ],
)
def test_code_sources_and_plain_text_are_left_alone(text: str) -> None:
    """Code keeps its brackets, the sources' own links stay links, and ordinary text is not touched."""
    assert checked(text) == text


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("Go [here](https://evil.example/x)!", "Go here (`https://evil.example/x`)!"),
        ("Go https://evil.example/x.", "Go `https://evil.example/x`."),
        ("Go www.evil.example now", "Go `www.evil.example` now"),
        ("Go evil.com/x now", "Go `evil.com/x` now"),
        ("Go evil.com.", "Go `evil.com`."),
        ("Go t.me/evil.", "Go `t.me/evil`."),
        ("Go tg://resolve?domain=x now", "Go `tg://resolve?domain=x` now"),
        ("Go <https://evil.example>", "Go `https://evil.example`"),
        ("Go <https://evil.example|here now>", "Go here now (`https://evil.example`)"),
        ("![x](https://evil.example/p.png)", "x (`https://evil.example/p.png`)"),
        ("[x](javascript:alert(1))", "x (`javascript:alert(1)`)"),
        ("[https://bank.example](https://evil.example)", "`https://bank.example` (`https://evil.example`)"),
        ("[a](//evil.example)", "a (`//evil.example`)"),
        ("<img src=//evil.example/p.png>", "<img src=`//evil.example/p.png`>"),
    ],
)
def test_a_link_that_is_no_source_cannot_be_clicked(given_text: str, shown: str) -> None:
    """Any address that is not a source's is shown as code, images included."""
    assert checked(given_text) == shown


@pytest.mark.parametrize(
    "text",
    ["[a [b] c](javascript:alert(1))", "[a\nb](data:x)", "[a]: data:x", "[1]: data:x", "【1】: data:x", "[a](b c)(d)"],
)
def test_what_is_no_link_for_us_is_none_for_a_renderer(text: str) -> None:
    """Nested, broken and reference links are taken apart invisibly instead of being let through."""
    shown = checked(text)
    assert "](" not in shown
    assert "]:" not in shown
    assert shown.replace("\u2060", "") == text.replace("【1】", "[1]")


def test_a_link_within_the_documents_keeps_its_words() -> None:
    """`[Own damage](own-damage.md)` leads nowhere in a chat, so only its words are shown."""
    assert checked("See [Own damage](own-damage.md).") == "See Own damage."


@pytest.mark.parametrize("text", ["<!channel> hi", "@everyone", "hey @here!", "<!subteam^S1>", "<@U123>", "`<!here>`"])
def test_nobody_is_called_together(text: str) -> None:
    """A mass mention in an answer is broken up so that no platform acts on it."""
    shown = checked(text)
    assert "\u2060" in shown
    assert shown.replace("\u2060", "") == text


def test_citations_come_in_order_of_first_use() -> None:
    """The list of citations follows the text, each once, with what a reader needs to open it."""
    _, citations = check("B [2]. A [1, 2].", PASSAGES)
    assert [citation.n for citation in citations] == [2, 1]
    assert citations[0].url == "https://example.com/two"
    assert citations[1].passage_id == PASSAGES[0].passage_id


def test_the_sign_for_no_answer_is_never_shown() -> None:
    """The marker that only we understand is taken out of the text wherever it stands."""
    assert checked("That is all. NO_ANSWER.").rstrip() == "That is all."


def test_a_word_is_shown_as_soon_as_it_is_whole() -> None:
    """Nothing but an unfinished word or bracket is held back."""
    checker = CitationChecker(PASSAGES)
    assert checker.feed("Hanoi is") == "Hanoi"
    assert checker.feed(" the") == " is"
    assert checker.feed(" capital [1") == " the capital"
    assert checker.feed("].") == " [1]"
    assert checker.finish() == "."


def test_a_bracket_that_never_closes_is_shown_in_the_end() -> None:
    """What is held back is bounded: text behind an open bracket appears after 200 characters."""
    checker = CitationChecker(PASSAGES)
    shown = checker.feed("see [" + "word " * 100)
    assert len(shown) > 200


FRAGMENTS = st.sampled_from(
    [
        "word", " ", "  ", "\n", "\n\n", "[", "]", "(", ")", "1", "2", "9", ",", "-", "^", "【", "】", "†", "`", "```",
        "~~~", "!", "<", ">", "|", "@", "everyone", "channel", "https://", "evil.com", "example.com/two", "www.", ".",
        "/", ":", "\\", "NO_ANSWER", "NO_", "//evil.example", "đ", "漢字", "*", "_", '"', "[1]", "[9]", "[a](b)",
        "x" * 210, "é",
        "\t",
    ]
)  # fmt: skip


@given(st.lists(FRAGMENTS | st.text(max_size=5), max_size=25), st.data())
def test_streaming_shows_what_the_whole_shows(fragments: list[str], data: st.DataObject) -> None:
    """However an answer is cut into pieces, the shown text and the citations are those of the whole."""
    text = "".join(fragments)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    checker = CitationChecker(PASSAGES)
    shown = "".join(checker.feed(text[a:b]) for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True))
    shown += checker.finish()
    assert (shown, checker.citations) == check(text, PASSAGES)


@given(st.lists(FRAGMENTS, max_size=25))
def test_no_answer_cites_what_was_not_given(fragments: list[str]) -> None:
    """Whatever a model writes, each citation belongs to a passage it was given."""
    _, citations = check("".join(fragments), PASSAGES)
    assert {citation.n for citation in citations} <= {1, 2, 3}


@given(st.lists(FRAGMENTS, max_size=25))
def test_character_by_character_is_the_whole(fragments: list[str]) -> None:
    """The slowest possible stream shows the same text too."""
    text = "".join(fragments)
    checker = CitationChecker(PASSAGES)
    assert "".join(map(checker.feed, text)) + checker.finish() == check(text, PASSAGES)[0]
