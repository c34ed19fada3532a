"""What each format becomes: blocks in reading order."""

from __future__ import annotations

from pathlib import Path

import docx
import pytest

from rag.errors import IngestError
from rag.ingest.parse import parse_file
from rag.ingest.parse.document import Block, ParsedDocument, Problem
from rag.ingest.parse.encoding import decode
from rag.ingest.parse.parts import in_parts
from tests.support.files import pdf, vietnamese_cp1258, word_document


def parsed(tmp_path: Path, name: str, content: str | bytes) -> ParsedDocument:
    results = list(results_of(tmp_path, name, content))
    assert len(results) == 1
    assert isinstance(results[0], ParsedDocument)
    return results[0]


def results_of(tmp_path: Path, name: str, content: str | bytes) -> list[ParsedDocument | Problem]:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(parse_file(path, file_id=name))


def shape(document: ParsedDocument) -> list[tuple[str, str]]:
    return [(block.kind, block.text) for block in document.blocks]


def test_markdown_blocks(tmp_path: Path) -> None:
    """Headings, paragraphs, lists, tables, quotes and code come apart, in order"""
    text = (
        "Title\n=====\n\nA paragraph\nof two lines.\n\n## Fees ##\n- one\n- two\n\n  still two\n\n> quoted\n\n"
        "| A | B |\n|---|---|\n| 1 | 2 |\n\n```py\n# no heading\n\nx = 1\n```\n\nlast <!-- hidden -->line\n---\n"
    )
    assert shape(parsed(tmp_path, "a.md", text)) == [
        ("heading", "Title"),
        ("text", "A paragraph\nof two lines."),
        ("heading", "Fees"),
        ("list", "- one\n- two\n  still two"),
        ("text", "quoted"),
        ("table", "| A | B |\n|---|---|\n| 1 | 2 |"),
        ("code", "# no heading\n\nx = 1"),
        ("heading", "last line"),
    ]


def test_front_matter(tmp_path: Path) -> None:
    """Title, address and validity come from the front matter; what other programs wrote there is passed over"""
    text = (
        "---\ntitle: 'Fees: 2026'\ntags:\n  - a\nurl: https://example.org/fees\nvalid_from: 2026-01-01\n"
        "valid_until: 2026-12-31T12:00:00\n---\n# Other\n\ntext\n"
    )
    document = parsed(tmp_path, "a.md", text)
    assert (document.title, document.url) == ("Fees: 2026", "https://example.org/fees")
    assert (document.valid_from, document.valid_until) == ("2026-01-01", "2026-12-31")
    assert shape(document) == [("heading", "Other"), ("text", "text")]


@pytest.mark.parametrize(
    ("field", "line"),
    [
        ("valid_until: 31/12/2026", "valid_until: '31/12/2026' is not a date like 2026-12-31"),
        ("url: javascript:alert(1)", "url: 'javascript:alert(1)' is not an address"),
        ("valid_until: 2025-01-01\nvalid_from: 2026-01-01", "valid_until: 2025-01-01 is before valid_from"),
    ],
)
def test_front_matter_that_is_wrong_is_refused(tmp_path: Path, field: str, line: str) -> None:
    """A date or address that cannot be read is said, not guessed"""
    with pytest.raises(IngestError, match=line.replace("(", r"\(").replace(")", r"\)")):
        parsed(tmp_path, "a.md", f"---\n{field}\n---\ntext")


def test_markdown_links(tmp_path: Path) -> None:
    """Inline links, autolinks and reference definitions are found, images are not"""
    text = "See [fees](fees.md) and ![x](x.png), <https://a.example/b>.\n\n[ref]: other.md 'Other'\n"
    assert [link.target for link in parsed(tmp_path, "a.md", text).links] == [
        "fees.md",
        "https://a.example/b",
        "other.md",
    ]


def test_title_from_file_name(tmp_path: Path) -> None:
    """A document without a title of its own is called after its file"""
    assert parsed(tmp_path, "claims_and-fees.txt", "one line only.").title == "claims and fees"


HTML = """<!doctype html><html><head><title>Fees | Site</title><script>secret()</script></head><body>
<nav><a href="/">Home</a></nav><h1>Fees</h1><p>The <b>fee</b> is in <a href="a b.html">the list</a>.<br>Next.</p>
<div style="display: none">hidden one</div><p hidden>hidden two</p><div aria-hidden="true">hidden three</div>
<ul><li>One<ul><li>Two</li></ul></li><li>Three</li></ul>
<table><tr><th>A</th><th>B|C</th></tr><tr><td>1</td><td>2</td></tr></table>
<table><tr><td>layout</td></tr></table><pre>x = 1
  y</pre><div>before<div>inside</div>after</div></body></html>"""


