"""Words that carry a sentence and say nothing about its subject, per language; and the words that open a question.

Ranking needs neither (rarity decides there). The relevance floor does: in formal documents "how", "I" and "my" are
rare, so rarity would take them for what was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from rag.analyse import analyse
from rag.language import COMMON, fold

_ENGLISH = """
a about after all also am an and any are as at be because been before being between but by can could did do does doing
done down during each else ever every few for from further get gets getting give given go goes going got had has have
having he her here hers him his how i if in into is it its itself just let like long make many may me might more most
much must my need no nor not now of off often on once one only or other our out over own per please same say shall she
should since so some such take tell than that the their them then there these they this those through to too under
until up us use used very want was we were what when where whether which while who whom whose why will with within
would you your yours know there
"""

_VIETNAMESE = """
là gì của và có không được cho trong một những các người tôi thì này với khi đã đến từ hay nào bao nhiêu như làm phải
sau trước cần bạn mình bị ra vào theo về đâu sao ai nếu tại hơn để thôi mấy thế ở còn lại cũng vậy ạ nhé lúc rồi muốn
giờ đi hết mà nữa đó kia hoặc mỗi lần việc bằng lâu đang sẽ
"""

_INTERROGATIVES: Mapping[str, str] = {"en": "what which who whom whose when where why how"}


@lru_cache(maxsize=64)
def function_terms(language: str, *, is_folded: bool) -> frozenset[str]:
    """The index terms of a language's function words; empty for one whose words are not known here.

    `is_folded`: for text typed without diacritics, where some content words fall together with them.
    """
    if language == "en":
        words = _ENGLISH.split()
    elif language == "vi":
        words = _VIETNAMESE.split()
    else:
        words = sorted(COMMON.get(language, ()))
        is_folded = True  # those lists are kept folded
    text = " ".join(fold(word) for word in words) if is_folded else " ".join(words)
    return frozenset(analyse(text).marked)


@lru_cache(maxsize=64)
def interrogative_terms(language: str) -> frozenset[str]:
    """The index terms that open a question about what follows them; empty where word order says nothing of it."""
    return frozenset(analyse(_INTERROGATIVES.get(language, "")).marked)
