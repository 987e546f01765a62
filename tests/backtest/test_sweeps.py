"""Sweeps: each combination is what simulating it says, whatever was killed, damaged or died on the way."""

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from config.settings import Settings
from fluxhero import progress
from fluxhero.backtest import sweep_parts, trials
from fluxhero.backtest.asking import targets_of
from fluxhero.backtest.bars import Bars
from fluxhero.backtest.contract import CashPolicy, Contract, Sizing
from fluxhero.backtest.engines import Engine
from fluxhero.backtest.environments import Environment, Installed
from fluxhero.backtest.fast import equity_units, simulate
from fluxhero.backtest.grid import read_grid
from fluxhero.backtest.isolation import Bounds
from fluxhero.backtest.loading import load
from fluxhero.backtest.overfitting import block_sums
from fluxhero.backtest.performance import curve, daily_returns, day_ends, performance
from fluxhero.backtest.sources import sample_bars
from fluxhero.backtest.strategy import Description, described
from fluxhero.backtest.sweep_files import read_part
from fluxhero.backtest.sweep_kernel import depth
from fluxhero.backtest.sweep_measures import Yardstick
from fluxhero.backtest.sweep_parts import PartDone, run_part
from fluxhero.backtest.sweeps import SweepPlan, plan_sweep, sweep_outcome, write_anew
from fluxhero.backtest.tables import units_of
from fluxhero.errors import (
    AlreadyRunningError,
    BadInputError,
    ConfigurationError,
    DamagedFileError,
    EngineError,
)
from fluxhero.integrity.passed import Passed
from fluxhero.integrity.recorded_scrub import scrub_recorded
from fluxhero.integrity.results import Outcome
from fluxhero.integrity.scope import Scope
from fluxhero.recorded import record_path, write_recorded
from tests.killed import dying_before, in_child
from tests.samples import AS_OF

pytestmark = pytest.mark.measured

REPOSITORY = Path(__file__).parents[2]
NEW_YORK = ZoneInfo("America/New_York")
BOUNDS = Bounds(seconds=30, memory_mb=2_048)
RULES = Contract()
CROSS = ["fast=5,10,20", "slow=10..30:10"]  # with two that the constructor refuses


@pytest.fixture(scope="module")
def bars() -> Bars:
    return sample_bars("AAPL").bars.head(900)


Planned = Callable[..., SweepPlan]


@pytest.fixture
def planned(bars: Bars, clean_environment: Path) -> Planned:
    """Plan a sweep with its results under the test's own folder."""

    descriptions: dict[tuple[str, bytes], Description] = {}

    def description(strategy: str) -> Description:
        """Of a user's module a process of its own is asked, once for each state of it."""
        mine = Path("mine.py")
        key = (strategy, mine.read_bytes() if mine.exists() else b"")
        if key not in descriptions:
            descriptions[key] = described(strategy)
        return descriptions[key]

    def plan(strategy: str, *grid: str, **changes: Any) -> SweepPlan:
        given: dict[str, Any] = {"bars": bars, "contract": RULES, "risk_free": 0.04}
        given |= {"data_dir": clean_environment / "data", "zone": NEW_YORK} | changes
        return plan_sweep(description(strategy), read_grid(grid), **given)

    return plan


def small_parts(monkeypatch: pytest.MonkeyPatch, combinations: int) -> None:
    """Cut even small sweeps into parts, of at most so many combinations."""
    monkeypatch.setattr("fluxhero.backtest.sweeps._A_PART", combinations)


def run_all(plan: SweepPlan, bounds: Bounds = BOUNDS) -> list[PartDone]:
    return [run_part(plan, number, bounds) for number in range(plan.parts)]


def write_module(name: str, code: str) -> None:
    Path(f"{name}.py").write_text(textwrap.dedent(code), encoding="utf-8")


