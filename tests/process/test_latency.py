"""`grapevine latency` reads the log lines and nothing else."""

from __future__ import annotations

import orjson
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from bot.cli.latency import command
from bot.telemetry.latency import percentile, report


def lines(*totals: float, **fields: object) -> list[bytes]:
    return [orjson.dumps({"event": "turn", "outcome": "answered", "total_ms": total, **fields}) for total in totals]


def test_percentiles_are_nearest_rank() -> None:
    """Of a hundred turns the 95th slowest is p95."""
    stage = report(lines(*range(1, 101))).stages[0]
    assert (stage.stage, stage.p50, stage.p95, stage.p99) == ("total_ms", 50, 95, 99)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_a_value_that_happened(values: list[float], share: float) -> None:
    """No interpolation: at least that share of the turns was that fast."""
    found = percentile(sorted(values), share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


def test_other_events_and_broken_lines_are_passed_over() -> None:
    """A log holds more than turns; what is no JSON is counted."""
    found = report([b'{"event": "started"}', b"Traceback", b"", b"[1]", *lines(5.0)])
    assert (found.turns, found.skipped) == (1, 2)


def test_a_stage_counts_only_the_turns_in_which_it_happened() -> None:
    """A cached answer has no model stage and does not make the model look fast."""
    found = report([*lines(1.0, llm_first_token_ms=None), *lines(2.0, llm_first_token_ms=800.0)])
    assert {stage.stage: stage.count for stage in found.stages} == {"total_ms": 2, "llm_first_token_ms": 1}


def test_the_command_reads_standard_input() -> None:
    """`grapevine latency < log` prints the figures."""
    result = CliRunner().invoke(command, input=b"\n".join(lines(10.0, 20.0, cache="faq")))
    assert result.exit_code == 0
    assert "total" in result.output
    assert "from cache 100.0%" in result.output


def test_a_log_without_turns_says_so() -> None:
    """An empty log is an error with a hint, not an empty table."""
    result = CliRunner().invoke(command, input=b"")
    assert result.exit_code == 1
    assert "GRAPEVINE_LOG" in result.output
