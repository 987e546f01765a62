"""An engine's process may do anything: each job has an outcome that names the cause, and the others go on."""

import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from fluxhero.backtest.bars import Bars
from fluxhero.backtest.contract import CashPolicy, Contract, Sizing
from fluxhero.backtest.engine_files import GarbageError, read_answer, read_result, read_sweep
from fluxhero.backtest.engines import Engine, engine_named
from fluxhero.backtest.environments import Environment, Installed
from fluxhero.backtest.isolation import Bounds
from fluxhero.backtest.runs import (
    EngineJob,
    EngineRun,
    JobOutcome,
    Mode,
    run_engine,
    run_sweep,
)
from fluxhero.backtest.strategy import Named
from fluxhero.errors import BadInputError, EngineError, EngineUnavailableError
from tests.backtest.made import bars_of

pytestmark = pytest.mark.measured

ENGINE = engine_named("backtrader")
RUNNER = Path(__file__).with_name("faulty_runner.py")
BOUNDS = Bounds(seconds=30, memory_mb=500)
BARS = bars_of((10, 10.5, 1000), (10, 10.25, 900), (11, 11.5, 800), (11, 11, 700))
TARGETS = np.array([1, 0, 0, 0], np.int8)


def environment(python: str = sys.executable, engine: Engine = ENGINE) -> Environment:
    """This interpreter, as if it had the engine: it has what the harness needs."""
    installed = Installed(
        python="", version="1", versions={}, missing=(), needs=(), bytes=0, requires_python="", licence=""
    )  # fmt: skip
    return Environment(engine, Path(python), installed)


def job(does: str, mode: Mode = Mode.GIVEN, bars: Bars = BARS) -> EngineJob:
    strategy = Named("moving-average-cross", "", (("does", does),))
    return EngineJob(does, mode, strategy, bars, TARGETS)


def run(
    folder: Path, *jobs: EngineJob, runner: Path = RUNNER, bounds: Bounds = BOUNDS
) -> EngineRun:
    return run_engine(ENGINE, environment(), jobs, Contract(), bounds, folder, runner=runner)


def outcomes(folder: Path, *does: str, bounds: Bounds = BOUNDS) -> list[tuple[str, str]]:
    ran = run(folder, *(job(one) for one in does), bounds=bounds)
    assert [one.job.id for one in ran.outcomes] == list(does)
    return [(one.kind, one.error) for one in ran.outcomes]


def test_what_an_engine_did_comes_back_whole(tmp_path: Path) -> None:
    ran = run(tmp_path, job("fine"), job("fine", Mode.NATIVE), job("parts"))
    given, native, parts = ran.outcomes
    assert [one.kind for one in ran.outcomes] == ["ok"] * 3
    assert given.result is not None
    assert given.result.fills.select(["bar", "side", "shares", "price"]).to_pylist() == [
        {"bar": 1, "side": "buy", "shares": 5, "price": Decimal(10)},
        {"bar": 2, "side": "sell", "shares": 5, "price": Decimal(11)},
    ]
    assert given.result.round_trips["pnl"].to_pylist() == [Decimal("4.95")]
    assert given.result.orders["signal_bar"].to_pylist() == [0, 1]
    marked = given.result.equity.to_pylist()
    assert [row["shares"] for row in marked] == [0, 5, 0, 0]
    assert marked[1]["cash"] == Decimal(100_000) - 5 * Decimal("10.25")  # the engine's own equity
    assert given.own == {"sharpe": 0.5}  # what is not a number, or not asked for, is left out
    assert given.targets is not None
    assert given.targets.tolist() == [1, 0, 0, 0]
    assert native.targets is None  # it was handed none
    assert parts.result is not None
    assert parts.result.fills["shares"].to_pylist() == [Decimal("0.25")]
    assert parts.result.equity["shares"].to_pylist() == [0, *[Decimal("0.25")] * 3]
    assert ran.python == sys.version.split()[0]
    assert ran.versions["numpy"] == np.__version__
    assert min(ran.import_seconds, ran.seconds, ran.cpu_seconds, given.load_seconds) > 0
    assert ran.peak_mb > 20


