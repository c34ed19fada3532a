"""Records cross from a parsing process to the store as few objects, and say the same."""

from __future__ import annotations

import pickle
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from rag.records import CountedTerms

words = st.lists(st.text("aàđ中1", min_size=1, max_size=4), max_size=400)


@given(words, st.integers(0, 300))
def test_counted_terms_are_the_pairs_they_stand_for(terms: list[str], often: int) -> None:
    """Terms with their counts, in order of first appearance, also after a pickle and with more than 255 of one"""
    terms = terms + ["again"] * often
    pairs = tuple(Counter(terms).items())
    packed = CountedTerms.of(terms)
    for found in (packed, pickle.loads(pickle.dumps(packed))):
        assert tuple(found) == pairs
        assert found == pairs
        assert found == packed
        assert len(found) == len(pairs)
        assert found.words == [word for word, _ in pairs]
        assert bool(found) == bool(pairs)
        assert repr(found) == repr(pairs)
        assert hash(found) == hash(pairs)
    assert packed != CountedTerms.of([*terms, "more"])