def test_html(tmp_path: Path) -> None:
    """A page is what its reader sees: no scripts, navigation or hidden text; tables and links kept"""
    document = parsed(tmp_path, "a.html", HTML)
    assert document.title == "Fees"
    assert shape(document) == [
        ("heading", "Fees"),
        ("text", "The fee is in [the list](a%20b.html).\nNext."),
        ("list", "- One\n  - Two\n- Three"),
        ("table", "| A | B\\|C |\n| --- | --- |\n| 1 | 2 |"),
        ("text", "layout"),
        ("code", "x = 1\n  y"),
        ("text", "before"),
        ("text", "inside"),
        ("text", "after"),
    ]
    assert [link.target for link in document.links] == ["a%20b.html"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_rows_name_their_columns(tmp_path: Path, delimiter: str) -> None:
    """Every row of a table makes sense by itself, whatever the delimiter"""
    rows = [["Product", "Fee", "Note"], ["TN-01", '"66,000; net"', ""], ["NN-04", "30000", "new"]]
    text = "\n".join(delimiter.join(row) for row in rows)
    assert shape(parsed(tmp_path, "a.csv", text)) == [
        ("list", "- Product: TN-01; Fee: 66,000; net\n- Product: NN-04; Fee: 30000; Note: new")
    ]


def test_csv_without_header(tmp_path: Path) -> None:
    """A first row of numbers is data, not a header"""
    assert shape(parsed(tmp_path, "a.csv", "1,2\n3,4\n")) == [
        ("list", "- Column 1: 1; Column 2: 2\n- Column 1: 3; Column 2: 4")
    ]


def test_large_csv_comes_in_groups(tmp_path: Path) -> None:
    """A csv of 5,000 rows is several documents, and no row is lost"""
    text = "Name,Value\n" + "".join(f"row {n},{n}\n" for n in range(5_000))
    results = results_of(tmp_path, "big.csv", text)
    documents = [found for found in results if isinstance(found, ParsedDocument)]
    assert [document.id for document in documents] == [
        None,
        "big.csv#rows-2001-4000",
        "big.csv#rows-4001-5000",
    ]
    lines = [line for document in documents for block in document.blocks for line in block.text.split("\n")]
    assert len(lines) == 5_000
    assert lines[-1] == "- Name: row 4999; Value: 4999"


def test_jsonl_lines_are_documents(tmp_path: Path) -> None:
    """Each line is a document with its own id; a broken line is named by its number and the others go on"""
    text = (
        '{"id": "a/1", "title": "One", "text": "text one", "url": "https://example.org", "valid_until": "2026-12-31"}\n'
        '{"id": "b"\n\n["no object"]\n{"id": 7, "text": "# Seven\\n\\nsix"}\n'
        '{"id": "a/1", "text": "again"}\n{"id": "c"}\n'
        '{"id": "d", "text": "x", "valid_until": "soon"}\n'
    )
    results = results_of(tmp_path, "a.jsonl", text)
    documents = [found for found in results if isinstance(found, ParsedDocument)]
    assert [(found.id, found.title, found.valid_until) for found in documents] == [
        ("a/1", "One", "2026-12-31"),
        ("7", "Seven", None),
    ]
    problems = [str(found) for found in results if isinstance(found, Problem)]
    assert [problem.split(" ")[1] for problem in problems] == ["2", "4", "6", "7", "8"]
    assert "line 6 has the id 'a/1' that line 1 already has" in problems
    assert "line 8 valid_until: 'soon' is not a date like 2026-12-31" in problems


def test_pdf_pages(tmp_path: Path) -> None:
    """Every paragraph of a PDF knows its page; lines that run on are joined; running heads are left out"""
    body = [
        "The insurer pays the claim within fifteen days after all papers",
        "have arrived at the office of the insurer.",
    ]
    pages = [[f"Policy wording - page {n}", *body, f"Clause {n} ends here."] for n in (1, 2, 3, 4)]
    document = parsed(tmp_path, "a.pdf", pdf(*pages, title="Policy wording"))
    assert document.title == "Policy wording"
    assert {block.page for block in document.blocks} == {1, 2, 3, 4}
    text = " ".join(block.text for block in document.blocks if block.page == 3)
    assert "after all papers have arrived" in text
    assert "Clause 3 ends here." in text
    assert "Policy wording - page" not in text


def test_docx(tmp_path: Path) -> None:
    """A Word document keeps its headings, lists and tables in the order in which they stand"""
    content = word_document("Manual", ["First text.", "Second text."], rows=[["Code", "Fee"], ["A|1", "20"]])
    document = parsed(tmp_path, "a.docx", content)
    assert document.title == "Manual"
    assert shape(document) == [
        ("heading", "Manual"),
        ("heading", "Part 1"),
        ("text", "First text."),
        ("heading", "Part 2"),
        ("text", "Second text."),
        ("list", "- first point\n- second point"),
        ("table", "| Code | Fee |\n| --- | --- |\n| A\\|1 | 20 |"),
        ("text", "The end."),
    ]


def test_docx_merged_cells(tmp_path: Path) -> None:
    """A merged cell is told once"""
    made = docx.Document()
    table = made.add_table(rows=2, cols=2)
    table.cell(0, 0).merge(table.cell(0, 1)).text = "wide"
    table.cell(1, 0).text, table.cell(1, 1).text = "a", "b"
    made.save(str(tmp_path / "made.docx"))
    document = parsed(tmp_path, "a.docx", (tmp_path / "made.docx").read_bytes())
    assert shape(document) == [("table", "| wide |  |\n| --- | --- |\n| a | b |")]


VIETNAMESE = "Bảo hiểm xe máy: được hoàn phí nếu hủy hợp đồng trong 15 ngày. Đường số 5, Quận Bình Thạnh."


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_encodings(encoding: str) -> None:
    """Text in any Unicode encoding is read exactly"""
    text = "plain words\r\nand more of them\r\n" if encoding in {"utf-16-le", "utf-16-be"} else VIETNAMESE
    assert decode(text.encode(encoding)).text == text.replace("\r\n", "\n")


def test_old_vietnamese_encoding() -> None:
    """Windows-1258 is recognised as Vietnamese, and said"""
    decoded = decode(vietnamese_cp1258(VIETNAMESE))
    assert decoded.text == VIETNAMESE
    assert decoded.warning == "is not UTF-8; read as Windows-1258 (Vietnamese)"


def test_western_encoding() -> None:
    """Windows-1252 is recognised, and said"""
    text = "Die Prämie beträgt 20 € für Übergrößen – „täglich“"
    decoded = decode(text.encode("cp1252"))
    assert decoded.text == text
    assert decoded.warning is not None


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Договор страхования можно расторгнуть", "cp1251"),
        ("保険の契約は解約できます", "shift_jis"),
        ("合同可以在十五天内取消", "gbk"),
        ("Καλημέρα κόσμε, τι κάνεις", "cp1253"),
    ],
)
def test_other_encodings_are_refused(text: str, encoding: str) -> None:
    """An encoding that cannot be told is refused with the cure, never guessed into wrong letters"""
    with pytest.raises(IngestError, match="save it as UTF-8"):
        decode(text.encode(encoding))


