from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.live.composer import Composer
from adapters.live.markdown import heal
from adapters.live.surface import Part
from adapters.ports import Final, SourceLink
from adapters.telegram.render import TelegramRenderer, TelegramScreen, to_entities
from adapters.telegram.words import words
from tests.emulators.telegram.checks import content
from tests.live.test_live_markdown import SAMPLE

TERMS = SourceLink(
    n=1,
    title="The terms",
    passage_id="p",
    document="terms",
    collection="public",
    url="https://example.com/terms_of_use",
)
RENDERER = TelegramRenderer(words("en"), "1001")


def check(screen: TelegramScreen) -> None:
    """What the server would say, by its own rules; it also trims, so that nothing may be left to trim."""
    text, entities = content({"text": screen.text, "entities": [e.to_dict() for e in screen.entities]})
    assert text == screen.text
    assert len(entities) == len(screen.entities)
    opaque = [e for e in screen.entities if e.type in {"code", "pre"}]
    for code in opaque:
        for other in screen.entities:
            if other is not code and "blockquote" not in other.type:
                apart = other.offset >= code.offset + code.length or code.offset >= other.offset + other.length
                assert apart, (code, other)


def marked(markdown: str, *urls: str) -> tuple[str, list[tuple[str, str]]]:
    """The text, and each entity's type with what it covers."""
    text, entities = to_entities(markdown, set(urls))
    encoded = text.encode("utf-16-le")
    return text, [(e.type, encoded[e.offset * 2 : (e.offset + e.length) * 2].decode("utf-16-le")) for e in entities]


@settings(deadline=None)
@given(st.integers(0, len(SAMPLE)))
def test_every_prefix_of_an_answer_is_accepted(length: int) -> None:
    """At no moment of a stream is a preview one that the server would refuse or trim."""
    screen = RENDERER.render(Part(markdown=heal(SAMPLE[:length]).markdown, is_growing=True, sources=(TERMS,)))
    if screen.has_words:
        check(screen)


ANYTHING = st.lists(
    st.sampled_from([*list("ab \n*_`~[]()<>|#-1.!$🎉@/"), "```", "**", "https://x.vn", "||", "+84 912", "a@b.vn"]),
    max_size=60,
).map("".join)


@settings(max_examples=300, deadline=None)
@given(ANYTHING)
def test_nothing_is_live_in_plain_text_either(text: str) -> None:
    """Where Telegram refuses our formatting, the words go out alone, and still nothing in them can be clicked."""
    screen = RENDERER.plain(Part(markdown=text))
    if screen.has_words:
        assert content({"text": screen.text})[1] == []
        assert screen.text.replace("\u2060", "") == text.strip()


@settings(max_examples=300, deadline=None)
@given(ANYTHING)
def test_any_markdown_whatsoever_is_accepted(text: str) -> None:
    """Broken, nested, half-open: the entities stay within the text and between characters."""
    for markdown in (text, heal(text).markdown):
        screen = RENDERER.render(Part(markdown=markdown))
        if screen.has_words:
            check(screen)


@pytest.mark.parametrize(
    "text",
    [
        "List<String> a<b and c>d",
        "a || b || c",
        "it costs $5 to $6",
        "5 * 3 * 2 and snake_case_name",
        "x &amp y",
    ],
)
def test_what_is_no_markup_arrives_as_written(text: str) -> None:
    """Angle brackets, bars, dollars, stars and underscores of ordinary text stay."""
    assert marked(text) == (text, [])


def test_code_keeps_every_character() -> None:
    """Inside code nothing is replaced."""
    assert marked("`a<b || $c`") == ("a<b || $c", [("code", "a<b || $c")])
    assert marked("```sh\ntest -f x \\\n|| exit 1\n```")[0] == "test -f x \\\n|| exit 1"


def test_a_fence_in_a_list_stands_on_lines_of_its_own() -> None:
    """The item before and the text after are not glued to the code."""
    assert marked("1. one\n2. four\n```\nls\n```\n3. x")[0] == "1. one\n2. four\nls\n3. x"
    assert marked("- a\n  ```\n  ls\n  ```\n  after")[0] == "• a\nls\nafter"


def test_headings_have_no_emoji_and_cells_keep_their_order() -> None:
    """Headings are bold; tables are fixed-width, an empty cell stays in its place."""
    assert marked("# Fees")[0] == "Fees"
    assert marked("| a || c |\n|-|-|-|\n| 1 | 2 | 3 |")[0].splitlines()[0].split("|")[2].strip() == "c"


