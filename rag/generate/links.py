"""Which links an answer may show as links, and what becomes of the others.

An answer's text is written from documents that anybody may have fed, by a model that may have been talked into
something. So only the sources' own addresses can be clicked; any other is shown as code, which no platform turns into a
link or loads as an image. Addresses within the documents (`prices.md`) lead nowhere in a chat and lose their target.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# A word joiner takes no room on the screen, and no platform reads a mention or an address across it.
JOINER = "\u2060"
_MASS_MENTION = re.compile(r"(?<![\w.+-])@(?=(?:everyone|channel|here|all)\b)", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
# Endings that Telegram and Slack turn into links without a scheme, save those that are words ("done.In two days");
# with a path behind it, any ending counts.
_ENDINGS = (
    "com|net|org|info|biz|edu|gov|int|io|co|ai|app|dev|tv|cc|ly|gg|gl|ch|cn|cz|de|dk|es|eu|fr|hk|ie|jp|kr|mx|nl|nz|ph"
    "|pl|pt|ro|ru|se|sg|su|tr|tw|ua|uk|vn|ws|xyz|club|site|online|shop|store|icu|link|click|page|space|tech|website|zip"
    "|asia|cloud|vip|finance|bank"
)
_ADDRESS = re.compile(
    r"(?:[a-z][a-z0-9+.-]*://|www\.)\S+"
    r"|(?<![\w:/])//[a-z0-9-]+\.\S+"
    rf"|(?<![@\w.-])(?:[a-z0-9-]+\.)+(?:(?:{_ENDINGS})(?![\w-])(?:[:/?#]\S*)?|[a-z]{{2,}}/\S+)",
    re.IGNORECASE,
)


class Links:
    """The addresses that may be clicked, and how the others are shown."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(_key(url) for url in allowed)

    def allows(self, url: str) -> bool:
        """Whether `url` is one of the sources'."""
        return _key(url) in self._allowed

    def link(self, label: str, target: str) -> str:
        """`[label](target)` where that is allowed; the label and the address as code where not."""
        url = _destination(target)
        if url and self.allows(url):
            return f"[{label}]({url})"
        label = self.word_run(label)
        if not _leads_out(url):
            return label
        return code(url) if not label.strip() or code(url) in label else f"{label} ({code(url)})"

    def bracketed(self, inner: str) -> str | None:
        """What `<inner>` becomes if it is an address or a platform's mention; None if it is neither."""
        if inner[:1] in {"!", "@", "#"} and inner[1:2].isalnum():
            return f"<{JOINER}{inner}>"
        url, _, label = inner.partition("|")
        if not _leads_out(url):
            return None
        if self.allows(url):
            return f"<{url}>"
        return f"{self.word_run(label)} ({code(url)})" if label else code(url)

    def word_run(self, run: str) -> str:
        """A run of text with the addresses in it that are not allowed shown as code, and mass mentions broken up."""
        return _MASS_MENTION.sub(f"@{JOINER}", _ADDRESS.sub(self._address, run))

    def _address(self, match: re.Match[str]) -> str:
        whole = match[0]
        url = whole.rstrip(".,;:!?'_~。，、）")
        if url.endswith(")") and "(" not in url:
            url = url.rstrip(")")
        return whole if self.allows(url) else code(url) + whole[len(url) :]


def code(text: str) -> str:
    """`text` as inline code, whatever backticks it holds."""
    return f"`{text.replace('`', '')}`"


def unmentioned(text: str) -> str:
    """`text` of a code block, in which Slack still expands its mentions."""
    return text.replace("<!", f"<{JOINER}!")


def _destination(target: str) -> str:
    target = target.strip()
    if target.startswith("<"):
        return target[1:].partition(">")[0].strip()
    return target.split(maxsplit=1)[0] if target else ""


def _leads_out(url: str) -> bool:
    return bool(_SCHEME.match(url)) or url.startswith(("//", "\\\\", "www."))


def _key(url: str) -> str:
    return re.sub(r"^https?://", "", url.strip(), flags=re.IGNORECASE).rstrip("/")
