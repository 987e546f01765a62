"""What an evaluation says to its reader: on the command line, on the run's page and as one HTML file."""

import re
from datetime import date

import pytest

from fluxhero.backtest.contract import Sizing
from fluxhero.backtest.evaluation import Curve, Evaluation, StrategyLuck
from fluxhero.backtest.evaluation_report import evaluation_html
from fluxhero.backtest.luck import Luck, Rating
from fluxhero.backtest.report import StrategyLine, mermaid, report_on
from fluxhero.backtest.scoring import decide
from fluxhero.backtest.stability import Stability, Surface
from tests.backtest.sample_evaluation import CONTRACT, STRATEGY, sample, walked

SAMPLE = sample()
NOTHING_RUN = {"standings": (), "validations": (), "curves": (), "failures": ()}
ALONE = SAMPLE.model_copy(
    update={
        **NOTHING_RUN,
        "decision": decide([]),
        "engines": SAMPLE.engines[:1],
        "rows": SAMPLE.rows[:1],
    }
)


def rated(rating: Rating, label: str = STRATEGY.label) -> StrategyLuck:
    luck = Luck(
        rating=rating,
        verdict=f"{rating.value.capitalize()}: so it is.",
        sharpe=None,
        overfitting=None,
        bootstrap=None,
        walk_forward=None,
        costs=None,
        stability=None,
        peeks=0,
        unknown=(),
    )
    return StrategyLuck(strategy=STRATEGY.name, label=label, symbol="TEST", luck=luck)


def test_the_best_of_a_sweep_is_named() -> None:
    surface = Surface(across="fast", down="", columns=(3, 5), rows=(), values=((0.5, 1.25),))
    stable = Stability(
        best={"fast": 5.0},
        best_value=1.25,
        neighbours=1,
        share=None,
        plateau=None,
        surface=surface,
    )
    one = rated(Rating.LIKELY)
    assert one.luck is not None
    swept = one.model_copy(update={"luck": one.luck.model_copy(update={"stability": stable})})
    said = report_on(judged(swept), "/folder", None).details()[0]
    assert said.endswith("so it is. Best of the sweep: fast=5 (Sharpe 1.25).")


def judged(*luck: StrategyLuck, whole: Evaluation = ALONE) -> Evaluation:
    return whole.model_copy(update={"luck": luck})


@pytest.mark.parametrize(
    ("rating", "said", "colour"),
    [
        (Rating.UNLIKELY, "is unlikely to be luck.", "good"),
        (Rating.POSSIBLE, "may be luck.", "doubtful"),
        (Rating.LIKELY, "is likely to be luck.", "bad"),
        (Rating.UNKNOWN, "cannot be judged.", "plain"),
        (Rating.INVALID, "is not valid: it looks ahead.", "bad"),
    ],
)
def test_without_an_engine_the_headline_is_about_the_strategy(
    rating: Rating, said: str, colour: str
) -> None:
    evaluation = judged(rated(rating))
    report = report_on(evaluation, "/folder", None)
    assert report.ok
    assert report.verdict == f"{STRATEGY.label} on TEST {said}"
    page = evaluation_html(evaluation, [])
    assert f'<header class="verdict {colour}">\n<h1>{report.verdict}</h1>' in page
    assert "engine" not in " ".join(re.findall("<h2>(.*?)</h2>", page)).casefold()
    assert report.table() == []
    assert "| engine |" not in report.markdown()


def test_of_many_results_it_is_said_how_many_are_what() -> None:
    many = judged(rated(Rating.LIKELY), rated(Rating.POSSIBLE, "b"), rated(Rating.LIKELY, "c"))
    assert many.headline == "3 results: 1 may be luck, 2 likely to be luck."
    assert '<header class="verdict plain">' in evaluation_html(many, [])
    assert judged().headline == "No engine was evaluated."
    broken = SAMPLE.model_copy(update={"luck": ()})
    assert broken.headline == "No strategy could be run.", "then nothing is known of engines either"
    assert "<h2>Strategies</h2>" not in evaluation_html(judged(), [])


def test_with_engines_both_answers_come_first() -> None:
    report = report_on(SAMPLE, "/folder", "/page.html")
    assert not report.ok
    assert report.verdict == (
        "bt fits: 8.2 of 10, the only one of 4 that qualifies."
        " moving-average-cross(fast=3, slow=8) on TEST cannot be judged. 1 thing went wrong."
    )
    lines = report.details()
    assert lines[0] == "FAILED  strategy <x> | raises"
    assert re.fullmatch(
        r"moving-average-cross\(fast=3, slow=8\) on TEST: return -?[\d.]+ %, Sharpe -?\d\.\d\d, deepest drawdown"
        r" [\d.]+ %, \d+ round trips\. too few days",
        lines[1],
    )
    assert "TEST: 2 bars without volume left out" in lines
    assert lines[-2:] == ["The whole report: /page.html", "Results as Parquet: /folder"]
    engines = {str(row["engine"]): row for row in report.table()}
    assert engines["bt"]["signals given"] == "1 of 1 to the cent"
    assert engines["bt"]["own idiom"] == "0 of 1 to the cent"
    assert engines["zipline"]["version"], "its distribution has another name"
    assert engines["nautilus"]["signals given"] == ""


