"""Every criterion is measured on what was run or says why not; the decision follows from the rules."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from config.settings import Settings
from fluxhero.backtest.agreement import Agreement
from fluxhero.backtest.criteria import CRITERIA, criteria_of
from fluxhero.backtest.engines import engine_named
from fluxhero.backtest.evaluation import EngineUsed, Measure, Row, Standing
from fluxhero.backtest.runs import Mode
from fluxhero.backtest.scoring import RULES, decide, standing, standings
from fluxhero.backtest.trials import REFERENCE as REFERENCE_NAME
from fluxhero.backtest.used import engine_used
from fluxhero.errors import ConfigurationError
from tests.backtest import sample_evaluation as made

WEIGHTS = dict(Settings(_env_file=None).evaluation_weights)
GOOD = made.outcome()


def measured(name: str, used: EngineUsed | None = None, rows: list[Row] | None = None) -> Measure:
    used = used or made.used_of("bt", [GOOD])
    rows = made.rows_of("bt", [GOOD]) if rows is None else rows
    found = criteria_of(used, rows, [made.walked("bt", True)], made.CONTRACT, WEIGHTS)
    return next(one for one in found if one.criterion == name)


def test_the_criteria_are_those_that_the_settings_weigh() -> None:
    assert tuple(CRITERIA) == tuple(WEIGHTS)
    with pytest.raises(ConfigurationError, match=r"weighs beauty.*name any of: agreement"):
        criteria_of(made.used_of("bt", [GOOD]), [], [], made.CONTRACT, {"beauty": Decimal(9)})


def with_speed(seconds: float | None, **more: object) -> EngineUsed:
    return made.used_of("bt", [GOOD]).model_copy(update={"speed_seconds": seconds, **more})


def with_facts(**more: object) -> EngineUsed:
    used = made.used_of("bt", [GOOD])
    assert used.facts is not None
    return used.model_copy(update={"facts": used.facts.model_copy(update=more)})


@pytest.mark.parametrize(
    ("name", "used", "score"),
    [
        ("speed", with_speed(0.4), 10),
        ("speed", with_speed(10.0), 5),
        ("speed", with_speed(100.0), 0),
        ("speed", with_speed(4_000.0), 0),
        ("speed", with_speed(None, speed_failure="timed-out: took longer than 60 seconds"), 0),
        ("memory", with_speed(1, speed_peak_mb=256.0), 10),
        ("memory", with_speed(1, speed_peak_mb=4096.0), 0),
        ("import", with_speed(1, import_seconds=5.0), 5),
        ("dependencies", with_facts(megabytes=500.0), 10 - 10 / 3),
        ("python", with_facts(requires_python=">=3.10,!=3.12.*"), 20 / 3),
        ("python", with_facts(requires_python=">=3.11.4"), 10),
        ("licence", with_facts(licence="Apache 2.0 with Commons Clause"), 3),
        ("licence", with_facts(licence="GNU Affero General Public License v3"), 0),
        ("licence", with_facts(licence="GNU Lesser General Public License v3"), 7),
        ("licence", with_facts(licence="LGPL-3.0-or-later"), 7),
        ("licence", with_facts(licence="GPLv3+"), 2),
        ("licence", with_facts(licence="Apache-2.0"), 10),
        ("activity", with_facts(last_release=date(2026, 11, 1)), 10),
        ("activity", with_facts(last_release=date(2023, 4, 19), releases_in_year=0), 0),
        ("data", with_speed(1, sources=("parquet",), sources_failed=("duckdb: crashed",)), 5),
        ("walk-forward", None, 10),
    ],
)
def test_a_value_becomes_a_score_by_its_rule(
    name: str, used: EngineUsed | None, score: float
) -> None:
    assert measured(name, used).score == pytest.approx(score, abs=1e-4)


def test_what_was_not_measured_says_why_and_is_never_guessed() -> None:
    bare = EngineUsed(engine="bt", status="ran")
    found = criteria_of(bare, [], [], made.CONTRACT, WEIGHTS)
    assert all(one.score is None and one.value is None and one.text for one in found)
    absent = EngineUsed(engine="bt", status="unavailable", reason="no Python 3.12")
    found = criteria_of(absent, [], [], made.CONTRACT, WEIGHTS)
    assert {one.text for one in found} == {"unavailable: no Python 3.12"}
    few = engine_used(
        made.run_of(engine_named("bt"), [GOOD]),
        made.facts("Custom", None),
        made.speed_of(engine_named("bt"), 1.0, 5_000),
        {},
    )
    assert "5,000 bars" in measured("speed", few).text
    assert measured("licence", few).text == "its licence is not one known here: Custom"
    assert measured("activity", few).text == "its releases have not been looked up"
    unknown = with_facts(requires_python="", licence="")
    assert measured("python", unknown).text.startswith("its metadata does not say")
    assert measured("licence", unknown).text.endswith("none stated")


def test_its_own_idiom_is_scored_by_distance_and_conduct() -> None:
    rows = made.rows_of("bt", [GOOD, made.native()])
    assert measured("native-agreement", rows=rows).score == 4
    assert measured("costs", rows=rows).score == 5, "the commission is right, slippage is double"
    assert measured("next-bar-fill", rows=rows).score == 10
    same = made.rows_of("bt", [replace(made.native(), result=made.REFERENCE, targets=None)])
    assert measured("native-agreement", rows=same).score == 10
    dead = made.rows_of("bt", [made.outcome(None, Mode.NATIVE, "crashed", "signal 11")])
    failed = measured("native-agreement", rows=dead)
    assert (failed.score, failed.value) == (0, None)
    assert measured("costs", rows=dead).score is None
    other = made.rows_of("bt", [made.outcome(None, Mode.NATIVE, "not-native", "no form")])
    assert measured("native-agreement", rows=other).score is None


def test_its_own_figures_count_with_their_sign() -> None:
    shared = made.rows_of("bt", [GOOD])[0].performance
    assert shared is not None
    own = {"total_return": -shared.total_return, "max_drawdown": -shared.max_drawdown}
    rows = made.rows_of("bt", [made.outcome(own=own)])
    assert measured("metrics", rows=rows).text == "1 of 4 own figures right to 0.1 %"


def test_a_run_that_fails_does_not_agree() -> None:
    rows = made.rows_of("bt", [GOOD, made.outcome(None, kind="garbage", error="no fills")])
    assert measured("agreement", rows=rows).text == "1 of 2 runs"


def engine(name: str, **scores: tuple[float | None, float | None]) -> Standing:
    fine = {
        "agreement": (1.0, 10.0),
        "licence": (1.0, 10.0),
        "speed": (1.0, 10.0),
        "data": (1.0, 0.0),
    }
    return standing(
        name,
        [
            Measure(
                criterion=criterion,
                value=value,
                unit="",
                text=f"the {criterion}",
                score=score,
                weight=Decimal(1),
            )
            for criterion, (value, score) in {**fine, **scores}.items()
        ],
    )


def test_the_best_of_those_that_qualify_is_chosen() -> None:
    best, second = engine("b", data=(1.0, 8.0)), engine("a")
    better_but_gpl = engine("gpl", licence=(0.0, 10.0), data=(1.0, 10.0))
    found = decide([second, better_but_gpl, best])
    assert found.engine == "b"
    assert found.headline == "b fits best: 9.5 of 10, 2 engines of 3 qualify."
    assert "Behind it: a (7.5)." in found.text
    assert "gpl (10.0) does not: its licence does not allow it to be embedded" in found.text
    assert found.rules == RULES
    assert decide([engine("z"), engine("a")]).engine == "a", "of equal ones the first by name"
    assert decide([best]).headline == "b fits: 9.5 of 10, the only one of 1 that qualifies."


@pytest.mark.parametrize(
    ("scores", "why"),
    [
        ({"agreement": (0.9, 9.0)}, "agrees to the cent in the agreement only"),
        ({"licence": (0.0, 3.0)}, "does not allow it to be embedded"),
        ({"speed": (10.0, 5.0)}, "too slow"),
        ({"speed": (None, 0.0)}, "too slow"),
        ({"agreement": (None, None)}, "agreement was not measured: the agreement"),
    ],
)
def test_each_requirement_disqualifies_by_itself(
    scores: dict[str, tuple[float | None, float | None]], why: str
) -> None:
    one = engine("x", **scores)
    assert why in "; ".join(one.disqualified)
    found = decide([one])
    assert (found.engine, found.headline) == (None, "No engine qualifies.")
    assert why in found.text


def test_nothing_was_evaluated_or_weighs_nothing() -> None:
    assert decide([]).headline == "No engine was evaluated."
    used = made.used_of("bt", [GOOD])
    reference = EngineUsed(engine=REFERENCE_NAME, status="ran")
    (only,) = standings([reference, used], made.rows_of("bt", [GOOD]), [], made.CONTRACT, {})
    assert (only.engine, only.total) == ("bt", 0.0)
    assert not only.disqualified
    assert isinstance(made.rows_of("bt", [GOOD])[0].agreement, Agreement)