def test_a_broken_byte_does_not_spoil_utf8() -> None:
    """UTF-8 with one broken byte stays UTF-8, and the line is named"""
    data = VIETNAMESE.encode() + b"\nab\xffcd\n"
    decoded = decode(data)
    assert decoded.text.startswith(VIETNAMESE)
    assert decoded.warning == "1 broken UTF-8 character(s), the first in line 2"


def test_composed_and_decomposed_letters_are_one() -> None:
    """Letters typed as base and mark (macOS) read as one letter"""
    assert decode("Bảo hiểm".encode()).text == "Bảo hiểm"


def test_very_large_documents_come_in_parts() -> None:
    """A document beyond the limit is cut between blocks, each part under its headings, nothing lost"""
    blocks = (
        Block(kind="heading", text="Top", level=1),
        Block(kind="text", text="a " * 30),
        Block(kind="heading", text="Sub", level=2),
        Block(kind="text", text="b " * 30),
        Block(kind="text", text="c " * 200),
    )
    document = ParsedDocument(id=None, title="T", blocks=blocks)
    parts = list(in_parts(document, file_id="f.md", limit=100))
    assert [part.id for part in parts[:3]] == [None, "f.md#part-2", "f.md#part-3"]
    assert all([b.text for b in part.blocks if b.kind == "heading"][-1] == "Sub" for part in parts[1:])
    text = "".join(b.text for part in parts for b in part.blocks if b.kind == "text")
    assert (text.count("a"), text.count("b"), text.count("c")) == (30, 30, 200)
    assert all(sum(len(b.text) for b in part.blocks) <= 120 for part in parts)