def test_the_run_s_page_survives_what_engines_say() -> None:
    page = report_on(SAMPLE, "/folder", None).markdown()
    assert "- FAILED strategy &lt;x> \\| raises" in page
    for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1
    assert page.count("```mermaid") == 1, "only the reference's equity"


def test_long_lists_are_cut_and_say_so() -> None:
    report = report_on(SAMPLE, "/folder", None)
    line = report.strategies[0].model_copy(update={"total_return": None})
    long = report.model_copy(update={"failures": ("f",) * 23, "strategies": (line,) * 102})
    details = long.details()
    assert "… and 3 more; --json lists all" in details
    assert "… and 2 more; --json lists all" in details
    assert details.count(f"{line.strategy} on TEST: no result. too few days") == 100


def test_what_never_traded_has_no_sharpe_ratio() -> None:
    line = StrategyLine(
        strategy="s",
        symbol="X",
        total_return=0.0,
        sharpe=None,
        max_drawdown=0.0,
        trades=0,
        verdict="Cannot be judged.",
    )
    report = report_on(ALONE, "/folder", None).model_copy(update={"strategies": (line,)})
    assert report.details()[0] == (
        "s on X: return 0.0 %, no Sharpe ratio, deepest drawdown 0.0 %, 0 round trips. Cannot be judged."
    )


def test_the_fixed_size_of_who_knows_the_future_is_told() -> None:
    label = "perfect-predictor"
    row = SAMPLE.rows[0].model_copy(update={"strategy": label, "label": label})
    luck = rated(Rating.INVALID, label).model_copy(update={"strategy": label})
    evaluation = judged(luck, whole=ALONE.model_copy(update={"rows": (row,)}))
    assert "round trips of 100 shares an order. " in report_on(evaluation, "", None).details()[0]
    assert '<td class="text">perfect-predictor, 100 shares an order</td>' in evaluation_html(
        evaluation, []
    )
    fixed = CONTRACT.model_copy(update={"sizing": Sizing.FIXED})
    asked = evaluation.model_copy(update={"contract": fixed})
    assert "shares an order" not in report_on(asked, "", None).details()[0]


def test_a_chart_has_few_points_and_a_title_that_is_one() -> None:
    days = tuple(date.fromordinal(date(2024, 1, 1).toordinal() + place) for place in range(500))
    curve = Curve(
        engine="reference",
        mode="reference",
        strategy='a"b',
        symbol="X",
        days=days,
        equity=tuple(float(place) for place in range(500)),
    )
    chart = mermaid(curve)
    assert 'title "a\'b on X: equity, USD, 2024-01-01 to 2025-05-14"' in chart
    assert 'x-axis "Year" 2024.00 --> 2025.36' in chart
    found = re.search(r"line \[(.*)\]", chart)
    assert found is not None
    points = found[1].split(", ")
    assert len(points) <= 61
    assert (points[0], points[-1]) == ("0", "499")


def test_the_page_explains_engines_and_does_not_blame_them_for_a_strategy() -> None:
    validations = (
        walked("reference", None).model_copy(update={"passed": False}),
        walked("reference", None).model_copy(update={"passed": True}),
        walked("bt", True).model_copy(update={"passed": False}),
        walked("backtrader", False).model_copy(update={"passed": True}),
        walked("zipline", None),
        walked("bt", None).model_copy(update={"test": "random", "passed": False}),
        walked("bt", None).model_copy(update={"test": "random", "passed": True}),
    )
    whole = SAMPLE.model_copy(update={"validations": validations})
    page = evaluation_html(whole, [("The sheet", "sheet.html")])
    section = page[page.index("<h2>Validation tests</h2>") :]
    rows = re.findall(r"<tr>(<td.*?)</tr>", section)
    assert [re.findall(r"<td[^>]*>(.*?)</td>", row)[3] for row in rows] == [
        "the strategy does not pass",
        "the strategy passes",
        "as the reference",
        "not as the reference",
        "not done",
        "failed",
        "passed",
    ]
    assert '<header class="verdict doubtful">' in page
    assert '<td class="text">strategy &lt;x&gt; | raises</td>' in page
    assert '<a href="sheet.html">The sheet</a>' in page
    assert SAMPLE.decision.rules[0].split(";")[0] in page
    assert re.search(r"price -?[\d,.]+ USD \(bar ", page), "causes have their unit"
    assert "timed-out: took longer than 1 | second" in page
    assert page.count("<svg") == 1
    assert "<script" not in page
    assert not re.search(r'(?:src|href)="(?:http|//)', page), "nothing is fetched"


@pytest.mark.parametrize(("engine", "colour"), [("bt", "good"), (None, "plain")])
def test_the_colour_is_that_of_the_decision(engine: str | None, colour: str) -> None:
    decision = SAMPLE.decision.model_copy(update={"engine": engine})
    whole = SAMPLE.model_copy(update={"failures": (), "decision": decision})
    assert f'<header class="verdict {colour}">' in evaluation_html(whole, [])