def test_each_combination_is_what_simulating_it_says(
    planned: Planned, bars: Bars, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_parts(monkeypatch, 5)
    plan = planned("moving-average-cross", *CROSS)
    assert (plan.parts, len(plan.strategies)) == (2, 9)
    seen: list[tuple[str, int, int | None, str]] = []
    with progress.watched_by(lambda *told: seen.append(told)):
        done = run_all(plan)
    assert [one.tried for one in done] == [4, 5]
    assert sum(one.failed for one in done) == 3
    assert seen[-1] == (f"sweep {plan.id[:8]}", 9, 9, "combinations")
    outcome = sweep_outcome(plan)
    assert outcome.failed == 3
    frame = bars.frame()
    returns, sharpes = [], {}
    for strategy, row in zip(plan.strategies, outcome.table.to_pylist(), strict=True):
        fast, slow = (int(value) for _, value in strategy.parameters)
        if fast >= slow:
            assert row["outcome"] == "failed"
            assert "fast has to be at least 1 and below slow" in row["error"]
            assert row["sharpe"] is row["trades"] is None
            continue
        made = load(strategy.reference, strategy.parameters)
        targets = targets_of(made, frame, allow_short=False, label="")
        result = simulate(bars, targets, RULES)
        expected = performance(result, bars, RULES, 0.04, NEW_YORK).model_dump()
        for name in set(expected) & set(row):
            assert row[name] == pytest.approx(expected[name], rel=1e-9), name
        assert (row["outcome"], row["error"], row["parameters"]) == ("ok", "", strategy.json)
        returns.append(daily_returns(result.equity, RULES.cash, NEW_YORK))
        sharpes[strategy] = row["sharpe"]
    sums = block_sums(np.array(returns).T)
    assert outcome.sums is not None
    assert outcome.sums.count.tolist() == sums.count.tolist()
    np.testing.assert_allclose(outcome.sums.total, sums.total, rtol=1e-9)
    np.testing.assert_allclose(outcome.sums.squares, sums.squares, rtol=1e-9)
    assert outcome.best is not None
    assert sharpes[outcome.best] == max(sharpes.values())
    assert (dict(outcome.best.parameters), max(sharpes.values())) in outcome.surface
    made_trials = outcome.trials()
    trials.register(plan.data_dir, "r", AS_OF, made_trials)
    assert trials.count_trials(trials.trials_of(plan.data_dir, data=bars.digest)).number == 6
    check_storage_is_sound(plan)
    assert [one.tried for one in run_all(planned("moving-average-cross", *CROSS))] == [0, 0]
    damaged_parts_are_run_again(plan, outcome.table)


def check_storage_is_sound(plan: SweepPlan) -> None:
    settings = Settings(data_dir=plan.data_dir)
    memory = Passed(plan.data_dir / "passed.json")
    results = scrub_recorded(Scope.of(settings, now=AS_OF, deep=True), memory)
    assert {result.outcome for result in results} == {Outcome.PASSED}
    checked = {result.object for result in results}
    assert sum("evaluations/" in one for one in checked) == 4, "bars, two parts, the trials"
    assert not list((plan.data_dir / "tmp" / "sweeps" / plan.id).iterdir())


def damaged_parts_are_run_again(plan: SweepPlan, table: pa.Table) -> None:
    first, second = plan.part_path(0), plan.part_path(1)
    content = first.read_bytes()
    first.write_bytes(content[:-9] + b"x" * 9)
    second.with_name(second.name + ".json").write_text("{}", encoding="utf-8")
    settings = Settings(data_dir=plan.data_dir)
    memory = Passed(plan.data_dir / "passed.json")
    found = scrub_recorded(Scope.of(settings, now=AS_OF, deep=True), memory)
    faulty = {one.object for one in found if one.outcome is Outcome.FAILED}
    assert any(first.name in one for one in faulty)
    for number in range(2):
        with pytest.raises(DamagedFileError, match="run the sweep again"):
            sweep_outcome(plan)
        assert run_part(plan, number, BOUNDS).tried == len(plan.part(number))
    assert sweep_outcome(plan).table.equals(table)


def test_what_makes_it_another_sweep(planned: Planned, bars: Bars) -> None:
    one = planned("mean-reversion", "window=10,20")
    assert planned("mean-reversion", "window=10..20:10").id == one.id
    others = [
        planned("mean-reversion", "window=10,30"),
        planned("mean-reversion", "window=10,20", given={"entry": "1.5"}),
        planned("mean-reversion", "window=10,20", risk_free=0.0),
        planned("mean-reversion", "window=10,20", contract=Contract(slippage_bp=2)),
        planned("mean-reversion", "window=10,20", engine="vectorbt"),
        planned("mean-reversion", "window=10,20", bars=bars.head(800)),
    ]
    assert len({one.id, *(other.id for other in others)}) == 7
    proposed = planned("mean-reversion")
    assert len(proposed.strategies) == 32, "what the strategy proposes"
    assert {dict(one.parameters)["window"] for one in proposed.strategies} == {10, 20, 30, 50}
    write_module("mine", STUBBORN)
    before = planned("mine:Stubborn", "how=ok").id
    write_module("mine", STUBBORN + "    # edited\n")
    assert planned("mine:Stubborn", "how=ok").id != before


@pytest.mark.parametrize(
    ("strategy", "grid", "changes", "told"),
    [
        ("buy-and-hold", [], {}, "buy-and-hold proposes no values"),
        ("mean-reversion", ["windows=1,2"], {}, "no parameter windows"),
        ("mean-reversion", ["window=1.5"], {}, "window=1.5 is no int"),
        ("mean-reversion", ["window=5"], {"given": {"window": 7}}, "given once as 7"),
        ("mean-reversion", ["entry=1,1.0"], {}, "are the same"),
        ("random", ["seed=1..400", "hold=1..400"], {}, "160,000 combinations"),
    ],
)
def test_plans_that_make_no_sense(
    planned: Planned, strategy: str, grid: list[str], changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(BadInputError, match=told):
        planned(strategy, *grid, **changes)


def test_the_work_is_cut_into_few_parts_that_cover_it(planned: Planned) -> None:
    for last, parts in ((1, 1), (125, 1), (126, 2), (251, 3), (9_999, 32)):
        plan = planned("random", f"seed=1..{last}")
        assert plan.parts == parts
        ranges = [plan.part(number) for number in range(parts)]
        assert [place for one in ranges for place in one] == list(range(last))
        assert len({plan.part_path(number) for number in range(parts)}) == parts


STUBBORN = """
    import os
    import time
    from pathlib import Path

    HOME = Path(__file__).parent

    class Stubborn:
        def __init__(self, how: str = "ok", number: int = 0):
            self.how = how
            self.number = number

        def targets(self, bars):
            if self.how == "raise":
                raise ValueError("no luck")
            if self.how == "short":
                return [1]
            if self.how == "exit" and not (HOME / "mended").exists():
                os._exit(0)
            if self.how == "hang" and not (HOME / "mended").exists():
                time.sleep(100)
            if self.number == 3 and (HOME / "stop").exists():
                (HOME / "reached").touch()
                while not (HOME / "go").exists():
                    time.sleep(0.01)
            return (bars["close"] > bars["close"].shift(1 + self.number)).astype(int)
"""


def test_what_dies_costs_only_itself_and_is_tried_again(
    planned: Planned, clean_environment: Path
) -> None:
    write_module("mine", STUBBORN)
    plan = planned("mine:Stubborn", "number=1", "how=ok,raise,exit,short,hang,ok2")
    run_all(plan, Bounds(seconds=4, memory_mb=2_048))
    rows = {row["parameters"]: row for row in sweep_outcome(plan).table.to_pylist()}
    found = {
        dict(one.parameters)["how"]: (rows[one.json]["outcome"], rows[one.json]["error"])
        for one in plan.strategies
    }
    assert found["ok"] == found["ok2"] == ("ok", "")
    assert found["raise"][0] == "failed"
    assert "ValueError: no luck at mine.py" in found["raise"][1]
    assert found["short"][0] == "failed"
    assert found["exit"][0] == found["hang"][0] == "died"
    assert "exited with status 0" in found["exit"][1]
    assert "took longer than 4 seconds" in found["hang"][1]
    (clean_environment / "mended").touch()
    assert [one.tried for one in run_all(plan)] == [2], "only those that died"
    assert sweep_outcome(plan).failed == 2


def test_too_many_deaths_end_a_part(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_parts, "_MOST_DEATHS", 1)
    write_module("mine", STUBBORN)
    plan = planned("mine:Stubborn", "how=exit", "number=1..4")
    assert run_part(plan, 0, BOUNDS).failed == 4
    errors = pq.read_table(plan.part_path(0))["error"].to_pylist()
    assert "ended its process" in errors[0]
    assert set(errors[1:]) == {"not tried, as 1 combination before it ended their process"}


def run_elsewhere(plan_code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", plan_code],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


ELSEWHERE = """
import pickle
from fluxhero.backtest.isolation import Bounds
from fluxhero.backtest.sweep_parts import run_part
run_part(pickle.load(open("plan.pickle", "rb")), 0, Bounds(60, 2048))
"""


def test_killed_in_the_midst_of_a_part_it_resumes_to_the_same_table(
    planned: Planned, clean_environment: Path
) -> None:
    write_module("mine", STUBBORN)
    plan = planned("mine:Stubborn", "number=0..7")
    Path("plan.pickle").write_bytes(pickle.dumps(plan))
    Path("stop").touch()
    process = run_elsewhere(ELSEWHERE)
    while not Path("reached").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not plan.part_path(0).exists()
    with pytest.raises(DamagedFileError, match="is gone"):
        sweep_outcome(plan)
    Path("stop").unlink()
    Path("go").touch()  # what it left behind notices that nobody wants its results
    resumed = planned("mine:Stubborn", "number=0..7")
    run_all(resumed)
    undisturbed = planned("mine:Stubborn", "number=0..7", data_dir=clean_environment / "other")
    run_all(undisturbed)
    assert resumed == plan
    assert sweep_outcome(resumed).table.equals(sweep_outcome(undisturbed).table)


def test_killed_while_it_writes_a_part(planned: Planned) -> None:
    plan = planned("random", "seed=1")
    run_all(plan)
    table, path = read_part(plan.part_path(0), plan.part(0)), plan.part_path(0)
    ended, call, whole = -signal.SIGKILL, 0, 0
    while ended:

        def work() -> None:
            dying_before(call, ("replace", "fsync", "unlink"))  # noqa: B023 - done before the next
            write_anew(path, table)

        ended = in_child(work)
        call += 1
        if not (path.exists() and record_path(path).exists()):
            with pytest.raises(DamagedFileError):
                sweep_outcome(plan)  # never half of it
        else:
            assert read_part(path, plan.part(0)).equals(table)
            whole += 1
    assert call > whole > 1
    path.unlink()
    assert run_part(plan, 0, BOUNDS).tried == 1, "what is half there is found again"
    assert read_part(path, plan.part(0)).equals(table)


def test_several_at_one_part(planned: Planned, monkeypatch: pytest.MonkeyPatch) -> None:
    small_parts(monkeypatch, 2)
    plan = planned("random", "seed=1..3")
    done: list[PartDone] = []
    threads = [
        threading.Thread(target=lambda: done.append(run_part(plan, 1, BOUNDS))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.tried for one in done) == [0, 0, 2], "one works, the others find it done"
    monkeypatch.setattr(sweep_parts, "_START_SECONDS", 0.0)
    with (
        FileLock(plan.folder / ".part-01.lock"),
        pytest.raises(AlreadyRunningError, match="at part 1 of the sweep"),
    ):
        run_part(plan, 0, Bounds(seconds=0.01, memory_mb=100))
    monkeypatch.setattr("fluxhero.backtest.sweeps._LOCK_SECONDS", 0.05)
    with (
        FileLock(plan.folder / ".lock"),
        pytest.raises(AlreadyRunningError, match="writing to"),
    ):
        planned("random", "seed=1..3")


def test_bars_that_are_damaged_or_others_are_never_used(planned: Planned, bars: Bars) -> None:
    plan = planned("random", "seed=1")
    other = planned("random", "seed=1", bars=bars.head(500))
    sound = plan.bars_path.read_bytes()

    def refused(told: str) -> None:
        with pytest.raises(DamagedFileError, match=told):
            run_part(plan, 0, BOUNDS)

    plan.bars_path.write_bytes(sound[:-1])
    refused("not what its record says")
    for path in (plan.bars_path, plan.bars_path.with_name("bars.parquet.json")):
        path.write_bytes(other.bars_path.with_name(path.name).read_bytes())
    refused("others than those of the sweep")
    write_recorded(plan.bars_path, pa.table({"ends": [1]}), AS_OF)
    refused("holds no bars of a sweep")
    assert planned("random", "seed=1") == plan
    assert plan.bars_path.exists(), "planning it again mends them"
    write_recorded(plan.part_path(0), pa.table({"combination": [0]}), AS_OF)
    assert run_part(plan, 0, BOUNDS).tried == 1
    write_recorded(plan.part_path(0), pq.read_table(plan.part_path(0)).slice(1), AS_OF)
    with pytest.raises(DamagedFileError, match="other combinations"):
        sweep_outcome(plan)


def test_a_process_that_does_not_come_up(planned: Planned) -> None:
    with pytest.raises(ConfigurationError, match="did not come up") as caught:
        run_part(planned("random", "seed=1"), 0, Bounds(seconds=5, memory_mb=10))
    assert "FLUXHERO_ENGINE_MEMORY_MB" in caught.value.next_step


def test_measures_are_those_of_a_single_backtest(bars: Bars) -> None:
    yardstick = Yardstick(bars, RULES, 0.04, NEW_YORK)
    last = day_ends(bars.ends, NEW_YORK)
    chance = np.random.default_rng(1)
    for scale in (0.0, 0.001, 0.05):
        steps = np.exp(np.cumsum(chance.normal(0, scale, len(bars))))
        units = (steps * 1e13).astype(np.int64)
        found = yardstick.measured(units, 7)
        expected = vars(curve(units / 1e8, 1e5, bars.ends, last, 0.04))
        for name, value in expected.items():
            assert found[name] == (value and pytest.approx(value, rel=1e-9)), name
        interpreted = getattr(depth, "py_func")(units, units_of(RULES.cash), bars.ends)  # noqa: B009
        assert interpreted == depth(units, units_of(RULES.cash), bars.ends), "as compiled"
    lost = np.full(len(bars), -5, np.int64)
    found = yardstick.measured(lost, None)
    assert found["total"] is found["sharpe"] is found["trades"] is None


def test_what_lost_everything_is_left_out_of_the_sums(planned: Planned) -> None:
    write_module("mine", STUBBORN.replace(".astype(int)", ".astype(int) * 0 - 1"))
    rules = Contract(
        allow_short=True, sizing=Sizing.FIXED, shares=900_000, cash_policy=CashPolicy.ALLOW
    )
    plan = planned("mine:Stubborn", "number=1", contract=rules)
    run_all(plan)
    outcome = sweep_outcome(plan)
    assert outcome.table["outcome"].to_pylist() == ["ok"]
    assert outcome.sums is None
    assert outcome.best is None


@dataclass(frozen=True)
class OwnEngine(Engine):
    """One that is run from a file of the test's."""

    file: Path = Path("own_runner.py")

    @property
    def runner(self) -> Path:
        return self.file


def own_environment() -> Environment:
    engine = OwnEngine("own", "own", (3, 11), (3, 13), Path("own_runner.py").absolute())
    installed = Installed(
        python="3",
        version="1",
        versions={},
        missing=(),
        needs=(),
        bytes=0,
        requires_python="",
        licence="",
    )
    return Environment(engine, Path(sys.executable), installed)


def test_another_engine_trades_the_same_targets(
    planned: Planned, bars: Bars, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_parts(monkeypatch, 2)
    write_module("own_runner", OWN_RUNNER)
    rules = Contract(sizing=Sizing.FIXED, shares=1, commission=Decimal(0), slippage_bp=0)
    plan = planned("moving-average-cross", "fast=6,5,30", contract=rules, engine="own")
    with pytest.raises(ConfigurationError, match="needs the environment of own"):
        run_part(plan, 0, BOUNDS)
    monkeypatch.setattr("fluxhero.backtest.sweep_engine._CELLS_AT_ONCE", len(bars))
    run_part(plan, 1, BOUNDS, own_environment())
    yardstick, frame = Yardstick(bars, rules, 0.04, NEW_YORK), bars.frame()
    rows = read_part(plan.part_path(1), plan.part(1)).to_pylist()
    for one, row in zip(plan.strategies[1:], rows, strict=True):
        assert (row["outcome"], row["trades"]) == ("ok", None), "an engine's sweep counts no trades"
        made = load(one.reference, one.parameters)
        targets = targets_of(made, frame, allow_short=False, label="")
        expected = yardstick.measured(equity_units(bars, targets, rules), None)
        for name in ("sharpe", "max_drawdown", "total_return"):
            assert row[name] == pytest.approx(expected[name], rel=1e-9)
    write_module("own_runner", "def sweep(job):\n    raise RuntimeError('no licence')\n")
    with pytest.raises(EngineError, match="no licence"):
        run_part(plan, 0, BOUNDS, own_environment())


OWN_RUNNER = """
    import numpy as np
    from fluxhero.backtest.runners.job import SweepJob

    def sweep(job: SweepJob):
        # One share, no costs: held from the open after a signal to the open after the next.
        held = np.vstack([np.zeros((1, job.targets.shape[1])), job.targets[:-1]])
        bought = np.diff(held, axis=0, prepend=0) * job.open[:, None]
        return job.rules.cash - np.cumsum(bought, axis=0) + held * job.close[:, None]
"""
