"""What an evaluation came to, as data and as text. Rendering only; publishing is elsewhere."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pydantic import BaseModel, ConfigDict

from fluxhero.backtest.evaluation import Curve, Evaluation, Row, StrategyLuck
from fluxhero.backtest.in_words import best_in_words, percent, size_of
from fluxhero.backtest.trials import REFERENCE
from fluxhero.markdown import cell, page, points, table_of
from fluxhero.mermaid import line_chart
from fluxhero.wording import counted

_MOST_TOLD: Final = 20  # failures
_MOST_STRATEGIES: Final = 100
_POINTS: Final = 60  # of a Mermaid chart
_MOST_CURVES: Final = 3


class EngineLine(BaseModel):
    """One engine: whether it agrees with the reference, how fast it is, and its score."""

    model_config = ConfigDict(frozen=True)

    engine: str
    status: str
    version: str
    given: str
    native: str
    seconds: float | None
    score: float | None
    remark: str


class StrategyLine(BaseModel):
    """One strategy on one symbol by the reference, and what its result is worth."""

    model_config = ConfigDict(frozen=True)

    strategy: str
    symbol: str
    total_return: float | None
    sharpe: float | None
    max_drawdown: float | None
    trades: int | None
    verdict: str
    size: str = ""  # of its orders, where it is not as the rules say
    best: str = ""  # combination of a sweep


class EvaluationReport(BaseModel):
    """Outcome of `evaluate_backtests`.

    `failures` are strategies, engines and data that could not be used, each with its cause. `plot` is a
    picture of the strategies' equity, if there is any.
    """

    model_config = ConfigDict(frozen=True)

    run: str
    at: datetime
    headline: str
    engines: tuple[EngineLine, ...]
    strategies: tuple[StrategyLine, ...]
    failures: tuple[str, ...]
    notes: tuple[str, ...]
    curves: tuple[Curve, ...]
    folder: str
    page: str | None
    plot: str | None = None

    @property
    def ok(self) -> bool:
        """Whether everything could be run, and no strategy looks ahead."""
        return not self.failures

    @property
    def verdict(self) -> str:
        """One sentence: the answer first."""
        if not self.failures:
            return self.headline
        return f"{self.headline} {counted(len(self.failures), 'thing')} went wrong."

    def details(self) -> list[str]:
        """What else a reader should know, a line each."""
        return [*self._failed(), *self._strategies(), *self._remarks(), *self._places()]

    def _failed(self) -> list[str]:
        lines = [f"FAILED  {failure}" for failure in self.failures[:_MOST_TOLD]]
        if len(self.failures) > _MOST_TOLD:
            lines.append(f"… and {len(self.failures) - _MOST_TOLD:,} more; --json lists all")
        return lines

    def _strategies(self) -> list[str]:
        lines = [
            f"{line.strategy} on {line.symbol}: {_result(line)}. {line.verdict}{_best(line)}"
            for line in self.strategies[:_MOST_STRATEGIES]
        ]
        if len(self.strategies) > _MOST_STRATEGIES:
            more = len(self.strategies) - _MOST_STRATEGIES
            lines.append(f"… and {more:,} more; --json lists all")
        return lines

    def _remarks(self) -> list[str]:
        return [f"{line.engine}: {line.remark}" for line in self.engines if line.remark]

    def _places(self) -> list[str]:
        page = [f"The whole report: {self.page}"] if self.page else []
        return [*self.notes, *page, f"Results as Parquet: {self.folder}"]

    def table(self) -> list[dict[str, str | int]]:
        """Engines as rows of a table; none where the reference is alone."""
        if all(line.engine == REFERENCE for line in self.engines):
            return []
        return [
            {
                "engine": line.engine,
                "version": line.version,
                "signals given": line.given,
                "own idiom": line.native,
                "minute bars, s": "" if line.seconds is None else f"{line.seconds:.3f}",
                "score": "" if line.score is None else f"{line.score:.1f}",
            }
            for line in self.engines
        ]

    def markdown(self) -> str:
        """The whole report for a page, with equity as a Mermaid chart."""
        curves = [mermaid(curve) for curve in self.curves[:_MOST_CURVES]]
        return page(
            cell(self.verdict),
            ("What went wrong", points(cell(line) for line in self._failed())),
            ("Strategies", points(cell(line) for line in self._strategies())),
            ("Engines", [table_of(self.table())]),
            ("", points(cell(line) for line in self._remarks())),
            ("Equity", curves),
            ("", points(cell(line) for line in self._places())),
        )


def report_on(evaluation: Evaluation, folder: str, page: str | None) -> EvaluationReport:
    """The report about an evaluation."""
    return EvaluationReport(
        run=evaluation.run,
        at=evaluation.at,
        headline=evaluation.headline,
        engines=_engine_lines(evaluation),
        strategies=tuple(_strategy_line(evaluation, one) for one in evaluation.luck),
        failures=evaluation.failures,
        notes=tuple(f"{used.symbol}: {note}" for used in evaluation.data for note in used.notes),
        curves=tuple(one for one in evaluation.curves if one.engine == REFERENCE),
        folder=folder,
        page=page,
    )


def mermaid(curve: Curve) -> str:
    """A curve as a Mermaid chart; fewer points, and the last always."""
    step = max(1, -(-len(curve.days) // _POINTS))
    places = sorted({*range(0, len(curve.days), step), len(curve.days) - 1})
    values = [f"{curve.equity[place]:.0f}" for place in places]
    title = f"{curve.strategy} on {curve.symbol}: equity, USD"
    return line_chart(title, curve.days[0], curve.days[-1], values)


def _engine_lines(evaluation: Evaluation) -> tuple[EngineLine, ...]:
    scores = {standing.engine: standing for standing in evaluation.standings}
    lines = []
    for used in evaluation.engines:
        rows = [row for row in evaluation.rows if row.engine == used.engine]
        standing = scores.get(used.engine)
        remarks = [used.reason, used.speed_failure, *(standing.disqualified if standing else ())]
        lines.append(
            EngineLine(
                engine=used.engine,
                status=used.status,
                version=used.version,
                given=_agreeing([row for row in rows if row.mode == "given"]),
                native=_agreeing([row for row in rows if row.mode == "native"]),
                seconds=used.speed_run_seconds,
                score=standing.total if standing else None,
                remark="; ".join(remark for remark in remarks if remark),
            )
        )
    return tuple(lines)


def _agreeing(rows: Sequence[Row]) -> str:
    """How many of the rows that there should be agree to the cent."""
    wanted = [row for row in rows if row.ending != "not-native"]
    exact = sum(row.agreement is not None and row.agreement.to_the_cent for row in wanted)
    return f"{exact} of {len(wanted)} to the cent" if wanted else ""


def _strategy_line(evaluation: Evaluation, one: StrategyLuck) -> StrategyLine:
    performance = evaluation.reference_performance(one.label, one.symbol)
    return StrategyLine(
        strategy=one.label,
        symbol=one.symbol,
        total_return=performance.total_return if performance else None,
        sharpe=performance.sharpe if performance else None,
        max_drawdown=performance.max_drawdown if performance else None,
        trades=performance.trades if performance else None,
        verdict=one.luck.verdict if one.luck else one.reason,
        size=size_of(one.strategy, evaluation.contract),
        best=best_in_words(one.luck.stability) if one.luck and one.luck.stability else "",
    )


def _result(line: StrategyLine) -> str:
    if line.total_return is None:
        return "no result"
    sharpe = "no Sharpe ratio" if line.sharpe is None else f"Sharpe {line.sharpe:.2f}"
    drawdown = percent(line.max_drawdown)
    trips = counted(line.trades or 0, "round trip")
    size = f" of {line.size}" if line.size else ""
    return (
        f"return {percent(line.total_return)}, {sharpe}, deepest drawdown {drawdown}, {trips}{size}"
    )


def _best(line: StrategyLine) -> str:
    return f" Best of the sweep: {line.best}." if line.best else ""
