"""What is searched for: a question's terms, names, language and vector."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rag.analyse import analyse
from rag.ingest.extract import name_key, name_words, names, sure
from rag.language import detect
from rag.retrieval.view import Column, Floats
from rag.types import Language
from rag.words import function_terms, interrogative_terms, is_grammar

MAX_CHARACTERS = 4000
"""Of a longer question only the beginning is searched for."""
MAX_TERMS = 64
"""Distinct terms searched for; a pasted page has hundreds, and the rarest of its first lines decide."""
MAX_TITLE_WORDS = 10
FOCUS = 2
"""Words after an interrogative that say what kind of thing is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question, made ready for a view."""

    text: str
    language: Language
    terms: tuple[str, ...]
    """Distinct, in order of appearance, of `column`."""
    column: Column
    """Marked if the question was typed with diacritics, else folded."""
    folded: tuple[str, ...]
    """The terms without diacritics, distinct."""
    names: tuple[str, ...]
    """Keys of what it names."""
    titles: tuple[str, ...]
    """Keys of all its runs of words: any of them may be a document's title."""
    vector: Floats | None
    """Unit length; None where no embedding is to be used."""
    content: NDArray[np.bool_]
    """Which of `terms` say what is asked about: not function words (all of them, if nothing else is there)."""
    focus: tuple[int, ...]
    """Places in `terms` of the first content words after an interrogative ("what *colour*", "which *movie*")."""
    named: tuple[int, ...]
    """Places in `terms` of capitalised words and codes that do not begin a sentence: surely names."""
    pairs: tuple[tuple[int, int], ...] = ()
    """Places of content words that follow each other, function words between them left out."""
    chained: tuple[tuple[int, int], ...] = ()
    """Places of overlapping pairs of characters, in scripts without spaces."""


def ask(text: str, vector: Floats | None = None, *, languages: Mapping[Language, int] | None = None) -> Asked:
    """`text` made ready. `languages` (what the documents are in) decides where the text itself gives no hint."""
    text = text[:MAX_CHARACTERS]
    analysed = analyse(text)
    marked, folded = (tuple(dict.fromkeys(terms))[:MAX_TERMS] for terms in analysed)
    language = detect(text, default=_commonest(languages) if languages else "en")
    column: Column = "folded" if marked == folded else "marked"
    content = _content(marked, language, is_folded=column == "folded")
    sequence = _sequence(analysed.marked, marked)
    return Asked(
        text=text,
        language=language,
        terms=marked,
        column=column,
        folded=folded,
        names=names(text, document_id="", language=language, known=sure(text)),
        titles=_runs(text),
        vector=vector,
        content=content,
        focus=_focus(marked, content, language),
        named=_named(text, marked, column),
        pairs=_neighbours([place for place in sequence if content[place]]),
        chained=tuple(
            (left, right)
            for left, right in _neighbours(sequence)
            if _is_pair(marked[left]) and _is_pair(marked[right]) and marked[left][1] == marked[right][0]
        ),
    )


def _commonest(languages: Mapping[Language, int]) -> Language:
    """Ties go by name: the order of a mapping tells how its store came about."""
    return min(languages, key=lambda name: (-languages[name], name))


def _content(terms: tuple[str, ...], language: Language, *, is_folded: bool) -> NDArray[np.bool_]:
    known = function_terms(language, is_folded=is_folded)
    content = np.asarray([term not in known and not is_grammar(term, language) for term in terms], np.bool_)
    return content if content.any() else np.ones(len(terms), np.bool_)


def _sequence(analysed: tuple[str, ...], terms: tuple[str, ...]) -> list[int]:
    """The whole question as places in `terms`."""
    places = {term: place for place, term in enumerate(terms)}
    return [places[term] for term in analysed[: 2 * MAX_TERMS] if term in places]


def _is_pair(term: str) -> bool:
    """Whether it is two characters of a script without spaces: all of those lie in these two ranges."""
    return len(term) == 2 and all("\u0e00" <= character <= "\u1dff" or character >= "\u3040" for character in term)


def _neighbours(sequence: list[int]) -> tuple[tuple[int, int], ...]:
    following = itertools.pairwise(sequence)
    return tuple(dict.fromkeys((left, right) for left, right in following if left != right))


def _focus(terms: tuple[str, ...], content: NDArray[np.bool_], language: Language) -> tuple[int, ...]:
    openers = interrogative_terms(language)
    start = next((place for place, term in enumerate(terms) if term in openers), None)
    if start is None:
        return ()
    return tuple([place for place in range(start + 1, len(terms)) if content[place]][:FOCUS])


def _named(text: str, terms: tuple[str, ...], column: Column) -> tuple[int, ...]:
    places = {term: place for place, term in enumerate(terms)}
    found = []
    for word in name_words(text):
        analysed = analyse(word)
        of_word = analysed.marked if column == "marked" else analysed.folded
        if of_word and of_word[0] in places:  # the first term of a code is the whole of it
            found.append(places[of_word[0]])
    return tuple(dict.fromkeys(found))


def _runs(text: str) -> tuple[str, ...]:
    words = name_key(text).split(" ")
    return tuple(
        dict.fromkeys(
            " ".join(words[i:j])
            for i in range(len(words))
            for j in range(i + 1, min(len(words), i + MAX_TITLE_WORDS) + 1)
        )
    )
