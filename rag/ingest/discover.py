"""Paths that a person typed to files with document ids. Blocks on the disk: call it from a thread.

A source is a folder: its name and a short hash of where it really is, so that running from another directory finds
the same source, two folders called `docs` are two sources, and no reader learns where the files lie.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from rag.errors import InputError
from rag.ingest.outcome import FileOutcome, Outcome
from rag.ingest.parse.sniff import declared_format, unknown_suffix

_COLLECTION = re.compile(r"[a-z0-9_]{1,40}\Z")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]")
_MAX_ID = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file to ingest."""

    path: str
    """Where it lies; may hold bytes that are no UTF-8, as file names on Linux may."""
    id: str
    """What its readers know it by: relative to the folder given, `/` between, NFC."""
    source: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovered:
    """What the paths given lead to."""

    files: tuple[SourceFile, ...]
    set_aside: tuple[FileOutcome, ...]
    """Files that are not read, each with its reason."""
    folders: tuple[str, ...]
    """The sources that were given as whole folders: what `--sync` may compare."""
    unreadable: tuple[tuple[str, str], ...] = ()
    """Source and path (empty or ending with `/`) of folders that could not be opened: what is in them is not gone."""


def check_collection(name: str) -> str:
    """`name`, if a collection may be called so. Raises `InputError` with the accepted form."""
    if not _COLLECTION.match(name):
        raise InputError(
            f"'{clean(name)[:60]}' cannot be a collection's name: use 1 to 40 of a-z, 0-9 and _, e.g. public"
        )
    return name


def check_document_id(name: str) -> str:
    """A document id or file name from outside, cleaned. Raises `InputError` for one that leads out of its folder."""
    cleaned = clean(name.replace("\\", "/")).strip().strip("/")
    if not cleaned or len(cleaned) > _MAX_ID or ".." in cleaned.split("/"):
        raise InputError(f"'{cleaned[:60]}' cannot be a document's id: use 1 to {_MAX_ID} characters without '..'")
    return cleaned


def clean(name: str) -> str:
    """`name` as one line of valid NFC text: bytes that are no UTF-8 and control characters are written out."""
    text = name.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="backslashreplace")
    return unicodedata.normalize("NFC", _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text))


def source_of(folder: str | Path) -> str:
    """The name of a folder as a source."""
    real = Path(os.path.realpath(folder))
    mark = blake2b(os.fsencode(real), digest_size=4).hexdigest()
    return f"{clean(real.name)[:60] or 'root'}-{mark}"


def discover(paths: Sequence[str | Path], *, source: str | None = None) -> Discovered:
    """Every file under `paths` that can be read, in order, each once. `source` names it otherwise than by its folder.

    Raises `InputError` for a path that does not exist or lies where it cannot be reached.
    """
    try:
        return _discovered(paths, source)
    except OSError as error:
        raise InputError(f"{clean(str(error.filename))} cannot be opened: {(error.strerror or '').lower()}") from None


def _discovered(paths: Sequence[str | Path], source: str | None) -> Discovered:
    given = [Path(path) for path in paths]
    folders = [path for path in given if path.is_dir()]
    covered = frozenset(Path(os.path.realpath(folder)) for folder in folders)
    walk = _Walk(tops=covered)
    for path in given:
        if not os.path.lexists(path):
            raise InputError(f"there is no file or folder {clean(str(path))}")
        real = Path(os.path.realpath(path))  # Path.resolve raises on a link that leads to itself
        if covered.intersection(real.parents):
            continue  # it comes with the folder that holds it
        if path.is_dir():
            walk.folder(path, source or source_of(path))
        else:
            walk.named_file(path, source or source_of(real.parent))
    walk.links()
    return Discovered(
        files=tuple(walk.files),
        set_aside=tuple(walk.set_aside),
        folders=tuple(dict.fromkeys(source or source_of(folder) for folder in folders)),
        unreadable=tuple(walk.unreadable),
    )


