"""Is a result likely to be luck? All the tests of that, and what they say together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict

from fluxhero.backtest.bars import Bars, Floats, Int8s
from fluxhero.backtest.bootstrap import Bootstrap, bootstrap
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.costs import CostSensitivity, cost_sensitivity
from fluxhero.backtest.fast import equity_units
from fluxhero.backtest.overfitting import BlockSums, Overfitting, probability_of_overfitting
from fluxhero.backtest.performance import (
    DAYS_A_YEAR,
    day_ends,
    dollars,
    shape_of,
    sharpe_of,
    simple_returns,
)
from fluxhero.backtest.sharpe_tests import (
    CONFIDENCE,
    a_days,
    a_years,
    deflated_sharpe,
    expected_maximum_sharpe,
    minimum_track_record,
    probabilistic_sharpe,
    standard_error,
)
from fluxhero.backtest.stability import Stability, Trial, stability
from fluxhero.backtest.walk_forward import NEEDED_PERCENT, Candidate, WalkForward, walk_forward
from fluxhero.errors import BadInputError
from fluxhero.market.calendar import Calendar
from fluxhero.wording import counted

_A_COIN: Final = 0.5
_T = TypeVar("_T")


class Rating(StrEnum):
    """What it comes to."""

    UNLIKELY = "unlikely to be luck"
    POSSIBLE = "may be luck"
    LIKELY = "likely to be luck"
    UNKNOWN = "cannot be judged"
    INVALID = "not valid"  # it looks ahead


class SharpeTests(BaseModel):
    """What the Sharpe ratio is worth; all ratios a year.

    Attributes:
        sharpe: as measured.
        standard_error: of it.
        days: that it was measured on.
        probabilistic: probability that the true one is above zero, had this been the only trial.
        trials: how many there were on the same data.
        expected_best: what luck alone lets one expect of the best of so many.
        deflated: probability that the true one is above that.
        days_needed: to be 95 % sure that it is above zero, had this been the only trial; None if no number is enough.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sharpe: float
    standard_error: float
    days: int
    probabilistic: float
    trials: int
    expected_best: float
    deflated: float
    days_needed: float | None


