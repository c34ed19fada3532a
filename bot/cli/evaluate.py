"""`grapevine eval`: how well a folder's questions are answered from its documents."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import click

from bot.cli.common import json_option, log_beside_result, print_json, print_table, run, settings
from bot.settings import Settings
from bot.telemetry.latency import percentile
from rag.compare_vectors import CUT, VariantResult, compare_vectors
from rag.evaluate import CUTS, Evaluation, Recall, evaluate_folder, questions_of
from rag.types import Mode
from rag.vector_variants import RESCORED


@click.command("eval")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--mode", default="hybrid", show_default=True, type=click.Choice(get_args(Mode)), help="How to search.")
@click.option("--vectors", "with_vectors", is_flag=True, help="Also: what fewer dimensions and bits cost and save.")
@json_option
def command(
    folder: Path,
    mode: Mode,
    with_vectors: bool,  # noqa: FBT001 - click passes options by name
    as_json: bool,  # noqa: FBT001 - likewise
) -> None:
    """Measure retrieval and refusal over DIR with the configured embedder.

    DIR holds corpus.jsonl (or a folder of documents per collection) and questions.jsonl ({"question", "relevant",
    "type"}; no relevant document: unanswerable). The documents go through the real ingest into a store of their own,
    which is removed afterwards; your knowledge base is not touched.
    """
    configured = settings()
    log_beside_result(configured)
    with tempfile.TemporaryDirectory(prefix="grapevine-eval-") as scratch:
        own = configured.model_copy(update={"data": Path(scratch)})
        found, variants = run(_evaluate(own, folder, mode, with_vectors=with_vectors))
    if as_json:
        print_json({**_as_json(found), **({"vectors": [asdict(each) for each in variants]} if with_vectors else {})})
        return
    _print(found)
    if variants:
        _print_variants(variants)


async def _evaluate(
    configured: Settings, folder: Path, mode: Mode, *, with_vectors: bool
) -> tuple[Evaluation, Sequence[VariantResult]]:
    from bot.wiring import knowledge_store, open_embedder, open_reranked  # noqa: PLC0415 - onnxruntime, only when needed
    from rag.ingest.sandbox import ParserPool  # noqa: PLC0415 - likewise
    from rag.retrieval.search import Search  # noqa: PLC0415 - likewise

    store = knowledge_store(configured)
    try:
        async with (
            open_embedder(configured) as embedder,
            open_reranked(configured, Search(store, embedder)) as retriever,
            ParserPool() as pool,
        ):
            found = await evaluate_folder(
                folder, store=store, embedder=embedder, retriever=retriever, pool=pool, mode=mode
            )
            variants: Sequence[VariantResult] = ()
            if with_vectors:
                questions = await questions_of(folder, store)
                variants = await compare_vectors(
                    store, questions, embedder=embedder, search=lambda made: Search(store, made)
                )
            return found, variants
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


def _print_variants(variants: Sequence[VariantResult]) -> None:
    click.echo("\nvectors, side by side (the first line is what stores hold, but for rounding):")
    print_table(
        ("vectors", "bytes", "nearest 10", "vector R@5", f"R@{CUT}", "all@5", "search ms"),
        [
            (
                *(each.name, f"{each.bytes_per_vector:.0f}", f"{each.agreement:.3f}", f"{each.vector_recall:.3f}"),
                *("" if value is None else f"{value:.3f}" for value in (each.recall, each.all_evidence)),
                f"{each.search_ms:.2f}",
            )
            for each in variants
        ],
    )
    click.echo(
        f"nearest 10: share of the exact search's; R@{CUT}, all@5: the whole retrieval; search: one thread, "
        f"{variants[0].timed_rows:,} chunks\ncut: the first dimensions; learned: those that say most about these "
        f"documents; bits: signs, the nearest {RESCORED} scored exactly"
    )


def _as_json(found: Evaluation) -> Mapping[str, object]:
    value = asdict(found)
    times = value.pop("retrieve_ms")
    value["retrieve_p50_ms"], value["retrieve_p95_ms"] = (percentile(times, share) for share in (0.5, 0.95))
    for recall in (value["recall"], *value["by_type"].values(), *value["by_language"].values()):
        recall["at"] = {str(k): share for k, share in recall["at"].items()}
    return value
