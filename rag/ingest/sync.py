"""What `--sync` would remove, and whether that looks like a mistake. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from rag.errors import InputError
from rag.ports import Ingested

_ASK_ABOVE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncPlan:
    """Documents of one source that are gone from it."""

    source: str
    removed: tuple[str, ...]
    total: int
    """Documents the store holds of this source."""

    @property
    def needs_asking(self) -> bool:
        """Whether more than a fifth of the source would go."""
        return len(self.removed) > _ASK_ABOVE * self.total


def plan_sync(
    source: str,
    known: Mapping[str, Ingested],
    *,
    files: Collection[str],
    read: Mapping[str, Collection[str]],
    unreadable: Collection[str] = (),
) -> SyncPlan:
    """What vanished: documents whose file is gone, and documents that their file no longer holds.

    `files`: all files of the source as they are now, whether they could be read or not. `read`: the document ids
    that each file read to its end without trouble gave; for the others the store keeps what it has. `unreadable`:
    folders (empty, or ending with `/`) that could not be opened.
    """
    present = frozenset(files)

    def is_gone(identity: str, file: str) -> bool:
        if file in present:
            return file in read and identity not in read[file]
        return not any(file.startswith(folder) for folder in unreadable)

    removed = sorted(identity for identity, ingested in known.items() if is_gone(identity, ingested.file))
    return SyncPlan(source=source, removed=tuple(removed), total=len(known))


def check_same_folder(source: str, known: Mapping[str, Ingested], files: Collection[str]) -> None:
    """Raises `InputError` when a source has nothing in common with what it was: an empty mount, another folder."""
    if known and not {ingested.file for ingested in known.values()}.intersection(files):
        what = "is empty now" if not files else "holds none of the files it held before"
        raise InputError(
            f"--sync: {source} {what} ({len(known):,} documents), so it may be the wrong folder; nothing was changed. "
            "Ingest it without --sync, or remove the old documents with `grapevine documents remove`"
        )
