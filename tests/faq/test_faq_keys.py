"""When two questions are the same question to the letter."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rag.cache.keys import folded_key, has_marks, question_key
from rag.language import fold

VIETNAMESE = "aăâbcdđeêghiklmnoôơpqrstuưvxyàáảãạằắẳẵặầấẩẫậèéẻẽẹềếểễệìíỉĩịòóỏõọồốổỗộờớởỡợùúủũụừứửữựỳýỷỹỵ"
WORDS = st.lists(st.text(VIETNAMESE, min_size=1, max_size=7), min_size=1, max_size=8)
MARKS = st.sampled_from(["?", "!", "...", " ,", "?!", " 🙂", "。", "；", "\u00a0?", '"'])


@given(
    words=WORDS, mark=MARKS, upper=st.booleans(), decomposed=st.booleans(), blank=st.sampled_from(["  ", "\n", "\t"])
)
def test_writing_it_differently_asks_the_same(
    *, words: list[str], mark: str, upper: bool, decomposed: bool, blank: str
) -> None:
    """Case, punctuation, emoji, spacing and the way letters are composed make no other question of it."""
    text = blank.join(words) + mark
    text = text.upper() if upper else text
    text = unicodedata.normalize("NFD", text) if decomposed else text
    assert question_key(text) == question_key(" ".join(words))


@given(text=st.text())
@example(text="-0")
def test_a_key_is_its_own_key(text: str) -> None:
    """Any text has a key, and the key of a key is the key."""
    key = question_key(text)
    assert question_key(key) == key


@given(words=WORDS, at=st.integers(0, 7), other=st.text(VIETNAMESE, min_size=1, max_size=7))
def test_every_word_counts(words: list[str], at: int, other: str) -> None:
    """Another word anywhere is another question."""
    at %= len(words)
    changed = [*words[:at], other, *words[at + 1 :]]
    assert (question_key(" ".join(words)) == question_key(" ".join(changed))) == (words[at] == other)


@given(a=st.integers(0, 10**9), b=st.integers(0, 10**9))
def test_every_number_counts(a: int, b: int) -> None:
    """Another number is another question."""
    assert (question_key(f"fee for {a} cc?") == question_key(f"fee for {b} cc?")) == (a == b)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Is theft covered?", "Is theft not covered?"),
        ("Tôi có được hoàn phí không?", "Tôi không được hoàn phí?"),
        ("What is 1.5 %?", "What is 15 %?"),
        ("What is 5 %?", "What is 5 $?"),
        ("Does -5 count?", "Does 5 count?"),
        ("Do you teach C++?", "Do you teach C#?"),
        ("Gửi má ở đâu?", "Gửi mã ở đâu?"),
        ("What does TC-03 cost?", "What does TC-04 cost?"),
        ("Open at 8:30?", "Open at 18:30?"),
    ],
)
def test_what_changes_the_meaning_counts(one: str, other: str) -> None:
    """Negation, separators in numbers, units, signs, diacritics and codes make another question."""
    assert question_key(one) != question_key(other)


@given(words=WORDS)
def test_typed_without_diacritics(words: list[str]) -> None:
    """A question typed without diacritics has the folded key of the one typed with them."""
    key = question_key(" ".join(words))
    plain = fold(" ".join(words))
    assert (folded_key(key) or key) == question_key(plain)
    assert not has_marks(question_key(plain))
