"""Words that carry a sentence and say nothing about its subject, per language; and the words that open a question.

Ranking needs neither (rarity decides there). The relevance floor does: in formal documents "how", "I" and "my" are
rare, so rarity would take them for what was asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
giờ đi hết mà nữa đó kia hoặc mỗi lần việc bằng lâu đang sẽ vì do bởi nên nhưng dù tuy rằng cả tất mọi chỉ đều vài
thêm lại mới xong luôn liền ngay cách loại kiểu thứ cỡ khoảng chừng phần trăm vừa từng vẫn cứ hãy đừng chưa chẳng chả
ấy đấy đây này giúp xin nhờ lấy thấy biết hỏi nói nhất
"""

_CONTENT_WITHOUT_MARKS = """
ban bao ca can chi dau du dung dua ke kieu lien loai nho phan rang thu tram tu ve vua
"""
"""Function words of Vietnamese that are subjects too when typed without marks: rằng is that, răng is a tooth."""

_FRENCH = """
le la les l un une des de du d à au aux et ou mais donc or ni car que qu qui quoi dont où quand comment combien
pourquoi quel quelle quels quelles lequel laquelle lesquels lesquelles je j tu il elle on nous vous ils elles me m te t
se s lui leur leurs y en ce c cet cette ces ça cela mon ma mes ton ta tes son sa ses notre nos votre vos est sont était
étaient être été suis sommes êtes fut furent ont a as ai avons avez avait avaient avoir eu fait faire font peut peuvent
puis pouvez doit dois doivent faut va vais dans par pour sur sous avec sans chez vers entre depuis pendant avant après
contre selon ne n pas plus moins très aussi encore si oui non comme même tout tous toute toutes
"""

_GERMAN = """
der die das den dem des ein eine einer eines einem einen und oder aber ist war sind waren wird wurde wurden werden sein
hat hatte hatten haben kann können konnte konnten muss müssen soll sollte darf dürfen will wollen nicht kein keine
keinen mit von vom zu zum zur im in an am auf aus bei bis durch für gegen nach über um unter vor während wegen ohne als
wie wenn dass ob weil auch nur noch schon sehr mehr viel viele wer wen wem wessen was wo woher wohin wann warum wieso
weshalb welche welcher welches welchem welchen wieviel ich du er sie es wir ihr mir mich uns mein meine meinen meiner
ihre ihren sein seine seinen sich man dies diese dieser dieses diesem jede jeder jedes gibt gab macht machen
"""

_SPANISH = """
el la los las un una unos unas de del al a en y e o u pero que qué quién quiénes quien cuál cuáles cual cuándo cuando
cuánto cuánta cuántos cuántas cómo como dónde donde adónde por para con sin sobre entre hasta desde según durante más
menos muy ya no ni si sí se su sus mi mis tu tus yo él ella ellos ellas nos lo le les me te es son era eran fue fueron
ser está están estaba estar ha han he había hay tiene tienen tengo tenía puede pueden puedo hace hacer hizo este esta
estos estas ese esa eso esto cada otro otra también sólo solo
"""

_LISTS: Mapping[str, str] = {"en": _ENGLISH, "vi": _VIETNAMESE, "fr": _FRENCH, "de": _GERMAN, "es": _SPANISH}

_CHINESE_GRAMMAR = frozenset("的了吗呢是在哪谁么什怎何几着过把被让也还就都而且与和及或之其该此这那些吧啊嗎幾個誰這請请")


_INTERROGATIVES: Mapping[str, str] = {"en": "what which who whom whose when where why how"}


WELL_KNOWN = frozenset([*_LISTS, "zh", "ja"])
"""Languages whose function words are known here well enough to leave only the subject of a question."""


@lru_cache(maxsize=64)
def function_terms(language: str, *, is_folded: bool) -> frozenset[str]:
    """The index terms of a language's function words; empty for one whose words are not known here.

    `is_folded`: for text typed without diacritics, where some content words fall together with them.
    """
    if language not in _LISTS:
        return _terms(sorted(COMMON.get(language, ())))
    words = _LISTS[language].split()
    folded = [fold(word) for word in words]
    if language != "vi":  # elsewhere a word does not become another one without its marks
        return _terms(words) | _terms(folded)
    return _terms([word for word in folded if word not in _CONTENT_WITHOUT_MARKS.split()] if is_folded else words)


def _terms(words: Sequence[str]) -> frozenset[str]:
    return frozenset(analyse(" ".join(words)).marked)


def is_grammar(term: str, language: str) -> bool:
    """Whether a pair of characters is made of, or cut at, what only holds a sentence together."""
    if term.isascii():
        return False
    if language == "zh":
        return not _CHINESE_GRAMMAR.isdisjoint(term)
    return language == "ja" and all("\u3040" <= character <= "\u309f" for character in term)


@lru_cache(maxsize=64)
def interrogative_terms(language: str) -> frozenset[str]:
    """The index terms that open a question about what follows them; empty where word order says nothing of it."""
    return _terms(_INTERROGATIVES.get(language, "").split())
