"""Claims about chunks, sentences and names."""

from __future__ import annotations

import pickle
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.ingest.chunk import MAX_WEIGHT, as_date, build_document
from rag.ingest.extract import MAX_NAMES, link_key, name_key, names, sure, title_keys
from rag.ingest.parse.document import Block, ParsedDocument
from rag.ingest.sentences import split, weight
from rag.records import Document


def build(*blocks: Block | str, title: str = "Fees", document_id: str = "guides/fees.md") -> Document:
    parsed = ParsedDocument(
        id=None, title=title, blocks=tuple(Block(kind="text", text=b) if isinstance(b, str) else b for b in blocks)
    )
    return build_document(
        parsed,
        collection="public",
        source="folder",
        document_id=document_id,
        file=document_id,
        content_hash="h",
        size=1,
    )


def heading(text: str, level: int = 2) -> Block:
    return Block(kind="heading", text=text, level=level)


def sentence(word: str, words: int = 12) -> str:
    return " ".join([word.capitalize(), *[word] * (words - 1)]) + "."


def test_a_chunk_stays_below_its_size_and_ends_at_a_sentence() -> None:
    document = build(" ".join(sentence(f"word{n}") for n in range(60)))
    assert len(document.chunks) > 3
    for chunk in document.chunks:
        assert weight(chunk.text) <= MAX_WEIGHT
        assert chunk.text.endswith(".")


def test_a_chunk_repeats_the_last_sentence_of_the_one_before() -> None:
    document = build(" ".join(sentence(f"word{n}") for n in range(60)))
    for before, after in zip(document.chunks, document.chunks[1:], strict=False):
        last = before.sentences[-1]
        assert after.text.startswith(before.text[last.start : last.end])


def test_a_heading_begins_a_new_chunk_that_knows_its_path() -> None:
    long = " ".join(sentence(f"w{n}") for n in range(3))
    document = build(heading("Motorbikes", 1), heading("Theft", 2), long, heading("Water", 2), long)
    assert [chunk.heading for chunk in document.chunks] == ["Motorbikes > Theft", "Motorbikes > Water"]


def test_a_short_section_joins_the_next_one_and_keeps_its_heading_in_the_text() -> None:
    document = build(heading("One"), "A short one.", heading("Two"), sentence("word", 30))
    (chunk,) = document.chunks
    assert chunk.text.startswith("A short one.\n\nTwo\n")


def test_a_long_table_repeats_its_header_in_every_chunk_and_cuts_no_row() -> None:
    rows = [f"| item {n} with a name | {n}.000 | remark on item {n} |" for n in range(60)]
    table = "\n".join(["| item | price | remark |", "|---|---|---|", *rows])
    document = build(Block(kind="table", text=table))
    assert len(document.chunks) > 1
    assert all(chunk.text.startswith("| item | price | remark |") for chunk in document.chunks)
    assert [row for row in rows if not any(row in chunk.text for chunk in document.chunks)] == []


def test_the_embedded_text_begins_with_the_title_unless_it_is_a_number_or_date() -> None:
    assert build("Some words here and there.").chunks[0].embedding_text.startswith("Fees\n")
    assert build("Some words here.", title="20260101_1000").chunks[0].embedding_text == "Some words here."


def test_a_document_of_headings_alone_is_still_one_chunk() -> None:
    assert len(build(heading("Only this")).chunks) == 1


def test_a_chunk_without_diacritics_keeps_one_column_for_both() -> None:
    plain, marked = build("Some plain words.").chunks[0], build("Phí là bao nhiêu").chunks[0]
    assert plain.folded is plain.marked
    assert marked.folded != marked.marked


def test_records_survive_the_way_between_processes() -> None:
    document = build("Some words. Others follow here.")
    assert pickle.loads(pickle.dumps(document)) == document


