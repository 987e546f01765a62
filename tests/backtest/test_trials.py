"""The register of trials: nothing is ever lost from it or counted twice, and a missing part of it shows."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from filelock import FileLock

from fluxhero.archive.workspace import Workspace
from fluxhero.backtest import trials
from fluxhero.backtest.contract import CashPolicy, Contract
from fluxhero.backtest.trials import (
    SCHEMA,
    Trial,
    contract_json,
    count_trials,
    read_trials,
    register,
    trial_files,
    trials_of,
)
from fluxhero.errors import AlreadyRunningError, DamagedFileError
from fluxhero.ledger.query import run_query
from fluxhero.recorded import record_path, write_recorded
from tests.killed import dying_before, in_child
from tests.protocol import workspace_of
from tests.samples import Sample

AT = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)
RULES = contract_json(Contract())


def trial(parameters: str = "{}", **values: object) -> Trial:
    fields = {
        "strategy": "mean-reversion",
        "reference": "fluxhero.backtest.shipped:MeanReversion",
        "parameters": parameters,
        "symbol": "AAPL",
        "timeframe": "1d",
        "data": "d1",
        "contract": RULES,
        "sharpe": 0.5,
    }
    return Trial(**{**fields, **values})  # type: ignore[arg-type]


def test_what_is_registered_comes_back_in_its_order(tmp_path: Path) -> None:
    first = register(tmp_path, "20261120T210000Z-ab12", AT, [trial("a", sharpe=float("nan"))])
    again = register(
        tmp_path,
        "20261120T210000Z-ab12",
        AT + timedelta(seconds=1),
        [trial("b", data="d2"), trial("c", symbol="IBM", outcome="failed", error="raised")],
    )
    assert (first.name, again.name) == (
        "20261120T210000Z-ab12.parquet",
        "20261120T210000Z-ab12.2.parquet",
    )
    register(tmp_path, "20261120T200000Z-cd34", AT - timedelta(hours=1), [trial("z")])
    found = trials_of(tmp_path)
    assert found.schema.equals(SCHEMA)
    assert found["parameters"].to_pylist() == ["z", "a", "b", "c"]
    assert found["sharpe"].to_pylist() == [0.5, None, 0.5, 0.5], "no number is not a number"
    assert trials_of(tmp_path, data="d2")["parameters"].to_pylist() == ["b"]
    assert trials_of(tmp_path, symbol="AAPL", timeframe="1d").num_rows == 3
    assert trials_of(tmp_path, timeframe="1m").num_rows == 0
    assert trials_of(tmp_path / "nothing").num_rows == 0


def test_a_run_again_is_no_new_trial(tmp_path: Path) -> None:
    def count() -> int:
        return count_trials(trials_of(tmp_path)).number

    register(tmp_path, "r1", AT, [trial("a", sharpe=1.0), trial("b", sharpe=2.0)])
    register(tmp_path, "r2", AT, [trial("a", sharpe=1.0), trial("b", sharpe=2.0)])
    assert count() == 2, "the same again"
    register(tmp_path, "r3", AT, [trial("a", engine="backtrader", mode="native", sharpe=9.0)])
    register(tmp_path, "r4", AT, [trial("a", data="another day", sharpe=1.5)])
    counted = count_trials(trials_of(tmp_path))
    assert counted.number == 2, "another engine, and bars to which a day was added"
    assert sorted(counted.sharpes) == [1.5, 2.0], "the reference's latest, not another engine's"
    register(tmp_path, "r5", AT, [trial("c", outcome="failed", sharpe=None)])
    assert count() == 2, "among failed ones nothing can be chosen"
    register(tmp_path, "r6", AT, [trial("a", code="edited"), trial("a", reference="mine:Mine")])
    assert count() == 4
    register(tmp_path, "r7", AT, [trial("a", contract=contract_json(Contract(shares=7)))])
    assert count() == 5
    register(tmp_path, "r8", AT, [trial("flat", sharpe=None)])
    counted = count_trials(trials_of(tmp_path))
    assert (counted.number, len(counted.sharpes)) == (6, 5), "without a Sharpe ratio, but tried"


def test_how_much_sharpe_ratios_vary(tmp_path: Path) -> None:
    assert count_trials(SCHEMA.empty_table()).sharpe_variance is None
    register(tmp_path, "r", AT, [trial(str(n), sharpe=n) for n in (1.0, 2.0, 4.0)])
    assert count_trials(trials_of(tmp_path)).sharpe_variance == pytest.approx(7 / 3)


def test_rules_that_are_equal_are_the_same_text() -> None:
    same = Contract.model_validate({"cash": "100000.00", "commission": "0.00500"})
    assert contract_json(same) == RULES
    assert contract_json(Contract(cash_policy=CashPolicy.ALLOW)) != RULES


def test_several_at_once_get_files_of_their_own(tmp_path: Path) -> None:
    threads = [
        threading.Thread(target=register, args=(tmp_path, "same", AT, [trial(str(number))]))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count_trials(trials_of(tmp_path)).number == len(trial_files(tmp_path)) == 8


def test_who_waits_in_vain_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "_LOCK_SECONDS", 0.05)
    register(tmp_path, "r", AT, [trial()])
    with (
        FileLock(tmp_path / trials.FOLDER / ".lock"),
        pytest.raises(AlreadyRunningError, match="another process"),
    ):
        register(tmp_path, "r", AT, [trial()])


@pytest.mark.parametrize("call", range(12))
def test_killed_anywhere_it_is_registered_whole_or_not_at_all(tmp_path: Path, call: int) -> None:
    register(tmp_path, "before", AT, [trial("a")])

    def work() -> None:
        dying_before(call, ("replace", "fsync"))
        register(tmp_path, "killed", AT, [trial("b"), trial("c")])

    in_child(work)
    assert trials_of(tmp_path)["parameters"].to_pylist() in (["a"], ["a", "b", "c"])
    register(tmp_path, "killed", AT, [trial("b"), trial("c")])
    assert count_trials(trials_of(tmp_path)).number == 3


def test_a_file_that_is_gone_or_damaged_is_never_passed_over(tmp_path: Path) -> None:
    path = register(tmp_path, "r1", AT, [trial("a"), trial("b")])
    other = register(tmp_path, "r2", AT, [trial("c")])
    whole, record = path.read_bytes(), record_path(path).read_bytes()

    def refused(told: str) -> None:
        with pytest.raises(DamagedFileError, match=told) as caught:
            trials_of(tmp_path)
        assert "backup" in caught.value.next_step

    path.unlink()
    refused("it is gone")
    path.write_bytes(whole[:-20])
    refused("not what its record says")
    path.write_bytes(other.read_bytes())
    refused("not what its record says")
    path.write_bytes(whole)
    record_path(path).write_bytes(b"{}")
    refused("is damaged")
    record_path(path).write_bytes(record)
    assert trials_of(tmp_path).num_rows == 3
    write_recorded(other, trials_of(tmp_path).drop_columns(["code"]), AT)
    refused("code is missing")
    other.write_bytes(b"no parquet")
    record_path(other).write_text(record_of(other), encoding="utf-8")
    refused(str(other))
    with pytest.raises(DamagedFileError, match="gone"):
        read_trials(tmp_path / "none.parquet")


def record_of(path: Path) -> str:
    """A record that fits whatever bytes the file has."""
    import hashlib
    import re

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    text = record_path(path).read_text(encoding="utf-8")
    return re.sub(r'("sha256": ?)"\w+"', rf'\1"{digest}"', text, count=1)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A data folder without a store."""
    none = Sample("duckdb", tmp_path / "none.duckdb", frozenset(), frozenset())
    return workspace_of(none, tmp_path / "data=1")


