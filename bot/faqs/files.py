"""FAQs from a file: JSON lines or CSV. A bad line is named with its number; the others are taken."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.faqs.drafts import DEFAULT_COLLECTION, Draft, new_draft
from rag.errors import InputError

MOST_BYTES = 32 * 2**20
_COLUMNS = "question, answer, paraphrases, collection, language"


class _Line(BaseModel):
    """One FAQ of a file. The description of a field says which form it accepts."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    question: str = Field(description="a text")
    answer: str | None = Field(default=None, description="a text, or left out to have it made from the documents")
    paraphrases: list[str] = Field(default=[], description='a list of texts (in CSV: one text, parted by "|")')
    collection: str | None = Field(default=None, description="a collection's name")
    language: str | None = Field(default=None, description="a language like `en` or `vi`")


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line that is no FAQ."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FaqFile:
    """What a file holds."""

    drafts: tuple[Draft, ...]
    bad: tuple[BadLine, ...]


def read_faqs(path: Path, *, collection: str = DEFAULT_COLLECTION) -> FaqFile:
    """The FAQs of a `.jsonl` or `.csv` file; `collection` is that of lines that name none.

    Raises:
        InputError: If the file as a whole cannot be read, with the cause and the accepted form.
        OSError: If it cannot be opened.
    """
    suffix = path.suffix.lower()
    if suffix not in {".jsonl", ".ndjson", ".csv"}:
        raise InputError(f"{path}: FAQs are read from .jsonl or .csv files, with {_COLUMNS}")
    if (size := path.stat().st_size) > MOST_BYTES:
        raise InputError(f"{path} has {size // 2**20} MiB; at most {MOST_BYTES // 2**20} are read, split it")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    lines = _csv_lines(path, text) if suffix == ".csv" else _json_lines(text)
    return _checked(lines, collection)


def _checked(lines: Iterator[tuple[int, Mapping[str, Any] | str]], collection: str) -> FaqFile:
    drafts: list[Draft] = []
    bad: list[BadLine] = []
    seen: dict[str, int] = {}
    for number, fields in lines:
        try:
            draft = _draft(fields, collection)
        except InputError as error:
            bad.append(BadLine(line=number, reason=str(error)))
            continue
        if (first := seen.setdefault(draft.faq_id, number)) != number:
            bad.append(BadLine(line=number, reason=f"the same question as line {first}"))
            continue
        drafts.append(draft)
    return FaqFile(drafts=tuple(drafts), bad=tuple(bad))


def _draft(fields: Mapping[str, Any] | str, collection: str) -> Draft:
    """Raises `InputError`; a text in place of fields is what is wrong already."""
    if isinstance(fields, str):
        raise InputError(fields)
    try:
        line = _Line.model_validate(fields)
    except ValidationError as error:
        raise InputError(_explain(error)) from None
    return new_draft(
        line.question,
        answer=line.answer,
        paraphrases=line.paraphrases,
        collection=line.collection or collection,
        language=line.language,
    )


def _explain(error: ValidationError) -> str:
    detail = error.errors(include_url=False, include_input=False, include_context=False)[0]
    name = str(detail["loc"][0])
    if name not in _Line.model_fields:
        return f"there is no field `{name[:40]}`; accepted are {_COLUMNS}"
    if detail["type"] == "missing":
        return f"`{name}` is missing"
    return f"`{name}` must be {_Line.model_fields[name].description}"


def _json_lines(text: str) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    # Not `splitlines`: it also breaks at U+2028 and its like, which may stand inside a JSON string.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            yield number, f"not valid JSON ({error})"
            continue
        yield number, value if isinstance(value, dict) else 'want a JSON object, like {"question": "..."}'


def _csv_lines(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    first = text.partition("\n")[0]
    # Spreadsheets write semicolons where the comma is the decimal sign, as in Vietnam.
    delimiter = max(",;\t", key=first.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip().lower() for name in next(rows, [])]
        if "question" not in header or not set(header) <= set(_Line.model_fields):
            raise InputError(f"{path}: the first line must name the columns: {_COLUMNS}; only question is needed")
        begins = rows.line_num + 1
        for row in rows:
            if any(cell.strip() for cell in row):
                yield begins, _cells(header, row)
            begins = rows.line_num + 1
    except csv.Error as error:
        yield rows.line_num, f"not valid CSV ({error}); what follows was not read"


def _cells(header: list[str], row: list[str]) -> Mapping[str, Any] | str:
    if len(row) > len(header):
        return f"{len(row)} cells for {len(header)} columns; put text with the separator in it between quotes"
    fields: dict[str, Any] = {name: cell.strip() for name, cell in zip(header, row, strict=False) if cell.strip()}
    if "paraphrases" in fields:
        fields["paraphrases"] = fields["paraphrases"].split("|")
    return fields
