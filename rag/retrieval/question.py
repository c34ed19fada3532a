"""What is searched for: a question's terms, names, language and vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rag.analyse import analyse
from rag.ingest.extract import name_key, names, sure
from rag.language import detect
from rag.retrieval.view import Column, Floats
from rag.types import Language

MAX_CHARACTERS = 4000
"""Of a longer question only the beginning is searched for."""
MAX_TERMS = 64
"""Distinct terms searched for; a pasted page has hundreds, and the rarest of its first lines decide."""
MAX_TITLE_WORDS = 10


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


def ask(text: str, vector: Floats | None = None, *, languages: Mapping[Language, int] | None = None) -> Asked:
    """`text` made ready. `languages` (what the documents are in) decides where the text itself gives no hint."""
    text = text[:MAX_CHARACTERS]
    analysed = analyse(text)
    marked, folded = (tuple(dict.fromkeys(terms))[:MAX_TERMS] for terms in analysed)
    language = detect(text, default=max(languages, key=lambda name: languages[name]) if languages else "en")
    words = name_key(text).split(" ")
    titles = tuple(
        dict.fromkeys(
            " ".join(words[i:j])
            for i in range(len(words))
            for j in range(i + 1, min(len(words), i + MAX_TITLE_WORDS) + 1)
        )
    )
    return Asked(
        text=text,
        language=language,
        terms=marked,
        column="folded" if marked == folded else "marked",
        folded=folded,
        names=names(text, document_id="", language=language, known=sure(text)),
        titles=titles,
        vector=vector,
    )