@pytest.mark.parametrize("source", ["parquet", "duckdb"])
def test_bars_and_each_jobs_own_rules_arrive_exactly(source: str, tmp_path: Path) -> None:
    cheap = replace(job("closes"), contract=Contract(cash=Decimal(7), commission=Decimal(1)))
    ran = run_engine(
        ENGINE,
        environment(),
        [job("closes"), cheap],
        Contract(),
        BOUNDS,
        tmp_path,
        source=source,  # type: ignore[arg-type]
        runner=RUNNER,
    )
    prices = BARS.open + BARS.high + BARS.low + BARS.close
    plain = BARS.ends / 1e9 + prices / 10_000 + BARS.volume
    for outcome, more in zip(ran.outcomes, (100_000.005, 8), strict=True):
        assert outcome.result is not None
        assert [float(v) for v in outcome.result.equity["equity"].to_pylist()] == pytest.approx(
            list(plain + more), abs=1e-4
        )


def test_a_job_that_fails_costs_only_itself(tmp_path: Path) -> None:
    told = outcomes(tmp_path, "raise", "exit", "exhaust", "connect", "fine")
    assert told == [
        ("failed", "KeyError: 'fast'"),
        ("failed", "SystemExit: enough"),
        ("out-of-memory", "MemoryError"),
        (
            "failed",
            "PermissionError: socket.connect 192.0.2.1: an engine's process gets no network",
        ),
        ("ok", ""),
    ]
    printed = (tmp_path / "process-0" / "output.txt").read_text()
    assert "getaddrinfo example.com" in printed
    assert "sendto 192.0.2.1" in printed


def test_a_job_that_kills_its_process_costs_only_itself(tmp_path: Path) -> None:
    told = outcomes(tmp_path, "fine", "kill", "fault", "leave", "print", "grow", "fine")
    kinds = [kind for kind, _ in told]
    assert kinds == ["ok", "crashed", "crashed", "failed", "failed", "out-of-memory", "ok"]
    assert told[1][1] == "its process was ended by SIGKILL"
    assert told[2][1].startswith("its process was ended by SIGSEGV")
    assert told[3][1] == "its process ended before its work was done"
    assert told[4][1].startswith("its process printed more than 64 MiB: xxx")
    assert told[5][1] == "its process took more than 500 MiB of memory"


def test_a_job_that_hangs_in_c_code_is_ended(tmp_path: Path) -> None:
    told = outcomes(tmp_path, "fine", "hang", "fine", bounds=Bounds(seconds=8, memory_mb=500))
    assert told == [("ok", ""), ("timed-out", "took longer than 8 seconds"), ("ok", "")]


GARBAGE = {
    "none": "the runner returned a NoneType, not an Output",
    "short equity": "equity has 3 values for 4 bars",
    "equity of text": "what the engine returned cannot be read: ValueError: could not convert",
    "equity not a number": "equity is not a number in some rows",
    "equity beyond": "equity is beyond what can be counted: ",
    "fill of two values": "what the engine returned cannot be read: ValueError: fills have 2 values",
    "fills of different lengths": "what the engine returned cannot be read: ValueError: zip()",
    "targets of fractions": "what the engine returned cannot be read: TypeError: Cannot cast",
    "targets beyond": "a target is none of -1, 0 and 1",
    "too few targets": "what the engine returned cannot be read: ArrowInvalid",
    "own of text": "what the engine returned cannot be read: ValueError: could not convert",
    "a huge holding": "more shares are held than can be counted in USD",
    "0=4": "a fill is on a bar that there is not",
    "0=-1": "a fill is on a bar that there is not",
    "0=0": "fills are not in the order of time",
    "0=1.5": "what the engine returned cannot be read: TypeError",
    "1=0": "the side of a fill is neither 1 nor -1",
    "2=0": "a fill is of no shares, or of more than there are",
    "2=nan": "a fill is of no shares, or of more than there are",
    "2=0.000000001": "a fill is of less than 0.00000001 of a share",
    "2=10000000000": "a fill is worth more than can be counted in USD",
    "3=0.0": "the price of a fill is not above zero",
    "3=nan": "price is not a number in some rows",
    "4=nan": "commission is not a number in some rows",
}


