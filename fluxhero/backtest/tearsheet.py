"""One strategy on one symbol for its owner: the result in plots and figures, and what it is worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxhero.backtest.costs import CostSensitivity
from fluxhero.backtest.drawing import BLUE, GREEN, RED, new_figure
from fluxhero.backtest.evaluation import DataUsed
from fluxhero.backtest.in_words import (
    NONE,
    best_in_words,
    break_even_in_words,
    money,
    number,
    percent,
    usd,
)
from fluxhero.backtest.luck import Luck, Rating
from fluxhero.backtest.meanings import MEANINGS
from fluxhero.backtest.paper import Section, render
from fluxhero.backtest.performance import Performance
from fluxhero.backtest.plots import PLOTS, Track
from fluxhero.backtest.stability import Surface
from fluxhero.backtest.walk_forward import WalkForward
from fluxhero.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVELS: Final = {
    Rating.UNLIKELY: "good",
    Rating.POSSIBLE: "doubtful",
    Rating.LIKELY: "bad",
    Rating.UNKNOWN: "plain",
    Rating.INVALID: "bad",
}


@dataclass(frozen=True, eq=False)
class Tearsheet:
    """What a tearsheet shows.

    Attributes:
        label: the strategy with its parameters.
        data: what it was run on.
        rules: of the contract, in words.
        track: for the plots.
        performance: by the shared implementation.
        luck: every test of it.
    """

    label: str
    data: DataUsed
    rules: str
    track: Track
    performance: Performance
    luck: Luck

    @property
    def title(self) -> str:
        """What it is called."""
        return f"{self.label} on {self.data.symbol}"

    def figures(self) -> "list[Figure]":
        """Every plot, in order."""
        return [*(plot(self.track) for plot in PLOTS), *self._plots_of_luck()]

    def html(self) -> str:
        """The whole sheet as one HTML file."""
        about = [
            self.title,
            (
                f"{self.data.bars:,} bars of {self.data.timeframe}, {self.data.first:%Y-%m-%d} to "
                f"{self.data.last:%Y-%m-%d}, {self.data.source}"
            ),
            self.rules,
            *self.data.notes,
        ]
        sections = [
            Section("Result", facts=_results(self.performance)),
            Section("Over time", figures=[plot(self.track) for plot in PLOTS]),
            *_of_luck(self.luck),
            Section("In pictures", figures=self._plots_of_luck()),
        ]
        sections.append(_meanings(sections))
        level = LEVELS[self.luck.rating]
        return render(self.title, self.luck.verdict, about, level, sections)

    def _plots_of_luck(self) -> "list[Figure]":
        drawn = [costs(self.luck.costs)] if self.luck.costs else []
        drawn += [months(self.luck.walk_forward)] if self.luck.walk_forward else []
        drawn += [surface(self.luck.stability.surface)] if self.luck.stability else []
        return drawn


def costs(sensitivity: CostSensitivity) -> "Figure":
    """Total return by multiples of the costs."""
    figure, axes = new_figure("Total return by multiples of the costs, %", height=2.2)
    names = [f"{row.multiple} times" for row in sensitivity.rows]
    values = [100 * row.total_return for row in sensitivity.rows]
    axes.bar(names, values, color=[GREEN if value > 0 else RED for value in values], width=0.6)
    return figure


def months(walked: WalkForward) -> "Figure":
    """Return of each month tested, percent, one after the other."""
    figure, axes = new_figure("Walk-forward: return of each month tested, %", height=2.2)
    days = np.array([window.month for window in walked.windows], dtype="datetime64[D]")
    values = np.array([100 * window.test_return for window in walked.windows])
    colours = [GREEN if value > 0 else RED for value in values]
    axes.bar(days, values, width=20, color=colours)
    return figure


def surface(found: Surface) -> "Figure":
    """Sharpe ratio over the parameters of the sweep."""
    values = np.array(
        [[np.nan if value is None else value for value in row] for row in found.values], dtype=float
    )
    if not found.down:
        figure, axes = new_figure(f"Sharpe ratio by {found.across}", height=2.4)
        axes.plot(found.columns, values[0], color=BLUE, marker="o", markersize=3)
        return figure
    figure, axes = new_figure(
        f"Sharpe ratio by {found.across} (across) and {found.down}", height=3.4
    )
    image = axes.imshow(values, cmap="RdYlGn", aspect="auto", origin="lower")
    axes.set_xticks(range(len(found.columns)), [f"{value:g}" for value in found.columns])
    axes.set_yticks(range(len(found.rows)), [f"{value:g}" for value in found.rows])
    axes.grid(visible=False)
    figure.colorbar(image)
    return figure


def _results(found: Performance) -> list[tuple[str, str]]:
    return [
        ("Total return", percent(found.total_return)),
        ("A year", percent(found.annual_return)),
        ("Volatility", percent(found.volatility)),
        ("Sharpe ratio", number(found.sharpe)),
        ("Sortino ratio", number(found.sortino)),
        ("Deepest drawdown", percent(found.max_drawdown)),
        ("Longest below a peak", f"{found.drawdown_days:,.0f} days"),
        ("Round trips", f"{found.trades:,}"),
        ("Won", percent(found.win_rate)),
        ("Average win", usd(found.average_win)),
        ("Average loss", usd(found.average_loss)),
        ("Profit factor", number(found.profit_factor)),
        ("Bars held", number(found.average_bars_held)),
        ("Invested", percent(found.exposure)),
        ("Commission", usd(found.commission)),
        ("Slippage", usd(found.slippage)),
    ]


def _of_luck(luck: Luck) -> list[Section]:
    sections = [Section("Is it luck?", facts=_tests(luck))]
    if luck.walk_forward:
        walked = luck.walk_forward
        sections.append(
            Section(
                "Walk-forward",
                note=f"The best of {counted(walked.candidates, 'set')} of parameters on three months is traded"
                f" in the month after, again and again; {counted(walked.left_out, 'month')} left out for gaps.",
                facts=[
                    ("Months profitable", f"{walked.profitable:,} of {len(walked.windows):,}"),
                    ("Without a trade", f"{walked.without_trades:,}"),
                    ("A coin does as well", percent(walked.p_value)),
                    ("All months together", percent(walked.total_return)),
                    ("More than 60 %", "passes" if walked.passes else "does not pass"),
                ],
            )
        )
    if luck.costs:
        columns = (
            "Times the costs",
            "Commission a share, USD",
            "Slippage, bp",
            "Profit, USD",
            "Return",
        )
        rows = [
            (
                f"{row.multiple}",
                f"{row.commission.normalize():f}",
                f"{row.slippage_bp.normalize():f}",
                money(row.profit),
                percent(row.total_return),
            )
            for row in luck.costs.rows
        ]
        sections.append(
            Section(
                "If trading cost more", break_even_in_words(luck.costs), columns=columns, rows=rows
            )
        )
    if luck.unknown:
        sections.append(
            Section(
                "What could not be told", rows=[(one,) for one in luck.unknown], columns=("Why",)
            )
        )
    return sections


def _tests(luck: Luck) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    if tested := luck.sharpe:
        needed = NONE if tested.days_needed is None else f"{tested.days_needed:,.0f} days"
        facts += [
            ("Sharpe ratio", f"{tested.sharpe:.2f} ± {tested.standard_error:.2f}"),
            ("Above zero, had it been the only trial", percent(tested.probabilistic)),
            ("Trials on this data", f"{tested.trials:,}"),
            ("Best of as many by luck alone", number(tested.expected_best)),
            ("Above that, given the trials", percent(tested.deflated)),
            ("Days to be 95 % sure", needed),
        ]
    if chosen := luck.overfitting:
        facts += [
            ("Probability of overfitting", percent(chosen.pbo)),
            ("Rank of the best on other days", percent(chosen.mean_rank)),
        ]
    if drawn := luck.bootstrap:
        facts += [
            ("Sharpe ratio, middle 90 %", f"{drawn.sharpe.low:.2f} to {drawn.sharpe.high:.2f}"),
            (
                "A year, middle 90 %",
                f"{percent(drawn.annual_return.low)} to {percent(drawn.annual_return.high)}",
            ),
            (
                "Drawdown, middle 90 %",
                f"{percent(drawn.max_drawdown.low)} to {percent(drawn.max_drawdown.high)}",
            ),
            ("Samples that lose", percent(drawn.loss_probability)),
        ]
    if stable := luck.stability:
        facts.append(("Best of the sweep", best_in_words(stable)))
        share = NONE if stable.share is None else percent(stable.share)
        facts.append(
            (
                "Neighbours near the best",
                f"{share} of {counted(stable.neighbours, 'trial')}",
            )
        )
    return facts


def _meanings(sections: Sequence[Section]) -> Section:
    """What each number means that there is on the sheet."""
    names = dict.fromkeys(name for section in sections for name, _ in section.facts)
    return Section(
        "What the numbers mean",
        columns=("Number", "Meaning"),
        rows=[(name, MEANINGS[name]) for name in names],
    )
