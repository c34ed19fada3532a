"""`grapevine eval`: how well a folder's questions are answered from its documents."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import click

from bot.cli.common import json_option, log_beside_result, print_json, print_table, run, settings
from bot.settings import Settings
from bot.telemetry.latency import percentile
from rag.evaluate import CUTS, Evaluation, Recall, evaluate_folder
from rag.types import Mode


@click.command("eval")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--mode", default="hybrid", show_default=True, type=click.Choice(get_args(Mode)), help="How to search.")
@json_option
def command(folder: Path, mode: Mode, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Measure retrieval and refusal over DIR with the configured embedder.

    DIR holds corpus.jsonl (or a folder of documents per collection) and questions.jsonl ({"question", "relevant",
    "type"}; no relevant document: unanswerable). The documents go through the real ingest into a store of their own,
    which is removed afterwards; your knowledge base is not touched.
    """
    configured = settings()
    log_beside_result(configured)
    with tempfile.TemporaryDirectory(prefix="grapevine-eval-") as scratch:
        own = configured.model_copy(update={"data": Path(scratch)})
        found = run(_evaluate(own, folder, mode))
    if as_json:
        print_json(_as_json(found))
    else:
        _print(found)


async def _evaluate(configured: Settings, folder: Path, mode: Mode) -> Evaluation:
    from bot.wiring import knowledge_store, open_embedder  # noqa: PLC0415 - onnxruntime, only when needed
    from rag.ingest.sandbox import ParserPool  # noqa: PLC0415 - likewise
    from rag.retrieval.search import Search  # noqa: PLC0415 - likewise

    store = knowledge_store(configured)
    try:
        async with open_embedder(configured) as embedder, ParserPool() as pool:
            retriever = Search(store, embedder)
            return await evaluate_folder(
                folder, store=store, embedder=embedder, retriever=retriever, pool=pool, mode=mode
            )
    finally:
        await store.close()


def _print(found: Evaluation) -> None:
    groups: dict[str, Recall] = {"all": found.recall}
    groups |= {f"type {name}": recall for name, recall in found.by_type.items()}
    groups |= {f"language {name}": recall for name, recall in found.by_language.items()}
    print_table(
        ("answerable questions", "n", *(f"R@{k}" for k in CUTS), "all@5", "answered"),
        [
            (name, r.questions, *(f"{r.at[k]:.3f}" for k in CUTS), f"{r.all_evidence:.3f}", f"{r.answered:.3f}")
            for name, r in groups.items()
        ],
    )
    if refused := found.refusals:
        click.echo(
            f"\nrefusals ({refused.unanswerable} unanswerable): precision {refused.precision:.3f}, recall "
            f"{refused.recall:.3f}, F1 {refused.f1:.3f}, with {refused.answered:.1%} of the answerable still answered"
        )
    p50, p95 = (percentile(found.retrieve_ms, share) for share in (0.5, 0.95))
    click.echo(
        f"retrieval, question embedding included: p50 {p50:.1f} ms, p95 {p95:.1f} ms; {found.documents} documents"
    )


def _as_json(found: Evaluation) -> Mapping[str, object]:
    value = asdict(found)
    times = value.pop("retrieve_ms")
    value["retrieve_p50_ms"], value["retrieve_p95_ms"] = (percentile(times, share) for share in (0.5, 0.95))
    for recall in (value["recall"], *value["by_type"].values(), *value["by_language"].values()):
        recall["at"] = {str(k): share for k, share in recall["at"].items()}
    return value
