"""A whole evaluation for its reader as one HTML file: the decision, engines, differences, strategies."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fluxhero.backtest.drawing import SERIES, new_figure, thousands
from fluxhero.backtest.evaluation import Evaluation, Row, Validation
from fluxhero.backtest.in_words import NONE, money, number, percent, rules_in_words, size_of
from fluxhero.backtest.paper import Section, render
from fluxhero.backtest.tearsheet import LEVELS
from fluxhero.backtest.trials import REFERENCE
from fluxhero.backtest.validation import WALK_FORWARD

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def evaluation_html(evaluation: Evaluation, sheets: Sequence[tuple[str, str]]) -> str:
    """The report as HTML.

    Args:
        evaluation: all of it.
        sheets: text and file name of each tearsheet.
    """
    machine = evaluation.machine
    about = [
        f"{evaluation.at:%Y-%m-%d %H:%M} UTC, run {evaluation.run}, {evaluation.seconds:,.0f} s",
        rules_in_words(evaluation.contract),
        f"{machine.processor}, {machine.cores} cores, {machine.memory_gb:.0f} GB, Python {machine.python}",
    ]
    sections = [
        *(
            [
                Section(
                    "What went wrong",
                    columns=("What",),
                    rows=[(one,) for one in evaluation.failures],
                )
            ]
            if evaluation.failures
            else []
        ),
        _strategies(evaluation),
        Section("Tearsheets", links=sheets) if sheets else None,
        _data(evaluation),
        *_engines(evaluation),
        _causes(evaluation),
        _validations(evaluation),
        Section("Equity by strategy", figures=_curves(evaluation)) if evaluation.curves else None,
    ]
    return render(
        f"Backtest evaluation {evaluation.run}",
        evaluation.headline,
        about,
        _level(evaluation),
        [section for section in sections if section is not None],
    )


def _level(evaluation: Evaluation) -> str:
    """The colour of the verdict: that of the only result, if nothing else was asked."""
    if evaluation.failures:
        return "doubtful"
    if evaluation.standings:
        return "good" if evaluation.decision.engine else "plain"
    return LEVELS[evaluation.luck[0].rating] if len(evaluation.luck) == 1 else "plain"


def _strategies(evaluation: Evaluation) -> Section | None:
    rows = []
    for one in evaluation.luck:
        found = evaluation.reference_performance(one.label, one.symbol)
        figures = (NONE,) * 4
        if found:
            figures = (
                percent(found.total_return),
                number(found.sharpe),
                percent(found.max_drawdown),
                f"{found.trades:,}",
            )
        size = size_of(one.strategy, evaluation.contract)
        label = f"{one.label}, {size}" if size else one.label
        rows.append((label, one.symbol, *figures, one.luck.verdict if one.luck else one.reason))
    if not rows:
        return None
    return Section(
        "Strategies",
        "By the reference simulator, after costs. Return is that of the whole time; the Sharpe ratio is the yearly"
        " return above the risk-free rate for each unit of swing; drawdown is the largest fall from a peak; a round"
        " trip is an entry and its exit. The tearsheets explain the rest.",
        columns=(
            "Strategy",
            "Symbol",
            "Return",
            "Sharpe",
            "Drawdown",
            "Round trips",
            "Is it luck?",
        ),
        rows=rows,
    )


def _data(evaluation: Evaluation) -> Section:
    return Section(
        "Data",
        columns=("Symbol", "Bars", "From", "To", "Source", "Notes"),
        rows=[
            (
                used.symbol,
                f"{used.bars:,} of {used.timeframe}",
                f"{used.first:%Y-%m-%d}",
                f"{used.last:%Y-%m-%d}",
                used.source,
                "; ".join(used.notes),
            )
            for used in evaluation.data
        ],
    )


def _engines(evaluation: Evaluation) -> list[Section]:
    standings = evaluation.standings
    if not standings:
        return []
    matrix = [
        (
            f"{measures[0].criterion} (x{measures[0].weight.normalize():f})",
            *(NONE if one.score is None else f"{one.score:.1f}" for one in measures),
        )
        for measures in zip(*(standing.measures for standing in standings), strict=True)
    ]
    matrix.append(("weighted mean", *(f"{standing.total:.1f}" for standing in standings)))
    measured = [
        (standing.engine, one.criterion, one.text)
        for standing in standings
        for one in standing.measures
    ]
    excluded = [
        (standing.engine, reason) for standing in standings for reason in standing.disqualified
    ]
    return [
        Section(
            "Engines, scored",
            "0 to 10 for each criterion, weighted. What was not measured counts as nothing.",
            columns=("Criterion (weight)", *(standing.engine for standing in standings)),
            rows=matrix,
        ),
        Section(
            "How it was decided",
            " ".join(evaluation.decision.rules),
            columns=("Engine", "Does not qualify, as"),
            rows=excluded,
        ),
        Section("What was measured", columns=("Engine", "Criterion", "Found"), rows=measured),
    ]


def _causes(evaluation: Evaluation) -> Section | None:
    rows = []
    for row in evaluation.rows:
        if row.engine == REFERENCE or row.ending == "not-native":
            continue
        signals = "given" if row.mode == "given" else "own idiom"
        rows.append((row.engine, signals, row.label, row.symbol, *_difference(row)))
    if not rows:
        return None
    return Section(
        "Differences from the reference",
        "Signals given: the engine trades the reference's signals. Own idiom: it does all as its own documentation"
        " has it. The difference is that of the last equity, and the amounts of its causes add up to it.",
        columns=(
            "Engine",
            "Signals",
            "Strategy",
            "Symbol",
            "Same fills",
            "Difference, USD",
            "Comes from",
        ),
        rows=rows,
    )


def _difference(row: Row) -> tuple[str, str, str]:
    found = row.agreement
    if found is None:
        return NONE, NONE, f"{row.ending}: {row.error}"
    fills = f"{found.fills_equal:,} of {found.fills_reference:,}"
    causes = "; ".join(
        f"{cause.kind.value} {money(cause.dollars)} USD ({cause.example})" for cause in found.causes
    )
    return fills, money(found.final_difference), causes or "agrees to the cent"


def _validations(evaluation: Evaluation) -> Section | None:
    if not evaluation.validations:
        return None
    return Section(
        "Validation tests",
        "Whether reference and engines are right, with shipped strategies on the last three years or so of the first"
        " symbol, whatever strategy was asked about. The walk-forward is that of the moving average cross: whether it"
        " earns anything is no engine's merit or fault, and an engine is right if it finds what the reference finds.",
        columns=("Engine", "Test", "Symbol", "Outcome", "Found", "Wanted", "How"),
        rows=[
            (
                one.engine,
                one.test,
                one.symbol,
                outcome_of(one),
                one.value,
                one.wanted,
                one.text,
            )
            for one in evaluation.validations
        ],
    )


def outcome_of(one: Validation) -> str:
    """Passed or failed; of the walk-forward, whether an engine finds the same."""
    if one.passed is None:
        return "not done"
    if one.test != WALK_FORWARD:
        return "passed" if one.passed else "failed"
    if one.as_reference is None:
        return "the strategy passes" if one.passed else "the strategy does not pass"
    return "as the reference" if one.as_reference else "not as the reference"


def _curves(evaluation: Evaluation) -> "list[Figure]":
    """One plot a strategy and symbol: every engine's equity."""
    pairs = list(dict.fromkeys((curve.strategy, curve.symbol) for curve in evaluation.curves))
    figures = []
    for strategy, symbol in pairs:
        figure, axes = new_figure(f"{strategy} on {symbol}: equity, USD", height=2.6)
        chosen = [
            one for one in evaluation.curves if (one.strategy, one.symbol) == (strategy, symbol)
        ]
        for place, curve in enumerate(chosen):
            dashes = "-" if curve.mode != "native" else "--"
            signals = "own idiom" if curve.mode == "native" else "signals given"
            axes.plot(
                curve.days,  # type: ignore[arg-type]  # dates are drawn as dates
                curve.equity,
                linestyle=dashes,
                color=SERIES[place % len(SERIES)],
                linewidth=0.9,
                label=curve.engine if curve.mode == "reference" else f"{curve.engine}, {signals}",
            )
        axes.legend(loc="upper left", fontsize=7, ncols=2, frameon=False)
        thousands(axes)
        figures.append(figure)
    return figures