def test_trials_can_be_asked_for_in_sql(workspace: Workspace) -> None:
    def described() -> dict[str, str]:
        rows = run_query(workspace, "DESCRIBE trials").rows
        return {row[0]: row[1] for row in rows}

    empty = described()
    assert list(empty) == SCHEMA.names
    assert run_query(workspace, "SELECT count(*) FROM trials").rows == ((0,),)
    register(workspace.data_dir, "r1", AT, [trial("a"), trial("b", sharpe=None)])
    register(workspace.data_dir, "r2", AT, [trial("a", sharpe=1.5)])
    assert described() == empty
    found = run_query(workspace, "SELECT parameters, max(sharpe) FROM trials GROUP BY 1 ORDER BY 1")
    assert found.rows == (("a", 1.5), ("b", None))
    folder = workspace.data_dir / trials.FOLDER
    assert run_query(workspace, f"SELECT count(*) FROM '{folder}/*.parquet'").rows == ((3,),)


@pytest.mark.parametrize("how", ["cut", "page", "gone"])
def test_a_damaged_file_of_trials_is_named(workspace: Workspace, how: str) -> None:
    path = register(workspace.data_dir, "r1", AT, [trial("a"), trial("b", sharpe=None)])
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(
            content[:200] if how == "cut" else content[:4] + bytes(300) + content[304:]
        )
    with pytest.raises(DamagedFileError, match=r"r1\.parquet") as caught:
        run_query(workspace, "SELECT sum(hash(t)) FROM trials t")
    assert "backup" in caught.value.next_step
