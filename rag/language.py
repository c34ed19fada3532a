"""Which language a text is in, from its script, its letters and its commonest words.

Good enough to choose an answer's language, a stemmer and a relevance floor; it makes no network call, needs no model
and is exact about nothing else. A text that gives no hint gets the default.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rag.types import Language

SAMPLE = 2000
"""Characters looked at: a language shows in far fewer."""

_SCRIPTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("ko", re.compile(r"[\uac00-\ud7af\u1100-\u11ff]")),
    ("zh", re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
    ("lo", re.compile(r"[\u0e80-\u0eff]")),
    ("km", re.compile(r"[\u1780-\u17ff]")),
    ("my", re.compile(r"[\u1000-\u109f]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
    ("bn", re.compile(r"[\u0980-\u09ff]")),
    ("ta", re.compile(r"[\u0b80-\u0bff]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
    ("uk", re.compile(r"[іїєґІЇЄҐ]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
)
_WORDS = 200
_OTHER_SCRIPT = re.compile(r"[\u0370-\u1cff\u3040-\ud7af\uf900-\ufaff]")
_WORD = re.compile(r"[^\W\d_]+")
_ASCII_LETTER = re.compile(r"[A-Za-z]")

_VIETNAMESE_LETTERS = re.compile(
    r"[đĐơƠưƯạẠảẢấẤầẦẩẨẫẪậẬắẮằẰẳẲẵẴặẶẹẸẻẺẽẼếẾềỀểỂễỄệỆỉỈịỊọỌỏỎốỐồỒổỔỗỖộỘớỚờỜởỞỡỠợỢụỤủỦứỨừỪửỬữỮựỰỳỲỵỴỷỶỹỸ]"
)

COMMON: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": "the of and to in is was are were for with that this it on by from at as be have has had what which who "
        "where when how why do does did can not my your his her their its you he she they we an or if about there",
        # Folded, so that text typed without diacritics counts too.
        "vi": "la cua va co khong duoc cho trong mot nhung cac nguoi toi thi nay voi khi da den tu hay nao gi bao "
        "nhieu nhu lam phai sau truoc can ban minh bi ra vao theo ve dau sao ai neu tai hon de thoi ngay phi duoi",
        "fr": "le la les des du de un une et est dans pour que qui sur avec ce cette pas plus par au aux sont quel "
        "quelle quels quelles comment combien quand ou pourquoi je vous nous il elle on mon ma mes votre ont leur ses "
        "lequel laquelle etait fait faut",
        "de": "der die das und ist nicht ein eine einen einer eines den dem des mit von zu zum zur im auf fur wie was "
        "wer wen wem wo wann warum welche welcher welches welchem welchen wieviel viel ich sie wir kann sind war wird "
        "wurde wurden werden auch bei aus nach oder pro mein meine muss hat haben am um als uber durch",
        "es": "el la los las de del y en que es un una por para con no se como cual cuales donde cuando cuanto cuanta "
        "cuantos cuantas su al lo mas son mi puedo esta este quien quienes hay fue a contra",
        "pt": "o os as um uma do da dos das em que para com nao por como qual quais onde quando quanto quantos no na e "
        "ao se mais sao meu minha posso esta este quem tem foi",
        "it": "il lo gli la le di del della e che un una per con non come quale quali dove quando quanto quanti si "
        "sono nel alla al piu mio mia posso questo questa chi",
        "ro": "si in de la cu pe din nu este sunt a fost care ce cine unde cand cum cat cate pentru prin lui ale al o "
        "un mai dupa sau avut are ca s l pot trebuie meu mea",
        "nl": "de het een en van is niet met voor op aan dat die zijn te in wat wie hoe hoeveel waar wanneer welke ik "
        "je mijn wij kan er ook bij naar",
        "sv": "och att det som en ett ar inte av for med pa den till hur vad var nar jag kan om fran eller har",
        "pl": "i w nie na jest ze do sie z to jak co czy kto gdzie kiedy dla od po przez jego moge ile oraz",
        "id": "yang dan di ini itu dengan untuk tidak dari dalam akan pada adalah saya apa bagaimana siapa kapan "
        "berapa bisa ke ada atau oleh mana cara",
        "tr": "ve bir bu da de icin ile ne nasil nerede mi ben cok daha olarak olan var kadar gibi hangi",
    }.items()
}
"""Some of the commonest words of languages that their letters do not give away, folded."""


def fold(text: str) -> str:
    """`text` in lower case without diacritics; Vietnamese đ and its like become plain letters."""
    text = text.casefold()
    if text.isascii():
        return text
    text = text.translate(_LETTERS_WITHOUT_DECOMPOSITION)
    return "".join(c for c in unicodedata.normalize("NFD", text) if not "\u0300" <= c <= "\u036f")


_LETTERS_WITHOUT_DECOMPOSITION = str.maketrans(
    {"đ": "d", "ð": "d", "ø": "o", "ł": "l", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th", "ħ": "h"}
)


def detect(text: str, default: Language = "en") -> Language:
    """The primary subtag of the language that `text` is most likely in."""
    text = unicodedata.normalize("NFC", text[:SAMPLE])
    if text.isascii():
        return _by_common_words(text, default) if _ASCII_LETTER.search(text) else default
    letters = sum(map(str.isalpha, text))
    if letters == 0:
        return default
    if _OTHER_SCRIPT.search(text):
        for language, pattern in _SCRIPTS:
            if len(pattern.findall(text)) * _WEIGHT.get(language, 3) > letters:
                return language
    if len(_VIETNAMESE_LETTERS.findall(text)) * 12 > letters:
        return "vi"
    return _by_common_words(text, default)


_WEIGHT: Mapping[str, int] = {"ja": 8, "zh": 5, "uk": 20}
"""Kana and the Ukrainian letters decide although most letters beside them are shared with other languages."""


def _by_common_words(text: str, default: Language) -> Language:
    written = [found.group() for found in islice(_WORD.finditer(text), _WORDS)]
    words = Counter(map(fold, written))
    scores: dict[Language, float] = {
        language: sum(words[word] for word in common & words.keys()) for language, common in COMMON.items()
    }
    for language in _BY_APOSTROPHE_OR_ENDING if text.isascii() else _LETTERS:
        scores[language] += _LETTER_WORTH * min(2, len(_LETTERS[language].findall(text)))
    syllables = sum(count for word, count in words.items() if _is_syllable(word))
    if len(written) > 1 and syllables >= _SYLLABLE_SHARE * len(written):
        scores["vi"] += _SYLLABLE_WORTH * syllables
    elif default == "vi" and len(written) > 1 and 2 * syllables < len(written):
        default = "en"  # whatever it is in, it is not in Vietnamese
    if _VIETNAMESE_LETTERS.search(text):
        scores["vi"] += _LETTER_WORTH
    elif not text.isascii():  # with marks, yet none of those that only Vietnamese has
        scores["vi"] /= 2
    best = max(scores.values())
    if best == 0 or scores.get(default) == best:
        return default
    return next(language for language, score in scores.items() if score == best)


_LETTER_WORTH = 1.5
"""In common words."""
_LETTERS: Mapping[Language, re.Pattern[str]] = {
    "de": re.compile("[ßäöüÄÖÜ]"),
    "es": re.compile("[ñÑ¿¡]|[ií]ón\\b"),
    "fr": re.compile("[œŒçëîûÇÎ]|[cdjlmnst][’'](?=[aeiouhéèêà])"),
    "pt": re.compile("[ãõÃÕ]|ç[aã]"),
    "ro": re.compile("[ăĂșțȘȚţŢ]"),
    "sv": re.compile("[åÅ]"),
    "pl": re.compile("[łąęśżźćńŁŚŻŹĆ]"),
    "tr": re.compile("[şğıİŞĞ]"),
}
"""Letters that few other languages have; the first two count (names bring in foreign ones)."""
_BY_APOSTROPHE_OR_ENDING = ("es", "fr")
"""Of those, what plain letters may match."""

_SYLLABLE_WORTH = 0.4
_SYLLABLE_SHARE = 0.75
"""Of a Vietnamese question's words; the others are names and codes."""
_VIETNAMESE_SYLLABLE = re.compile(
    "(?:ngh|ng|nh|gh|gi|kh|ph|th|tr|ch|qu|[bcdghklmnpqrstvx])?"
    "(?:a[iouy]?|e[ou]?|i(?:a|eu?|u)?|o(?:a[iy]?|eo?|i|o)?|u(?:a[iyu]?|e|i|o[iu]?|u|y[aeu]?)?|y(?:eu?)?)"
    "(?:ch|ng|nh|[cmnpt])?"
)
"""How a syllable can be spelt, without diacritics: a question typed so is made of nothing else ("cach nau pho bo")."""


@lru_cache(maxsize=20_000)
def _is_syllable(word: str) -> bool:
    return _VIETNAMESE_SYLLABLE.fullmatch(word) is not None
