"""Which collections a place may read: `GRAPEVINE_ACCESS`, parsed once, asked before anything is retrieved."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from adapters.ports import Platform

COLLECTION = re.compile(r"[a-z0-9_]{1,40}")
EVERYTHING: Final = "*"
OUTSIDE: Final = "*"
DEFAULT_ACCESS = "*=public console=*"
_PLATFORMS: tuple[str, ...] = get_args(Platform)
_FORM = "entries like `*=public slack=public,staff slack:C0PUBLIC=public`, separated by spaces"

Grant = frozenset[str] | Literal["*"]


@dataclass(frozen=True, slots=True)
class Access:
    """The access map. The most specific entry wins: `platform:place`, then `platform`, then `*`."""

    grants: Mapping[str, Grant]

    def may_read(self, platform: Platform, place: str = "", *, existing: Iterable[str]) -> frozenset[str]:
        """The collections that somebody at this place may read.

        Args:
            platform: Where the question comes from.
            place: The chat's or channel's id, as written after the colon in the setting; with a `*` before it for
                people from outside the organisation, whom only an entry for the place itself or `*` lets in.
            existing: All collections there are, in terms of which `*` is understood.
        """
        own = f"{platform}:{place.removeprefix(OUTSIDE)}"
        for name in (own, EVERYTHING) if place.startswith(OUTSIDE) else (own, platform, EVERYTHING):
            if (grant := self.grants.get(name)) is not None:
                return frozenset(existing) if grant == EVERYTHING else grant
        return frozenset()

    def names(self, platform: Platform, place: str) -> bool:
        """Whether there is an entry for this very place."""
        return f"{platform}:{place.removeprefix(OUTSIDE)}" in self.grants

    def names_places_of(self, platform: Platform) -> bool:
        """Whether there is an entry for any place of this platform."""
        return any(name.startswith(f"{platform}:") for name in self.grants)

    def exceeds_default(self, platform: Platform) -> bool:
        """Whether this platform may read something that strangers (`*`) may not."""
        base = self.grants.get(EVERYTHING, frozenset())
        if base == EVERYTHING:
            return False
        mine = [grant for name, grant in self.grants.items() if name.split(":", 1)[0] == platform]
        return any(grant == EVERYTHING or not grant <= base for grant in mine)


def parse_access(text: str) -> Access:
    """The access map written in `text`; entries that it does not name keep their default (`*=public console=*`).

    Raises:
        ValueError: Naming the entry that is wrong and the accepted form.
    """
    grants: dict[str, Grant] = {}
    for entry in (*DEFAULT_ACCESS.split(), *text.split()):
        who, equals, what = entry.partition("=")
        platform = who.split(":", 1)[0]
        if not equals or (platform != EVERYTHING and platform not in _PLATFORMS) or who.endswith(":"):
            raise ValueError(f"`{entry}` is not an access entry; write {_FORM} (platforms: {', '.join(_PLATFORMS)})")
        if what == EVERYTHING:
            grants[who] = EVERYTHING
            continue
        names = [name for name in what.split(",") if name]
        if wrong := next((name for name in names if not COLLECTION.fullmatch(name)), None):
            raise ValueError(f"`{wrong}` is not a collection name; use 1 to 40 of a-z, 0-9 and _")
        grants[who] = frozenset(names)
    return Access(grants)
