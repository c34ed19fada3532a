"""Turns of all contestants of `bench.graph`, what came of them, and how that stands beside the goals."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from bench.graph_data import recall_at_5
from rag.evaluate import AskedQuestion
from rag.stores.neo4j.connection import Connection

CLIENTS = (1, 50)
BARE, OURS, HYBRID = "bare", "ours", "neo4j-graphrag HybridCypher"
WITH_EMBEDDING = ", embedding included"
LEGEND = f"""
How to read the tables. Every contestant answers the same questions over the same server, in turns; a turn that is not
counted comes first. Milliseconds of one question by the wall clock: the median of all, the lowest and highest median of
a turn, and what 95 of 100 stay within; with 50 clients a question waits for 49 others. Then p50 and p95 as multiples of
the bare call's and of HybridCypher's in the same table; processor milliseconds of a question, of the process that asks
and of the server; and what share of the documents that hold the evidence is among the first five, and of how many
questions all of them are.
  {BARE:30} vector and full-text search with 50 each in one call, texts included; reciprocal ranks
  {OURS:30} the bot's retrieval: both searches, linked passages, sentences, ranking, relevance
  {HYBRID:30} its best 20 of both searches, and passages linked with them
  {"LightRAG":30} in one process with its own storages (no server), or its graph in Neo4j
