"""The whole evaluation with one engine for real and one that is not to be had."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from tests.backtest.conftest import EnvironmentOf
from tests.backtest.evaluating import evaluate

pytestmark = pytest.mark.measured


def test_an_engine_is_compared_and_a_missing_one_is_a_row(
    data: Path, environment_for: EnvironmentOf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = environment_for("backtrader").python
    pythons = f"backtrader={python},nautilus={tmp_path / 'no-python'}"
    monkeypatch.setenv("FLUXHERO_ENGINE_PYTHONS", pythons)
    report = evaluate(
        strategies=["moving-average-cross", "random", "perfect-predictor"],
        symbols=["sample:MSFT"],
        first=date(2008, 1, 2),
        engines=["backtrader", "nautilus"],
        speed_bars=2_000,
    )
    assert report.ok, report.failures
    engines = {line.engine: line for line in report.engines}
    assert engines["backtrader"].given == "3 of 3 to the cent"
    assert engines["nautilus"].status == "unavailable"
    assert "no-python" in engines["nautilus"].remark

    document = json.loads((Path(report.folder) / "evaluation.json").read_text())
    native = next(row for row in document["rows"] if row["mode"] == "native")
    found = native["agreement"]
    causes = sum((Decimal(cause["dollars"]) for cause in found["causes"]), Decimal(0))
    assert causes == Decimal(found["final_difference"])
    endings = {
        (row["strategy"], row["ending"]) for row in document["rows"] if row["mode"] == "native"
    }
    assert ("random", "not-native") in endings
    tests = {(one["engine"], one["test"]): one["passed"] for one in document["validations"]}
    for engine in ("reference", "backtrader"):
        assert tests[engine, "buy-and-hold"]
        assert tests[engine, "perfect-predictor"]
        assert tests[engine, "random"] is not None
        assert tests[engine, "walk-forward"] is not None
    used = next(one for one in document["engines"] if one["engine"] == "backtrader")
    assert used["sources"] == ["parquet", "duckdb"]
    assert used["speed_bars"] == 2_000
    assert used["speed_run_seconds"] > 0
    page = (data / "reports" / "evaluation-latest.html").read_text()
    assert "no-python" in page or "nautilus" in page
    assert "its licence does not allow it" in page
