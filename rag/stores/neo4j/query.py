"""The one query of a question: both searches, titles, links of the best documents, and what ranking needs of all that.

Its text depends on the permitted collections alone (each has indexes of its own, so that access costs no recall and a
forbidden chunk is never even looked at), so the server plans it once. It answers with one record of lists: half the
cost of a query is in the client, and grows with the number of records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import orjson

from rag.retrieval.candidates import MAX_LINKS, MAX_PLACES, MAX_SHARED, SEEDS, SHARED_DEGREE
from rag.retrieval.question import Asked
from rag.retrieval.rank import HYBRID
from rag.retrieval.view import Floats
from rag.stores.neo4j.schema import label, text_index, vector_index

SEED_POOL = SEEDS + 1
"""Documents whose links are fetched. Which of them are the seeds is known only when sentences have been compared; with
four more the first ten passages were the same in 998 of 1,000, and links are what the server works at longest."""
LINKS = 12
"""Names looked at of one of their chunks, and links fetched, each way and kind."""
_WIDE = 50
"""Asked for of the vector index, of which the `pool` best are taken: its search is as thorough as it is wide."""
SLACK = 4
"""Expired documents that a rare name may be held by besides; they are counted only when looked at."""
_NAMES = 2 * MAX_SHARED
"""Names looked at of a chunk, rarest first, to find `MAX_SHARED` that are held elsewhere."""

_FIRST = """  MATCH (a:Chunk {key: d.first})
  OPTIONAL MATCH (a)-[:NEXT]->(b)
  UNWIND CASE WHEN b IS NULL THEN [a] ELSE [a, b] END AS c"""
"""The first two chunks `c` of a document `d` that no search found, however many it has."""

_RARE = f"COUNT {{{{ ({{0}})<-[:MENTIONS]-() }}}} <= {MAX_PLACES}"
_LOOKED_AT = 256
"""Chunks that name a document which are looked at: most of them may be its own."""
_LIVE = "(NOT {0}:Dated OR ({0}.valid_from <= $today AND {0}.valid_until >= $today))"


_SEEDS = f"""CALL (hits) {{
  UNWIND hits AS h
  WITH h[1] AS number, max(h[2]) AS v, max(h[3]) AS t
  WITH collect([number, v, t]) AS found, stDevP(v) AS sv, stDevP(t) AS st, min(v) AS lv, min(t) AS lt
  UNWIND found AS f
  WITH f[0] AS number,
    CASE WHEN sv > 0 THEN {HYBRID.cosine} * coalesce(f[1], lv) / sv ELSE 0 END
    + CASE WHEN st > 0 THEN {HYBRID.text} * coalesce(f[2], lt) / st ELSE 0 END AS base
  ORDER BY base DESC LIMIT $seeds
  RETURN collect(number) AS best
}}
CALL () {{
  UNWIND $titles AS name
  MATCH (e:Entity {{name: name}})<-[:ANSWERS]-(d:Document)
  WHERE e.collection IN $collections AND {_LIVE.format("d")}
  RETURN collect([name, d]) AS titled
}}
CALL (best, titled) {{
  UNWIND best + [x IN titled | x[1].number] AS number
  RETURN collect(DISTINCT number) AS seeds
}}
CALL (hits, titled) {{
  UNWIND [x IN titled | x[1]] AS d
  WITH DISTINCT d WHERE NOT d.number IN [h IN hits | h[1]]
{_FIRST}
  RETURN collect(c) AS opened
}}"""
"""Of what the searches found: the documents whose links are followed, by ranking's own weights for words and meaning,
those that the question names by title, and the first chunks of those among them that no search found."""

_FETCHED = f"""WITH *, outward + inward AS links
CALL (hits, opened, links) {{
  WITH [h IN hits | h[1]] + [c IN opened | c.document] AS known
  UNWIND [l IN links WHERE l[6] IS NOT NULL | l[6]] AS d
  WITH DISTINCT d, known WHERE NOT d.number IN known
{_FIRST}
  RETURN collect(c) AS first
}}
CALL (hits, opened, links, first) {{
  UNWIND [h IN hits | h[0]] + opened + [l IN links | l[2]] + [l IN links WHERE l[4] IS NOT NULL | l[4]] + first AS c
  WITH DISTINCT c
  RETURN collect([c.card, c.vectors, c.origin]) AS chunks
}}
MATCH (k:Collection)
RETURN before, collect([k.name, k.epoch]) AS after, searched, stale, size(hits) AS live, chunks,
  [x IN titled | [x[0], x[1].number]] AS titled,
  [l IN links | [l[0], l[1], l[2].key, l[3], l[4].key, l[5], l[6].number, l[7], l[8]]] AS links"""
"""All chunks that ranking may want, each once, and the epochs at the end."""


@lru_cache(maxsize=256)
def retrieval(collections: tuple[str, ...], vectors: tuple[str, ...], *, has_search_clause: bool) -> str:
    """The text for these collections; `vectors`: those of them that have a vector index, if there is a vector."""
    searches = "\n    UNION ALL\n".join(
        [
            *(_text_search(name) for name in collections),
            *(_vector_search(name, has_search_clause=has_search_clause) for name in vectors),
        ]
    )
    across = len(collections) > 1
    return f"""{"CYPHER 25 " if has_search_clause else ""}
