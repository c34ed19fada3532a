"""Text to tokens, as the published tokenizer does it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.embeddings.weights import Weights
from rag.embeddings.wordpiece import WordPiece
from rag.errors import EmbeddingError


@pytest.fixture(scope="session")
def wordpiece(weights: Weights) -> WordPiece:
    return WordPiece.from_tokenizer_json(weights.tokenizer_json)


# The pieces are what the published tokenizer (the package `tokenizers` on the same tokenizer.json) makes of the text.
@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("What's the e-mail of Café?", "what ' s the e - mail of cafe ?"),
        ("  Tabs\tand\r\nlines  ", "tab ##s and lines"),
        ("embeddings", "em ##bed ##ding ##s"),
        ("£1,250.50 & 3%", "£1 , 250 . 50 & 3 %"),
        ("Bảo hiểm xe máy đường bộ", "bao hi ##em x ##e may đ ##uo ##ng bo"),
        ("ĐÀ NẴNG", "đ ##a nan ##g"),
        ("東京タワー", "東 京 タ ##ワ ##ー"),
        ("ﬁne print №5", "ﬁ ##ne print № ##5"),
        ("🎉 party", "[UNK] party"),
        ("zero\u200bwidth\u00adjoined", "zero ##wi ##dt ##h ##jo ##ined"),
        ("x" * 101, "[UNK]"),
        ("", ""),
        ("\ud800", ""),
    ],
)
def test_pieces_are_those_of_the_published_tokenizer(wordpiece: WordPiece, text: str, pieces: str) -> None:
    names = {number: piece for piece, number in wordpiece._vocabulary.items()}
    ids = wordpiece.encode(text)
    assert [names[number] for number in ids] == ["[CLS]", *pieces.split(), "[SEP]"]
    assert wordpiece.count(text) == len(ids) - 2


def test_marker_names_in_a_text_are_ordinary_characters(wordpiece: WordPiece) -> None:
    """A document that says [SEP] does not end the sentence for the model."""
    ids = wordpiece.encode("before [SEP] after [MASK]")
    assert ids.count(102) == 1
    assert 103 not in ids


def test_a_page_break_separates_words(wordpiece: WordPiece) -> None:
    assert wordpiece.encode("end\fstart") == wordpiece.encode("end start")
    assert wordpiece.count("end\fstart") == 2


def test_ten_thousand_words_give_256_tokens(wordpiece: WordPiece) -> None:
    """What the model cannot read is not cut into tokens; the beginning is the same as without the rest."""
    text = " ".join(f"Word-{number}" for number in range(10_000))
    ids = wordpiece.encode(text)
    assert len(ids) == 256
    assert ids[-1] == 102
    assert ids[:200] == wordpiece.encode(text[:1500])[:200]
    assert wordpiece.count(text) > 30_000


@given(st.text())
def test_encoding_is_bounded_and_counts_agree(wordpiece: WordPiece, text: str) -> None:
    """Any text: between the markers, exactly the tokens counted, up to 254."""
    ids = wordpiece.encode(text)
    assert ids[0] == 101
    assert ids[-1] == 102
    assert 0 not in ids
    assert len(ids) - 2 == min(254, wordpiece.count(text))


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_the_short_way_for_ascii_is_the_long_way(wordpiece: WordPiece, text: str) -> None:
    """Plain ASCII takes a quicker path with the same result."""
    slow = WordPiece(wordpiece._vocabulary)
    assert wordpiece._words(text) == text.translate(slow._characters).split()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"model": {}}', b'{"model": {"vocab": {"[CLS]": 1}}}'])
def test_a_file_without_a_vocabulary_is_refused(content: bytes) -> None:
    with pytest.raises(EmbeddingError, match="vocabulary"):
        WordPiece.from_tokenizer_json(content)