@dataclass(slots=True)
class _Walk:
    """Files found so far; links wait until everything real is known, so that no link hides the file it leads to."""

    tops: frozenset[Path] = frozenset()
    """The real paths of the folders that were asked for; links may lead about in them, not out of them."""
    files: list[SourceFile] = field(default_factory=list)
    set_aside: list[FileOutcome] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    _seen: dict[tuple[int, int], str] = field(default_factory=dict)
    _ids: dict[tuple[str, str], str] = field(default_factory=dict)
    _links: list[tuple[Path, str, str]] = field(default_factory=list)

    def named_file(self, path: Path, source: str) -> None:
        """A file that was asked for by name: what cannot be read is a failure, not a skip."""
        name = clean(path.absolute().name)
        if path.is_symlink() and not _exists(path):
            self._aside(source, name, "failed", "is a broken link")
        elif declared_format(name) is None:
            self._aside(source, name, "failed", unknown_suffix(name))
        else:
            self._file(path, name, source)

    def folder(self, top: Path, source: str, prefix: str = "") -> None:
        """All of a folder, without recursion: a folder may be deeper than Python's stack."""
        waiting = [(top, prefix)]
        while waiting:
            path, prefix = waiting.pop()
            try:
                info = path.stat()
                if (info.st_dev, info.st_ino) in self._seen:
                    continue
                self._seen[info.st_dev, info.st_ino] = prefix or "."
                with os.scandir(path) as entries:
                    listed = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                line = f"cannot be opened: {(error.strerror or 'unknown error').lower()}"
                self._aside(source, clean(prefix) or ".", "failed", line)
                self.unreadable.append((source, clean(prefix)))
                continue
            deeper = []
            for entry in listed:
                if entry.name.startswith(".") or entry.name.endswith("~"):
                    continue
                name = f"{prefix}{entry.name}"
                if entry.is_symlink():
                    self._links.append((Path(entry.path), name, source))
                elif entry.is_dir():
                    deeper.append((Path(entry.path), f"{name}/"))
                else:
                    self._file(Path(entry.path), clean(name), source)
            waiting.extend(reversed(deeper))

    def links(self) -> None:
        """Follow links, now that all real files are known; links in linked folders come up as they are met."""
        at = 0
        while at < len(self._links):
            path, name, source = self._links[at]
            at += 1
            if not _exists(path):
                self._aside(source, clean(name), "skipped", "is a broken link, or one that leads back to itself")
            elif self._leads_out(path):
                # Whoever may write into the folder must not be able to publish what lies elsewhere.
                self._aside(source, clean(name), "skipped", "is a link out of the folder; name its target as well")
            elif path.is_dir():
                self.folder(path, source, f"{name}/")
            else:
                self._file(path, clean(name), source)

    def _leads_out(self, link: Path) -> bool:
        real = Path(os.path.realpath(link))
        return not self.tops.intersection((real, *real.parents))

    def _file(self, path: Path, name: str, source: str) -> None:
        try:
            info = path.stat()
        except OSError as error:
            self._aside(source, name, "failed", f"cannot be read: {(error.strerror or 'unknown error').lower()}")
            return
        known = self._seen.get((info.st_dev, info.st_ino))
        if declared_format(name) is None:
            self._aside(source, name, "skipped", unknown_suffix(name))
        elif not stat.S_ISREG(info.st_mode):
            self._aside(source, name, "skipped", "is a device, pipe or socket, not a file")
        elif known is not None and (source, name) not in self._ids:
            self._aside(source, name, "skipped", f"is the same file as {known}")
        elif (source, name) in self._ids:
            if known is None:
                self._aside(source, name, "failed", "has the same name as another file, written in other code points")
        elif len(name) > _MAX_ID:
            self._aside(source, name[:80] + "…", "failed", f"has a path of more than {_MAX_ID} characters")
        else:
            self._seen[info.st_dev, info.st_ino] = name
            self._ids[source, name] = str(path)
            self.files.append(SourceFile(path=str(path.absolute()), id=name, source=source, size=info.st_size))

    def _aside(self, source: str, name: str, outcome: Outcome, reason: str) -> None:
        self.set_aside.append(FileOutcome(file=name, source=source, outcome=outcome, reason=reason))


def _exists(path: Path) -> bool:
    """Whether a link leads anywhere; Python 3.11's `Path.exists` raises for one that leads to itself."""
    try:
        path.stat()
    except OSError:
        return False
    return True