def test_a_line_of_a_chat_is_one_sentence() -> None:
    text = "Ann: Hi! How are you today? All fine?\nBob: Fine, thanks. And you? Well?\nAnn: Me too. Great. See you soon!"
    chunk = build(text).chunks[0]
    assert [chunk.text[s.start : s.end] for s in chunk.sentences] == text.split("\n")


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Dr. Smith met M. Ward in Paris today. They talked for a long time.", 2),
        ("Phí là 1.500.000 đ mỗi năm. Khách hàng nộp trước ngày 5.", 2),
        ("退款需要三天时间才能到账。请联系我们的客服人员。", 2),
        ("Văn phòng ở TP. Hồ Chí Minh mở cửa lúc 8 giờ sáng.", 1),
        ("Yes. No. Maybe so.", 1),
    ],
)
def test_sentences_end_where_a_reader_says_they_do(text: str, sentences: int) -> None:
    assert len(split(text)) == sentences


_BLOCKS = st.lists(
    st.builds(
        Block,
        kind=st.sampled_from(["text", "list", "table", "code", "heading"]),
        text=st.text(max_size=400),
        level=st.integers(1, 6),
    ),
    max_size=8,
)


@given(_BLOCKS, st.text(max_size=40))
def test_any_blocks_give_chunks_whose_sentences_lie_in_order_inside_the_text(blocks: list[Block], title: str) -> None:
    for chunk in build(*blocks, title=title).chunks:
        assert chunk.sentences
        ends = [0, *(s.end for s in chunk.sentences)]
        assert all(before <= s.start <= s.end for before, s in zip(ends, chunk.sentences, strict=False))
        assert chunk.sentences[-1].end <= len(chunk.text)
        assert chunk.length == sum(count for _, count in chunk.marked) == sum(count for _, count in chunk.folded)
        assert all(len(s.names) <= MAX_NAMES for s in chunk.sentences)


@given(st.lists(st.text(alphabet="abc DEF.!?\n", min_size=1, max_size=300), min_size=1, max_size=4))
def test_no_word_of_a_document_is_lost(paragraphs: list[str]) -> None:
    text = " ".join(chunk.text for chunk in build(*paragraphs).chunks)
    assert set(" ".join(paragraphs).split()) <= set(text.split()) or not " ".join(paragraphs).split()


def test_a_sentence_names_people_places_codes_quotes_and_links() -> None:
    found = names(
        'See [Fee table](../prices/fees.md) and "The Long Way" by Ann Lee of New York, form BT-03.',
        document_id="guides/claims.md",
        language="en",
    )
    assert {"@prices/fees.md", "fee table", "the long way", "ann lee", "new york", "bt03"} <= set(found)


def test_a_word_that_only_begins_a_sentence_is_no_name_unless_it_is_one_elsewhere() -> None:
    text = "Metallica played. Before that, Metallica rested."
    assert names("Metallica played.", document_id="d", language="en") == ()
    assert "metallica" in names("Metallica played.", document_id="d", language="en", known=sure(text))


def test_a_vietnamese_name_has_two_syllables_and_may_go_on_in_lower_case() -> None:
    found = names("Theo Mức khấu trừ của Trương Gia Bình.", document_id="d", language="vi")
    assert {"muc khau tru", "truong gia binh"} <= set(found)
    assert "muc" not in found


@pytest.mark.parametrize(
    ("target", "key"),
    [
        ("fees.md", "@guides/fees.md"),
        ("../fees.md#top", "@fees.md"),
        ("/fees.md", "@fees.md"),
        ("https://example.org/a/", "@https://example.org/a"),
        ("#here", None),
        ("mailto:a@example.org", None),
    ],
)
def test_a_link_is_known_by_the_document_it_leads_to(target: str, key: str | None) -> None:
    assert link_key(target, "guides/claims.md") == key


def test_a_title_is_known_with_and_without_its_bracket_and_by_its_code() -> None:
    keys = title_keys("Ngập nước, thủy kích (NL-09)", "ngap.md", "https://example.org/ngap")
    assert {"ngap nuoc thuy kich", "nl09", "@ngap.md", "@https://example.org/ngap"} <= set(keys)


@given(st.text(max_size=80))
def test_a_key_of_a_key_is_itself(text: str) -> None:
    assert name_key(name_key(text)) == name_key(text)


def test_dates_are_read_with_and_without_a_time() -> None:
    assert as_date("2026-11-20") == as_date("2026-11-20T10:00:00Z") == date(2026, 11, 20)
    assert as_date(None) is None