class Luck(BaseModel):
    """Every test of a strategy on one symbol's bars; None is one that could not be done, and `unknown` says why.

    Attributes:
        rating: in a word.
        verdict: in one sentence.
        sharpe: tests of the Sharpe ratio.
        overfitting: of choosing among the trials of a sweep.
        bootstrap: intervals.
        walk_forward: chosen in three months, traded in the next.
        costs: what is left when trading costs more.
        stability: of the best parameters.
        peeks: how often leaving later bars out changed a signal; any makes the result void.
        unknown: what could not be done, and why.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rating: Rating
    verdict: str
    sharpe: SharpeTests | None
    overfitting: Overfitting | None
    bootstrap: Bootstrap | None
    walk_forward: WalkForward | None
    costs: CostSensitivity | None
    stability: Stability | None
    peeks: int
    unknown: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Tried:
    """What was tried beside the strategy that is judged.

    Attributes:
        trials: how many trials there were on the same data, itself included.
        sharpe_variance: of their yearly Sharpe ratios; None where it is not known.
        sums: of the trials of a sweep; None where there was none.
        candidates: for the walk-forward to choose from.
        grid: parameters and yearly Sharpe ratio of each trial of a sweep.
        peeks: how often leaving later bars out changed a signal.
    """

    trials: int = 1
    sharpe_variance: float | None = None
    sums: BlockSums | None = None
    candidates: Sequence[Candidate] = ()
    grid: Sequence[Trial] = ()
    peeks: int = 0


def judge_luck(
    bars: Bars,
    targets: Int8s,
    contract: Contract,
    calendar: Calendar,
    risk_free: float,
    tried: Tried,
) -> Luck:
    """Do every test that can be done.

    Args:
        bars: that the strategy was run on.
        targets: what it wanted after each.
        contract: rules.
        calendar: of the exchange.
        risk_free: yearly rate.
        tried: what else was.

    Raises:
        BadInputError: the strategy cannot be run on these bars at all.
    """
    last = day_ends(bars.ends, calendar.zone)
    marks = dollars(equity_units(bars, targets, contract)[last])
    returns = simple_returns(marks, float(contract.cash))
    unknown: list[str] = []

    def done(name: str, test: Callable[[], _T]) -> _T | None:
        try:
            return test()
        except BadInputError as error:
            unknown.append(f"{name}: {error.what}")
            return None

    sharpe = done("Sharpe ratio", lambda: sharpe_tests(returns, risk_free, tried))
    overfitting = done("overfitting", lambda: _overfitting(tried, risk_free))
    intervals = done("bootstrap", lambda: bootstrap(returns, risk_free))
    candidates = tried.candidates or [Candidate("as given", targets)]
    walked = done(
        "walk-forward", lambda: walk_forward(bars, candidates, contract, calendar, risk_free)
    )
    costs = done("costs", lambda: cost_sensitivity(bars, targets, contract))
    stable = done("stability", lambda: stability(tried.grid))
    rating = rate(sharpe, overfitting, walked, tried.peeks)
    return Luck(
        rating=rating,
        verdict=_verdict(rating, sharpe, overfitting, walked, tried.peeks),
        sharpe=sharpe,
        overfitting=overfitting,
        bootstrap=intervals,
        walk_forward=walked,
        costs=costs,
        stability=stable,
        peeks=tried.peeks,
        unknown=tuple(unknown),
    )


def sharpe_tests(returns: Floats, risk_free: float, tried: Tried) -> SharpeTests:
    """Every test of one Sharpe ratio.

    Args:
        returns: daily.
        risk_free: yearly rate.
        tried: how many trials there were, and how their Sharpe ratios vary.

    Raises:
        BadInputError: there is no Sharpe ratio, or the other trials' are not known.
    """
    skew, kurtosis = shape_of(returns)
    if skew is None or kurtosis is None:
        raise BadInputError(
            f"{counted(len(returns), 'daily return')} that are all the same, or no numbers, have none",
            next_step="give a strategy that trades, and more days",
        )
    if tried.trials > 1 and tried.sharpe_variance is None:
        raise BadInputError(
            f"those of the other {counted(tried.trials - 1, 'trial')} are not known",
            next_step="run the evaluation, which registers them",
        )
    sharpe, days = a_days(float(sharpe_of(returns, risk_free))), len(returns)
    variance = (tried.sharpe_variance or 0.0) / DAYS_A_YEAR
    return SharpeTests(
        sharpe=a_years(sharpe),
        standard_error=a_years(standard_error(sharpe, days, skew, kurtosis)),
        days=days,
        probabilistic=probabilistic_sharpe(sharpe, 0.0, days, skew, kurtosis),
        trials=tried.trials,
        expected_best=a_years(expected_maximum_sharpe(tried.trials, variance)),
        deflated=deflated_sharpe(sharpe, tried.trials, variance, days, skew, kurtosis),
        days_needed=minimum_track_record(sharpe, 0.0, skew, kurtosis),
    )


def rate(
    sharpe: SharpeTests | None,
    overfitting: Overfitting | None,
    walked: WalkForward | None,
    peeks: int,
) -> Rating:
    """Weigh the tests; those that could not be done neither speak for a strategy nor against it.

    Likely to be luck: the deflated Sharpe ratio is below a half, or most choices of the best trial fell into the
    lower half on the other days. Unlikely: it is 95 % or more, choosing was no overfitting, and the walk-forward
    passes, which both must have been done.
    """
    if peeks:
        return Rating.INVALID
    if sharpe is None:
        return Rating.UNKNOWN
    overfitted = overfitting is not None and overfitting.pbo > _A_COIN
    if sharpe.deflated < _A_COIN or overfitted:
        return Rating.LIKELY
    passed = walked is not None and walked.passes
    chosen_well = overfitting is not None or sharpe.trials == 1
    sure = sharpe.deflated >= CONFIDENCE
    return Rating.UNLIKELY if sure and passed and chosen_well else Rating.POSSIBLE


def _overfitting(tried: Tried, risk_free: float) -> Overfitting:
    if tried.sums is None:
        raise BadInputError("there was no sweep", next_step="sweep the strategy's parameters")
    return probability_of_overfitting(tried.sums, risk_free / DAYS_A_YEAR)


def _verdict(
    rating: Rating,
    sharpe: SharpeTests | None,
    overfitting: Overfitting | None,
    walked: WalkForward | None,
    peeks: int,
) -> str:
    told = rating.value[0].upper() + rating.value[1:]
    if peeks:
        times = counted(peeks, "time")
        return f"{told}: it looks ahead, as leaving later bars out changed its signals {times}."
    if sharpe is None:
        return f"{told}: there is no Sharpe ratio to test."
    trials = f"what luck gives the best of {counted(sharpe.trials, 'trial')}"
    beaten = trials if sharpe.trials > 1 else "the risk-free rate"
    facts = [f"{100 * sharpe.deflated:.1f} % sure to beat {beaten}"]
    if overfitting is not None:
        much = " (more than 50 %)" if overfitting.pbo > _A_COIN else ""
        facts.append(f"probability of overfitting {100 * overfitting.pbo:.1f} %{much}")
    if walked is not None:
        months = counted(len(walked.windows), "test month")
        idle = f" ({walked.without_trades:,} without a trade)" if walked.without_trades else ""
        needed = "" if walked.passes else f", where more than {NEEDED_PERCENT} % are needed"
        facts.append(f"{walked.profitable:,} of {months} profitable{idle}{needed}")
    return f"{told}: {', '.join(facts)}."