Question vectors are known beforehand except where the name says otherwise; keywords are given to LightRAG, so that it
asks no model."""
GOALS = (
    # who, beside whom, which percentiles, the most at 1 client, at 50
    (OURS, BARE, ("p50", "p95"), 1.5, 1.5),
    (OURS + WITH_EMBEDDING, BARE + WITH_EMBEDDING, ("p50", "p95"), 1.5, 1.5),
    (OURS, HYBRID, ("p95",), 0.7, 0.5),
    (OURS, "LightRAG mix", ("p95",), 1.0, 1.0),
    (OURS, "LightRAG mix, graph in Neo4j", ("p95",), 1.0, 1.0),
    (OURS, "LightRAG naive", ("p95",), 1.0, 1.0),
)
Row = dict[str, Any]


class Contestant(Protocol):
    """Something that finds documents for questions."""

    async def turn(self, clients: int, times: int) -> dict[str, Any]:
        """Ask all questions so often, so many at a time; see `bench.graph_peers.measure`."""
        ...


@dataclass(kw_only=True)
class Tally:
    """What came of all turns at one number of clients."""

    ms: list[float] = field(default_factory=list)
    p50s: list[float] = field(default_factory=list)
    client_cpu_ms: list[float] = field(default_factory=list)
    server_cpu_ms: list[float] = field(default_factory=list)
    found: list[list[str]] = field(default_factory=list)

    def add(self, turn: dict[str, Any], server_s: float, distinct: int) -> None:
        count = len(turn["ms"])
        self.ms += turn["ms"]
        self.p50s.append(percentile(turn["ms"], 0.5))
        self.client_cpu_ms.append(1000 * turn["cpu_s"] / count)
        self.server_cpu_ms.append(1000 * server_s / count)
        self.found = turn["found"][:distinct]


Tallies = dict[int, dict[str, Tally]]
"""By number of clients and name."""


async def compare(contestants: dict[str, Contestant], connection: Connection, *, rounds: int, count: int) -> Tallies:
    """Everybody in turn, at one and at 50 clients; a turn before the first warms and is not counted."""
    tallies = {clients: {name: Tally() for name in contestants} for clients in CLIENTS}
    for at in range(rounds + 1):
        for clients in CLIENTS:
            names = list(contestants)
            for name in names[at % len(names) :] + names[: at % len(names)]:
                before = await server_cpu_s(connection)
                turn = await contestants[name].turn(clients, 1 if clients == 1 else 3)
                after = await server_cpu_s(connection)
                if at:
                    tallies[clients][name].add(turn, after - before, count)
    return tallies


async def server_cpu_s(connection: Connection) -> float:
    """Processor seconds of the server so far, of which it keeps account itself."""
    rows = await connection.read(
        'CALL dbms.queryJmx("java.lang:type=OperatingSystem") YIELD attributes RETURN attributes.ProcessCpuTime.value'
    )
    return float(rows[0][0]) / 1e9


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def rows_of(tallies: Tallies, questions: Sequence[AskedQuestion] | None) -> list[Row]:
    """A row for each contestant at each number of clients; with recall where the questions belong to the texts."""
    rows = []
    for clients, by_name in tallies.items():
        for name, tally in by_name.items():
            row: Row = {
                "clients": clients,
                "name": name,
                "p50_ms": percentile(tally.ms, 0.5),
                "p50_of_turns_ms": [min(tally.p50s), max(tally.p50s)],
                "p95_ms": percentile(tally.ms, 0.95),
                "client_cpu_ms": float(np.median(tally.client_cpu_ms)),
                "server_cpu_ms": float(np.median(tally.server_cpu_ms)),
            }
            for beside, other in (("bare", BARE), ("hybrid_cypher", HYBRID)):
                if other in by_name:
                    row[f"p50_to_{beside}"] = row["p50_ms"] / percentile(by_name[other].ms, 0.5)
                    row[f"p95_to_{beside}"] = row["p95_ms"] / percentile(by_name[other].ms, 0.95)
            if questions is not None:
                row["recall_at_5"], row["all_evidence_at_5"] = recall_at_5(questions, tally.found)
            rows.append(row)
    return rows


def show(title: str, rows: Sequence[Row], load_before: float) -> None:
    """Print the table, and how it stands beside the goals."""
    print(f"\n{title}")
    print(f"load average {load_before:.1f} before, {os.getloadavg()[0]:.1f} after, {os.cpu_count()} cores")
    print(f"{'':34}{'milliseconds':^30}{'x bare':^12}{'x HybridCypher':^16}{'processor ms':^14}{'evidence':^12}")
    print(
        f"{'clients, contestant':34}{'p50':>8} {'of turns':>13} {'p95':>7} {'p50':>5} {'p95':>5} {'p50':>7} {'p95':>6}"
        f" {'client':>8} {'server':>6} {'R@5':>6} {'all@5':>5}"
    )
    for row in rows:
        turns = "-".join(f"{value:.1f}" for value in row["p50_of_turns_ms"])
        ratios = [_cell(row, f"{share}_to_{other}", 2) for other in ("bare", "hybrid_cypher") for share in _SHARES]
        print(
            f"{row['clients']:3} {row['name']:30}{row['p50_ms']:8.1f} {turns:>13} {row['p95_ms']:7.1f} {ratios[0]:>5}"
            f" {ratios[1]:>5} {ratios[2]:>7} {ratios[3]:>6} {row['client_cpu_ms']:8.1f} {row['server_cpu_ms']:6.1f}"
            f" {_cell(row, 'recall_at_5', 3):>6} {_cell(row, 'all_evidence_at_5', 2):>5}"
        )
    for line in verdicts(rows):
        print(line, flush=True)


def verdicts(rows: Sequence[Row]) -> list[str]:
    """A line for each goal of which both sides were measured."""
    by_place = {(row["clients"], row["name"]): row for row in rows}
    lines = []
    for who, beside, shares, *most in GOALS:
        for clients, limit in zip(CLIENTS, most, strict=True):
            one, other = by_place.get((clients, who)), by_place.get((clients, beside))
            if one is None or other is None:
                continue
            ratios = {share: one[f"{share}_ms"] / other[f"{share}_ms"] for share in shares}
            figures = ", ".join(f"{share} {ratio:.2f}" for share, ratio in ratios.items())
            verdict = "met" if max(ratios.values()) <= limit else "missed"
            asking = "1 client" if clients == 1 else f"{clients} clients"
            lines.append(f"goal: {who} at most {limit:g} x {beside}, {asking}: {figures} ({verdict})")
    recalls = {row["name"]: row["recall_at_5"] for row in rows if row["clients"] == 1 and "recall_at_5" in row}
    others = {name: recall for name, recall in recalls.items() if not name.startswith(OURS)}
    if OURS in recalls and others:
        best = max(others, key=lambda name: others[name])
        verdict = "met" if recalls[OURS] > others[best] else "missed"
        lines.append(f"goal: R@5 above everybody's: {recalls[OURS]:.3f}, {best} {others[best]:.3f} ({verdict})")
    return lines


_SHARES = ("p50", "p95")


def _cell(row: Row, name: str, digits: int) -> str:
    return f"{row[name]:.{digits}f}" if name in row else ""
