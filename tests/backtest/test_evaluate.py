"""The whole evaluation without engines: what it says, what it keeps, and what bad input comes to."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from config.settings import Settings
from fluxhero.backtest.trials import trials_of
from fluxhero.errors import BadInputError, StrategyError
from fluxhero.integrity.passed import Passed
from fluxhero.integrity.recorded_scrub import scrub_recorded
from fluxhero.integrity.results import Outcome
from fluxhero.integrity.scope import Scope
from fluxhero.recorded import read_record
from tests.backtest.conftest import EnvironmentOf
from tests.backtest.evaluating import evaluate
from tests.samples import AS_OF

SHORT: dict[str, Any] = {
    "symbols": ["sample:AAPL", "sample:IBM"],
    "first": date(2006, 1, 3),
    "last": date(2008, 12, 31),
}
OWN = '''
import os
import shutil

import numpy as np

class Momentum:
    """Long while the close is above that of some bars ago."""

    GRID = {"back": (5, 20, 60)}

    def __init__(self, back: int = 20) -> None:
        self.back = back

    def targets(self, bars):
        close = bars["close"].to_numpy()
        wanted = np.zeros(len(close), dtype=np.int8)
        wanted[self.back:] = close[self.back:] > close[:-self.back]
        return wanted


class Peeking:
    def targets(self, bars):
        return (bars["close"].shift(-1) > bars["close"]).astype(int)


class Raising:
    def targets(self, bars):
        raise RuntimeError("no such indicator")


class Idle:
    def targets(self, bars):
        return np.zeros(len(bars))


class PeekingElsewhere:
    """Honest by default; some other values of its grid look ahead, raise or exit."""

    GRID = {"mode": ("honest", "peeks", "raises", "exits")}

    def __init__(self, mode: str = "honest") -> None:
        self.mode = mode

    def targets(self, bars):
        if self.mode == "raises":
            raise RuntimeError("not in this mode")
        if self.mode == "exits":
            os._exit(3)
        close = bars["close"]
        other = close.shift(-1) if self.mode == "peeks" else close.rolling(20).mean()
        return ((other > close) if self.mode == "peeks" else (close > other)).astype(int)


class Clearing:
    """Clears the folder it is run in."""

    def targets(self, bars):
        shutil.rmtree(os.getcwd())
        return np.ones(len(bars))
'''


@pytest.fixture
def own(data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's module in the folder where the command is run."""
    monkeypatch.chdir(data.parent)
    (data.parent / "own_strategy.py").write_text(OWN)
    return data


def test_a_strategy_of_ones_own_is_judged_and_everything_is_kept(own: Path) -> None:
    report = evaluate(strategies=["own_strategy:Momentum"], pdf=True, **SHORT)
    assert report.ok, report.failures
    assert report.headline.startswith("2 results: ")  # of no engine was anything asked
    assert {line.symbol for line in report.strategies} == {"AAPL", "IBM"}
    assert all(line.verdict and line.trades for line in report.strategies)

    folder = Path(report.folder)
    equity = pq.read_table(folder / "equity.parquet")
    assert set(equity["symbol"].to_pylist()) == {"AAPL", "IBM"}
    for name in ("orders", "fills", "round_trips", "equity", "rows"):
        record = read_record(folder / f"{name}.parquet")
        assert record is not None
        assert record.contents.rows > 0
    document = json.loads((folder / "evaluation.json").read_text())
    assert document["run"] == report.run
    assert not (own / "tmp" / f"evaluation-{report.run}").exists()

    # Three values of the grid, one of which is the default, on two symbols.
    trials = trials_of(own)
    assert (
        len(set(zip(trials["symbol"].to_pylist(), trials["parameters"].to_pylist(), strict=True)))
        == 6
    )
    luck = document["luck"][0]["luck"]
    assert luck["sharpe"]["trials"] == 3
    assert luck["walk_forward"]["candidates"] == 3

    sheets = sorted(path.name for path in (own / "reports").iterdir())
    assert len([name for name in sheets if name.endswith(".pdf")]) == 2
    page = (own / "reports" / "evaluation-latest.html").read_text()
    assert all(name in page for name in sheets if name.startswith("tearsheet"))
    assert "```mermaid" in report.markdown()

    scope = Scope.of(Settings(data_dir=own), now=AS_OF, deep=True)
    stored = scrub_recorded(scope, Passed(own / "passed.json"))
    assert {result.outcome for result in stored} == {Outcome.PASSED}

    again = evaluate(strategies=["own_strategy:Momentum"], **SHORT)
    assert again.run != report.run
    evaluation = json.loads((Path(again.folder) / "evaluation.json").read_text())
    assert evaluation["luck"][0]["luck"]["sharpe"]["trials"] == 3  # nothing new was tried