def test_what_makes_no_sense_is_told_as_such(tmp_path: Path) -> None:
    told = outcomes(tmp_path, *GARBAGE, "fine")
    assert told.pop() == ("ok", "")
    for (does, expected), (kind, error) in zip(GARBAGE.items(), told, strict=True):
        assert (kind, error[: len(expected)]) == ("garbage", expected), does


def test_files_that_an_engine_damaged_are_told_as_such(tmp_path: Path) -> None:
    run(tmp_path, job("fine"))
    results = tmp_path / "process-0"
    fills, equity = results / "0.fills.parquet", results / "0.equity.parquet"
    sound = fills.read_bytes()
    fills.write_bytes(equity.read_bytes())
    with pytest.raises(GarbageError, match="fills have other columns: "):
        read_result(results, 0, BARS)
    fills.write_bytes(sound[:-9])
    with pytest.raises(GarbageError, match=r"0\.fills\.parquet cannot be read"):
        read_result(results, 0, BARS)
    fills.write_bytes(sound)
    equity.write_bytes(sound)
    with pytest.raises(GarbageError, match="there is no column equity of double"):
        read_result(results, 0, BARS)
    equity.unlink()
    with pytest.raises(GarbageError, match=r"0\.equity\.parquet cannot be read"):
        read_result(results, 0, BARS)
    (results / "0.json").write_text('{"kind": "splendid"}')
    with pytest.raises(GarbageError, match="the answer cannot be read"):
        read_answer(results, 0)
    said = '{"kind": "failed", "error": "\\u001b[31m%s"}' % ("x" * 100_000)
    (results / "0.json").write_text(said)
    answer = read_answer(results, 0)
    assert answer is not None
    assert answer.error.startswith("\\x1b[31mxxx"), "nothing that it says moves our cursor"
    assert len(answer.error) < 5_000
    for seconds in ("-1", "NaN", "Infinity"):
        spent = f'{{"seconds": {seconds}, "cpu_seconds": 0}}'
        (results / "0.json").write_text(f'{{"kind": "ok", "run": {spent}}}')
        with pytest.raises(GarbageError, match="the answer cannot be read"):
            read_answer(results, 0)
    (results / "0.json").unlink()
    (results / "0.json").mkdir()
    with pytest.raises(GarbageError, match="the answer cannot be read"):
        read_answer(results, 0)
    (results / "0.npy").write_bytes(b"no array")
    with pytest.raises(GarbageError, match=r"0\.npy cannot be read"):
        read_sweep(results, 0, (4, 2))
    np.save(results / "0.npy", np.ones((4, 1)))
    with pytest.raises(GarbageError, match=r"equity has shape \(4, 1\), not \(4, 2\)"):
        read_sweep(results, 0, (4, 2))


def test_strategies_without_a_native_form(tmp_path: Path) -> None:
    strategy = Named("random", "", (("does", "fine"),))
    ran = run(tmp_path, EngineJob("random", Mode.NATIVE, strategy, BARS, TARGETS))
    assert [(one.kind, one.error) for one in ran.outcomes] == [
        ("not-native", "it has no form in the engine's own idiom")
    ]


@pytest.mark.parametrize(
    ("code", "kind", "error"),
    [
        ("import nothing_of_this_name", "failed", "No module named 'nothing_of_this_name'"),
        ("import os; os.abort()", "crashed", "its process was ended by SIGABRT"),
    ],
)
def test_an_engine_that_cannot_be_imported(
    code: str, kind: str, error: str, tmp_path: Path
) -> None:
    runner = tmp_path / "broken_runner.py"
    runner.write_text(code)
    ran = run(tmp_path / "run", job("fine"), job("raise"), runner=runner)
    assert [one.kind for one in ran.outcomes] == [kind, kind]
    assert all(error in one.error for one in ran.outcomes)
    assert (ran.python, ran.versions) == ("", {})