def test_only_sources_can_be_clicked() -> None:
    """A link to a source is a link; any other address, a mention or a command is shown as code."""
    text, entities = marked("**go to [a](https://ok.vn/1), [b](https://evil.example) or https://evil.example/x now** "
                            "ask @someone or /start, www.evil.example, evil.example/y", "https://ok.vn/1")  # fmt: skip
    assert ("text_link", "a") in entities
    assert {covered for kind, covered in entities if kind == "code"} == {
        "b", "https://evil.example/x", "@someone", "/start", "www.evil.example", "evil.example/y",
    }  # fmt: skip
    assert "".join(covered for kind, covered in entities if kind == "bold") == "go to a,  or  now"
    assert text.startswith("go to a, b or https://evil.example/x now")


def test_numbers_and_fractions_are_no_links() -> None:
    """Prices, rates and abbreviations of Vietnamese text stay plain."""
    assert marked("1.200.000đ/năm và/hoặc 24/7, v.v. 3.5%")[1] == []


def test_sources_stand_numbered_below_the_answer() -> None:
    """With the page where there is one, as a link where there is an address; notes come first."""
    plain = SourceLink(n=2, title="Claims", passage_id="q", document="claims", collection="public", page=3)
    final = Final(text="Yes [1].", sources=(TERMS, plain), note="⚠ Incomplete")
    screen = RENDERER.render(Part(markdown="Yes [1].", sources=(TERMS, plain), footer=final))
    assert screen.text == "Yes [1].\n\n⚠ Incomplete\n\nSources\n1. The terms\n2. Claims (p. 3)"
    links = [e for e in screen.entities if e.type == "text_link"]
    assert [(e.url, screen.text[e.offset : e.offset + e.length]) for e in links] == [(TERMS.url, "The terms")]
    check(screen)


def test_dense_markup_beyond_100_entities_does_not_fit() -> None:
    """The server would drop the rest without a word."""
    assert not RENDERER.render(Part(markdown="**a** b " * 101)).fits
    assert RENDERER.render(Part(markdown="**a** b " * 100)).fits


def test_the_stop_button_is_there_only_while_the_message_grows() -> None:
    """It names who asked, in the interface's language."""
    growing = TelegramRenderer(words("vi"), "7").render(Part(markdown="x", is_growing=True))
    assert [(button.label, button.data) for button in growing.buttons] == [("⏹ Dừng", "stop:7")]
    assert RENDERER.render(Part(markdown="x")).buttons == ()


@pytest.mark.parametrize(
    "live",
    [
        "@ab", "@someone", "/start", "/start@grapevine_bot", "#sale", "#giảmgiá", "$TSLA", "evil.example", "EVIL.COM",
        "sub.evil.example/x?y#z", "пример.рф", "https://evil.example/a", "tg://resolve?domain=x", "192.168.1.20:8080",
        "help@evil.example", "+84 28 3812 3456", "0912 345 678", "(028) 3812 3456", "1900 1234", "555-123-4567",
        "4111 1111 1111 1111",
    ],
)  # fmt: skip
@pytest.mark.parametrize("around", ["{}", "see {}, please", "**{}**", "({})", "“{}”:", "- {}\n- x"])
def test_nothing_becomes_clickable_by_itself(live: str, around: str) -> None:
    """Mentions, commands, hashtags, addresses, mails and numbers of documents are shown as code, word for word."""
    text, entities = marked(around.format(live))
    assert ("code", live) in entities
    assert live in text
    check(RENDERER.render(Part(markdown=around.format(live))))


@pytest.mark.parametrize(
    "text",
    [
        "C# and #1 and 3/4 and 24/7 and and/or", "costs $5, US$ 12 or 1.200.000 đ", "on 2026-11-21 at 10:30",
        "Điều 5.P.Bến Nghé", "a @ b", "12 500 000 VND", "v1.2.3", "policy BH-2026-000123", "https", "name @",
    ],
)  # fmt: skip
def test_ordinary_figures_and_signs_stay_plain(text: str) -> None:
    """Prices, dates, fractions, numbered items and lone signs are no code."""
    assert marked(text) == (text, [])


@pytest.mark.parametrize(
    "text",
    [
        "Use List<String> for <b>names</b> &amp; <a href='x'>more</a>",
        "stray *star and _under and [bracket and ~tilde and `tick",
        "5 * 3 = 15, snake_case_name, a ** b, [1] (2) {3}",
    ],
)
def test_stray_marks_arrive_as_written(text: str) -> None:
    """HTML, angle brackets, lone stars, underscores, brackets and backticks are words like others."""
    assert marked(text)[0] == text


def test_a_list_that_only_begins_makes_no_heading() -> None:
    """A lone dash below a line is held back while the answer grows: Markdown would take the line for a heading."""
    assert marked(heal("text\n-").markdown) == ("text", [])


def test_entities_beyond_a_hundred_go_into_a_further_message() -> None:
    """A dense answer is split before the server would drop the formatting of its end."""
    composer = Composer(RENDERER)
    targets = composer.final("", Final(text="**a** b " * 260))
    assert [len(target.screen.entities) <= 100 for target in targets] == [True] * len(targets)
    assert sum(len(target.screen.entities) for target in targets) == 260