def test_a_strategy_that_fails_or_peeks_is_named_and_the_others_go_on(own: Path) -> None:
    names = [f"own_strategy:{name}" for name in ("Raising", "Peeking", "Momentum", "Missing")]
    report = evaluate(strategies=[*names, "perfect-predictor"], **SHORT)
    assert not report.ok
    told = "\n".join(report.failures)
    assert "no such indicator" in told
    assert "has no class Missing" in told
    assert "looks ahead" in told
    assert "perfect-predictor" not in told  # it cheats on purpose
    judged = {line.strategy: line.verdict for line in report.strategies if line.symbol == "AAPL"}
    assert "looks ahead" in judged["own_strategy:Peeking"]
    assert "looks ahead" in judged["perfect-predictor"]
    assert "own_strategy:Momentum(back=20)" in judged


def test_what_a_sweep_comes_upon_is_told(own: Path) -> None:
    report = evaluate(
        strategies=["own_strategy:PeekingElsewhere", "own_strategy:Clearing"],
        **{**SHORT, "symbols": ["sample:IBM"]},
    )
    told = "\n".join(report.failures)
    assert "PeekingElsewhere(mode=peeks) on IBM looks ahead" in told
    assert "1 of 4 combinations" in told
    assert "mode=exits) ended its process" in told
    verdicts = {line.strategy: line.verdict for line in report.strategies}
    assert verdicts["own_strategy:PeekingElsewhere(mode=honest)"].startswith("Not valid")
    document = json.loads((Path(report.folder) / "evaluation.json").read_text())
    unknown = "\n".join(document["luck"][0]["luck"]["unknown"])
    assert "mode=raises) raised RuntimeError: not in this mode" in unknown


def test_a_trial_without_a_sharpe_ratio_keeps_none_from_being_judged(own: Path) -> None:
    given = {**SHORT, "symbols": ["sample:IBM"]}
    evaluate(strategies=["own_strategy:Idle"], **given)
    report = evaluate(strategies=["own_strategy:Momentum"], grid=["back=20"], **given)
    (line,) = report.strategies
    assert "sure to beat the risk-free rate" in line.verdict


def test_bars_of_one_symbol_from_two_sources_are_not_mixed(own: Path) -> None:
    # The second would be shown with the first one's figures.
    symbols = ["sample:IBM", "IBM", "sample:IBM"]
    report = evaluate(strategies=["buy-and-hold"], **{**SHORT, "symbols": symbols})
    assert len(report.strategies) == 1
    (told,) = report.failures
    assert "there are bars of IBM already" in told


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"strategies": ["no-such"]}, "there is no strategy no-such"),
        ({"engines": ["no-such"]}, "there is no engine no-such"),
        ({"symbols": ["AAPL"]}, "fluxhero refresh AAPL"),
        ({"timeframe": "5Min"}, "the shipped bars are daily"),
        ({"first": date(2020, 1, 1)}, "they are of 2000 to 2013"),
        ({"first": date(2008, 1, 2), "last": date(2008, 1, 1)}, "there is no day"),
        ({"parameters": ["fast=5"]}, "name one strategy"),
        ({"strategies": ["random"], "parameters": ["hold"]}, "name=value"),
        ({"strategies": ["random"], "parameters": ["hold=1", "hold=2"]}, "once for each"),
        ({"strategies": ["random"], "grid": ["hold=1..9:0"]}, "has no end"),
        ({"strategies": ["random"], "parameters": ["such=1"]}, "such"),
        ({"sweep_engine": "bt"}, "bt runs no sweeps"),
    ],
)
def test_what_makes_no_sense_is_said_at_once(data: Path, given: dict[str, Any], what: str) -> None:
    with pytest.raises(BadInputError, match=what):
        evaluate(**given)


def test_the_only_strategy_that_cannot_be_imported_is_an_error(own: Path) -> None:
    (own.parent / "broken_strategy.py").write_text("import no_such_package\n")
    with pytest.raises(StrategyError, match="no_such_package"):
        evaluate(strategies=["broken_strategy:Any"])


@pytest.mark.slow
def test_a_sweep_by_another_engine_comes_to_the_same(
    own: Path, environment_for: EnvironmentOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = environment_for("vectorbt").python
    monkeypatch.setenv("FLUXHERO_ENGINE_PYTHONS", f"vectorbt={python}")
    sharpes = {}
    for engine in ("reference", "vectorbt"):
        report = evaluate(
            strategies=["own_strategy:Momentum"],
            sweep_engine=engine,
            **SHORT | {"symbols": ["sample:IBM"]},
        )
        assert report.ok, report.failures
        trials = trials_of(own).filter(pc.field("engine") == engine)
        rows = trials.filter(pc.field("run") == report.run).to_pylist()
        sharpes[engine] = {row["parameters"]: row["sharpe"] for row in rows}
    assert len(sharpes["vectorbt"]) == 3
    for parameters, sharpe in sharpes["vectorbt"].items():
        assert sharpe == pytest.approx(sharpes["reference"][parameters], abs=1e-6)