WITH [x IN split($vector, ',') | toFloat(x)] AS vector
MATCH (k:Collection)
WITH vector, collect([k.name, k.epoch, k.texts, k.vectors]) AS before
CALL (vector) {{
  CALL (vector) {{
{searches}
  }}
  WITH c, max(v) AS v, max(t) AS t
  WITH collect([c, c.document, v, t]) AS raw
  RETURN size(raw) AS searched, size([r IN raw WHERE r[0]:Stale]) AS stale,
    [r IN raw WHERE {_LIVE.format("r[0]")} AND NOT r[0]:Stale] AS hits
}}
{_SEEDS}
CALL (hits, seeds, opened) {{
  UNWIND [h IN hits WHERE h[1] IN seeds | h[0]] + opened AS c
  CALL (c) {{
{_forward(across=across)}
    UNION ALL
{_shared_across() if across else _shared()}
  }}
  RETURN collect([kind, c.document, c, sentences, o, others, t, degree, name]) AS outward
}}
CALL (seeds) {{
  UNWIND seeds AS number
  MATCH (s:Document {{number: number}})
{_backward(across=across)}
  RETURN collect(['backward', number, c, m.sentences, null, null, null, 0, name]) AS inward
}}
{_FETCHED}"""


def _text_search(collection: str) -> str:
    return (
        f"    CALL db.index.fulltext.queryNodes('{text_index(collection)}', $words, {{limit: $pool}})"
        " YIELD node, score\n"
        "    RETURN node AS c, null AS v, score AS t"
    )


def _vector_search(collection: str, *, has_search_clause: bool) -> str:
    if has_search_clause:
        return (
            f"    MATCH (c:{label(collection)}) SEARCH c IN (VECTOR INDEX {vector_index(collection)} FOR vector"
            " LIMIT $wide) SCORE AS v\n    RETURN c, v, null AS t ORDER BY v DESC LIMIT $pool"
        )
    return (
        f"    CALL db.index.vector.queryNodes('{vector_index(collection)}', $wide, vector) YIELD node, score\n"
        "    RETURN node AS c, score AS v, null AS t ORDER BY v DESC LIMIT $pool"
    )


def _forward(*, across: bool) -> str:
    """What the chunk `c` names that documents answer to.

    Entities belong to a collection each; across collections they are joined by name.
    """
    joined = (
        "MATCH (c)-[m:MENTIONS]->(e) MATCH (f:Entity:Titled {name: e.name}) WHERE f.collection IN $collections"
        if across
        else "MATCH (c)-[m:MENTIONS]->(f:Titled)"
    )
    return f"""    WITH c {joined}
    CALL (f) {{
      MATCH (f)<-[:ANSWERS]-(t:Document) WHERE {_LIVE.format("t")}
      RETURN t LIMIT {MAX_LINKS + 1}
    }}
    WITH m, f.name AS name, collect(t)[..{MAX_LINKS + 1}] AS ts
    ORDER BY name STARTS WITH '@' DESC, size(ts), name LIMIT {LINKS}
    UNWIND ts AS t
    RETURN 'forward' AS kind, m.sentences AS sentences, null AS o, null AS others, t, size(ts) AS degree, name
    LIMIT {MAX_LINKS}"""


def _backward(*, across: bool) -> str:
    """Chunks `c` of others that name what the document `s` answers to."""
    joined = (
        "MATCH (f:Entity {name: e.name}) WHERE f.collection IN $collections" if across else "WITH number, e, e AS f"
    )
    return f"""  CALL (s, number) {{
    MATCH (s)-[:ANSWERS]->(e:Entity)
    {joined}
    CALL (f, number) {{
      MATCH (f)<-[m:MENTIONS]-(c:Chunk)
      WITH c, m, number LIMIT {_LOOKED_AT} WHERE c.document <> number AND NOT c:Stale AND {_LIVE.format("c")}
      RETURN c, m LIMIT {LINKS}
    }}
    RETURN c, m, e.name AS name LIMIT {LINKS}
  }}"""


def _shared() -> str:
    """Rare names of `c` in other documents. Rows are pulled: names beyond those that fill the limit cost nothing."""
    low, high = SHARED_DEGREE
    return f"""    WITH c MATCH (c)-[m:MENTIONS]->(e)
    WITH c, m, e, e.documents AS documents WHERE {low} <= documents <= {high + SLACK}
    WITH c, m, e, documents, e.name AS name WHERE NOT name STARTS WITH '@'
    WITH c, m, e, name ORDER BY documents, name LIMIT {_NAMES}
    WITH c, m, e, name WHERE {_RARE.format("e")}
    CALL (e) {{
      MATCH (e)<-[n:MENTIONS]-(o) WHERE NOT o:Stale AND {_LIVE.format("o")}
      RETURN collect([o, o.document, n]) AS places, count(DISTINCT o.document) AS degree
    }}
    WITH c, m, name, places, degree WHERE {low} <= degree <= {high}
    UNWIND places AS p
    WITH m, name, degree, p[0] AS o, p[2] AS n WHERE p[1] <> c.document
    RETURN 'shared' AS kind, m.sentences AS sentences, o, n.sentences AS others, null AS t, degree, name
    LIMIT {MAX_SHARED}"""


def _shared_across() -> str:
    """The same over several collections: how rare a name is shows only when its entities have been joined."""
    low, high = SHARED_DEGREE
    return f"""    WITH c MATCH (c)-[m:MENTIONS]->(e)
    WHERE 1 <= e.documents <= {high + SLACK}
    WITH c, m, e WHERE NOT e.name STARTS WITH '@'
    MATCH (f:Entity {{name: e.name}}) WHERE f.collection IN $collections
    WITH c, m, e, collect(f) AS fs WHERE reduce(n = 0, f IN fs | n + f.documents) <= {high + SLACK}
    UNWIND fs AS f
    WITH c, m, e, f WHERE {_RARE.format("f")}
    MATCH (f)<-[n:MENTIONS]-(o) WHERE NOT o:Stale AND {_LIVE.format("o")}
    WITH c, m, e.name AS name, collect([o, o.document, n]) AS places, count(DISTINCT o.document) AS degree
    WHERE {low} <= degree <= {high}
    ORDER BY degree, name LIMIT {_NAMES}
    UNWIND places AS p
    WITH m, name, degree, p[0] AS o, p[2] AS n WHERE p[1] <> c.document
    RETURN 'shared' AS kind, m.sentences AS sentences, o, n.sentences AS others, null AS t, degree, name
    LIMIT {MAX_SHARED}"""


def parameters(
    asked: Asked,
    collections: Sequence[str],
    *,
    titles: Sequence[str],
    today: str,
    pool: int,
) -> Mapping[str, Any]:
    """What the text leaves open."""
    return {
        "collections": list(collections),
        "words": lucene(asked),
        "vector": None if asked.vector is None else _as_text(asked.vector),
        "pool": pool,
        "wide": max(_WIDE, pool),
        "titles": list(titles),
        "today": today,
        "seeds": SEED_POOL,
    }


def _as_text(vector: Floats) -> str:
    """All its digits. The driver packs a list number by number, in Python: 384 of them cost 0.6 ms, a text none."""
    return orjson.dumps(np.ascontiguousarray(vector, np.float32), option=orjson.OPT_SERIALIZE_NUMPY).decode()[1:-1]


def lucene(asked: Asked) -> str:
    """The terms as a query for Lucene's parser: every one quoted, so that nothing in it is syntax."""
    terms = [term.replace("\\", "\\\\").replace('"', '\\"') for term in asked.terms]
    quoted = " ".join(f'"{term}"' for term in terms)
    if not quoted:
        return '""'
    # Chunks whose columns are equal have only the marked one.
    return f"marked:({quoted})" if asked.column == "marked" else f"marked:({quoted}) folded:({quoted})"
