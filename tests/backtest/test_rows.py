"""What engines gave back becomes rows: agreement, conduct, and what their processes cost."""

from dataclasses import replace
from decimal import Decimal

from fluxhero.backtest.contract import Contract, Sizing
from fluxhero.backtest.engines import engine_named
from fluxhero.backtest.exact import simulate_exact
from fluxhero.backtest.rows import conduct_of
from fluxhero.backtest.runs import EngineRun
from fluxhero.backtest.used import engine_unavailable, engine_used, reference_used
from fluxhero.errors import EngineUnavailableError
from tests.backtest import sample_evaluation as made
from tests.backtest.planted_results import closed_at_the_end, fills_of, result_of, same_bar

FIXED = Contract(sizing=Sizing.FIXED, shares=100)
TARGETS = made.TARGETS.copy()
TARGETS[-3:] = 1
OURS = simulate_exact(made.BARS, TARGETS, FIXED)


def test_rows_hold_what_came_back_or_why_nothing_did() -> None:
    good, dead = made.rows_of(
        "bt", [made.outcome(), made.outcome(None, kind="crashed", error="SIGSEGV")]
    )
    assert good.agreement is not None
    assert good.agreement.to_the_cent
    assert (good.mode, good.ending, good.run_seconds) == ("given", "ok", 0.2)
    assert (dead.ending, dead.error, dead.performance, dead.agreement) == (
        "crashed",
        "SIGSEGV",
        None,
        None,
    )


def test_conduct_tells_moment_and_costs_apart() -> None:
    fills = fills_of(OURS)
    right = conduct_of(OURS, made.BARS, FIXED, TARGETS)
    assert right.fills == right.next_bar == right.commission == right.slippage == len(fills)
    early = result_of(same_bar(made.BARS, TARGETS, FIXED), made.BARS, FIXED)
    at_close = conduct_of(early, made.BARS, FIXED, TARGETS)
    assert (at_close.next_bar, at_close.slippage) == (0, at_close.fills), "slippage off the close"
    free = [(*one[:4], Decimal(0)) for one in fills]
    assert conduct_of(result_of(free, made.BARS, FIXED), made.BARS, FIXED, TARGETS).commission == 0
    closed = result_of(closed_at_the_end(fills, made.BARS), made.BARS, FIXED)
    forced = conduct_of(closed, made.BARS, FIXED, TARGETS)
    assert (forced.fills, forced.next_bar) == (len(fills) + 1, len(fills))


def test_an_engine_is_what_its_process_did() -> None:
    bt = engine_named("bt")
    good, dead = made.outcome(), made.outcome(None, kind="out-of-memory", error="took 4 GiB")
    other = made.outcome(made.native().result)
    sources = {"parquet": good, "duckdb": other}
    used = engine_used(made.run_of(bt, [good, dead]), None, None, sources)
    assert (used.status, used.speed_seconds, used.sources) == ("ran", None, ("parquet",))
    assert used.sources_failed == ("duckdb: another result than from parquet",)
    speed = made.speed_of(bt, 3.0)
    used = engine_used(made.run_of(bt, [dead]), None, speed, {"parquet": dead})
    assert (used.status, used.reason) == ("failed", "out-of-memory: took 4 GiB")
    assert used.sources_failed == ("parquet: out-of-memory: took 4 GiB",)
    assert used.speed_seconds == 1.5 + 0.1 + 3.0
    slow = replace(speed, outcomes=(replace(speed.outcomes[0], kind="timed-out", error="60 s"),))
    used = engine_used(made.run_of(bt, [good]), None, slow, {})
    assert (used.speed_failure, used.speed_seconds) == ("timed-out: 60 s", None)
    never = EngineRun(bt, "", {}, 0.0, 0.0, 0.0, 0.0, ())
    used = engine_used(never, None, None, {})
    assert (used.reason, used.import_seconds) == ("nothing was run", None)
    error = EngineUnavailableError("no Python", next_step="install one")
    assert engine_unavailable("bt", error).reason == "no Python"
    assert reference_used({"numba": "1"}).status == "ran"
