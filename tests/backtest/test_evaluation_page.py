"""The document says what the evaluation holds, the same each time, and survives what engines may say."""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fluxhero.backtest.evaluation import Evaluation
from fluxhero.backtest.evaluation_page import document, read_evaluation, write_page
from fluxhero.backtest.evaluation_plots import plots_of
from fluxhero.backtest.integration_plan import integration_plan
from fluxhero.backtest.scoring import decide
from fluxhero.errors import BadInputError
from tests.backtest.sample_evaluation import sample

SAMPLE = sample()


def without_engines(whole: Evaluation) -> Evaluation:
    empty = {"standings": (), "rows": (), "curves": (), "validations": (), "engines": ()}
    return whole.model_copy(update={**empty, "decision": decide([]), "failures": ()})


def test_an_evaluation_is_the_same_after_json() -> None:
    assert Evaluation.model_validate_json(SAMPLE.model_dump_json()) == SAMPLE
    assert "NaN" not in SAMPLE.model_dump_json()


def test_the_document_begins_with_the_decision_and_leaves_nothing_out() -> None:
    page = document(SAMPLE, ("scores",), "e.json")
    assert page.splitlines()[2] == "**bt fits: 8.2 of 10, the only one of 4 that qualifies.**"
    for said in (
        *(rule for rule in SAMPLE.decision.rules),
        "its licence does not allow it to be embedded (GPL-3.0-or-later",
        "unavailable: there is no Python 3.12",
        "timed-out: took longer than 1 \\| second in all",
        "| walk-forward | not measured: no walk-forward test was run | ? |",
        "strategy &lt;x> \\| raises",
        "2 bars without volume left out",
        "too few days",
    ):
        assert said in page
    assert page.count("](img/backtest-") == 1, "a plot that was not drawn is not shown"


def test_tables_are_tables_whatever_engines_say() -> None:
    page = document(SAMPLE, (), "e.json")
    for block in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(columns) == 1, block


def test_with_nothing_run_there_is_still_a_document() -> None:
    bare = without_engines(SAMPLE)
    assert plots_of(bare) == {}
    page = document(bare, (), "e.json")
    assert "**No engine was evaluated.**" in page
    assert "integration plan" not in page
    assert integration_plan(bare) is None


def test_the_plan_warns_of_what_was_measured() -> None:
    plan = integration_plan(SAMPLE)
    assert plan is not None
    assert "compute indicators once, outside of it" in plan
    assert "- licence: MIT: forbids nothing that matters here" in plan
    alike = tuple(row for row in SAMPLE.rows if row.mode != "native")
    calm = integration_plan(SAMPLE.model_copy(update={"rows": alike}))
    assert calm is not None
    assert "nothing differed by a cent" in calm


def test_files_are_written_beside_the_evaluation(tmp_path: Path) -> None:
    source = tmp_path / "evaluation.json"
    source.write_text(SAMPLE.model_dump_json(), encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "fluxhero.backtest.evaluation_page", str(source)], check=True
    )
    first = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    plots = ("scores", "matrix", "speed", "causes", "equity")
    assert {path.name for path in first} == {
        "evaluation.json",
        "BACKTESTING_EVALUATION.md",
        "backtesting-integration.md",
        *(f"backtest-{name}.svg" for name in plots),
    }
    for name in plots:
        drawn = (tmp_path / f"img/backtest-{name}.svg").read_text("utf-8")
        assert ElementTree.fromstring(drawn).tag.endswith("svg")
    assert set(write_page(source)) == set(first) - {source}
    again = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert again == first, "another process draws the same bytes"
    source.write_text(without_engines(SAMPLE).model_dump_json(), encoding="utf-8")
    write_page(source)
    assert not (tmp_path / "backtesting-integration.md").exists(), "no engine qualifies any more"
    source.write_text('{"run": 1}', encoding="utf-8")
    with pytest.raises(BadInputError, match="holds no evaluation"):
        read_evaluation(source)