def test_an_interpreter_that_is_gone(tmp_path: Path) -> None:
    gone = environment(str(tmp_path / "python"))
    with pytest.raises(EngineUnavailableError, match="cannot be started: No such file"):
        run_engine(ENGINE, gone, [job("fine")], Contract(), BOUNDS, tmp_path, runner=RUNNER)


def test_answers_of_an_earlier_run_are_not_taken(tmp_path: Path) -> None:
    assert outcomes(tmp_path, "fine") == [("ok", "")]
    assert outcomes(tmp_path, "raise") == [("failed", "KeyError: 'fast'")]


def test_no_jobs_need_no_process(tmp_path: Path) -> None:
    ran = run(tmp_path)
    assert (ran.outcomes, ran.seconds, ran.peak_mb) == ((), 0, 0)


# ----------------------------------------------------------------------------------- sweeps

SWEPT = np.array([[0, 1, 1], [1, 1, 0], [0, 0, 0], [1, 0, 1]], np.int8)


def fixed(shares: int) -> Contract:
    return Contract(sizing=Sizing.FIXED, shares=shares)


def test_a_sweep_comes_back_whole(tmp_path: Path) -> None:
    swept = run_sweep(
        ENGINE, environment(), BARS, SWEPT, fixed(9), BOUNDS, tmp_path, runner=RUNNER, warm_up=True
    )
    expected = SWEPT + (BARS.close / 10_000)[:, np.newaxis] + 4
    assert np.array_equal(swept.equity, expected)
    assert min(swept.import_seconds, swept.load_seconds, swept.run_seconds, swept.peak_mb) > 0
    assert swept.run_cpu_seconds >= 0


@pytest.mark.parametrize(
    ("shares", "function", "said"),
    [
        (1, "sweep", "crashed: its process was ended by SIGKILL"),
        (3, "sweep", "garbage: equity is not a number on some bars"),
        (5, "sweep_slowly", "failed: this engine runs no sweeps"),
    ],
)
def test_a_sweep_that_goes_wrong(shares: int, function: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=said):
        run_sweep(
            ENGINE,
            environment(),
            BARS,
            SWEPT,
            fixed(shares),
            BOUNDS,
            tmp_path,
            runner=RUNNER,
            function=function,
        )


# ------------------------------------------------------------------------------------- rules


def test_the_rules_that_a_runner_is_handed() -> None:
    from fluxhero.backtest.engine_files import rules_for
    from fluxhero.backtest.runners.job import Rules

    def rules(contract: Contract) -> Rules:
        return Rules(**rules_for(contract), volume=np.array([1000, 3000, 2000, 500]))

    plain = rules(Contract(volume_window=2))
    assert (plain.cash, plain.commission, plain.impact_fraction) == (100_000, 0.005, 0.1)
    assert plain.entry_shares(100_000, 50) == 1999  # floor(100,000 / (50.005 + 0.005))
    # On bar 3 the average of bars 1 and 2 is 2,500: above 250 shares it costs 5 basis points more.
    assert plain.fill_price(50, 1, 250, 3) == 50.005
    assert plain.fill_price(50, -1, 251, 3) == 49.97
    assert plain.fill_price(50, 1, 101, 1) == 50.03  # only bar 0 came before
    assert plain.filled(1_000, 50, 100) == 19
    assert plain.filled(1_000, 50, 19) == 19
    assert rules(Contract(cash_policy=CashPolicy.REJECT)).filled(1_000, 50, 100) == 0
    assert rules(Contract(cash_policy=CashPolicy.ALLOW)).filled(-5, 50, 100) == 100
    assert rules(fixed(7)).entry_shares(1, 50) == 7


def test_engines_have_names_and_locked_releases() -> None:
    assert engine_named("zipline").version == "3.2.1"
    with pytest.raises(
        BadInputError, match="no engine 'metatrader' → name one of: backtrader, vectorbt"
    ):
        engine_named("metatrader")
    assert isinstance(JobOutcome(job("fine"), "ok").own, dict)
