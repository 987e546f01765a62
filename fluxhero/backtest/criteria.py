"""The criteria of the engines' comparison: what each measures, and the rule it is scored by.

A value that was not measured has no score and says why. The document prints what stands in `CRITERIA`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from fluxhero.backtest import measured_engine, measured_runs
from fluxhero.backtest.case import Case, Found, NotMeasuredError
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.evaluation import EngineUsed, Measure, Row, Validation
from fluxhero.errors import ConfigurationError


@dataclass(frozen=True)
class Criterion:
    """How something is measured and scored, in words and as a function."""

    unit: str
    measured: str
    rule: str
    find: Callable[[Case], Found]


CRITERIA: Final = {
    "agreement": Criterion(
        "share",
        "runs with given signals whose every fill is the reference's and whose equity is within a cent at every bar",
        "10 × the share of the runs; a run that fails does not agree",
        measured_runs.agreement,
    ),
    "native-agreement": Criterion(
        "of the cash",
        "largest difference of equity at any bar, where the engine computes the signals and trades as its own"
        " documentation would have it",
        "mean over the runs: 10 to the cent, 8 within 0.1 % of the starting cash, 6 within 1 %, 4 within 5 %,"
        " 2 within 20 %, else 0; a run that fails 0",
        measured_runs.native_agreement,
    ),
    "speed": Criterion(
        "s",
        "import, load and run of one backtest of about 100,000 minute bars",
        "10 up to 1 s, 5 at 10 s, 0 from 100 s, by the logarithm between; 0 if it fails or is timed out",
        measured_engine.speed,
    ),
    "costs": Criterion(
        "share",
        "fills of runs in its own idiom that pay the commission and slippage asked for, by its own settings",
        "10 × the mean of both shares",
        measured_runs.costs,
    ),
    "next-bar-fill": Criterion(
        "share",
        "fills of runs in its own idiom at the open of the bar after the signal",
        "10 × the share of the fills",
        measured_runs.next_bar_fill,
    ),
    "walk-forward": Criterion(
        "share",
        "walk-forwards whose every test window the engine ends with the reference's equity",
        "10 × the share of the walks",
        measured_runs.walk_forward,
    ),
    "data": Criterion(
        "sources",
        "sources from which it gives the same result: Parquet, DuckDB",
        "5 for each",
        measured_engine.data,
    ),
    "metrics": Criterion(
        "share",
        "its own Sharpe ratio, total return, largest drawdown and number of trades beside those of the shared"
        " implementation on its own equity and fills",
        "10 × the share within 0.1 %; a figure that it does not give is none",
        measured_runs.metrics,
    ),
    "memory": Criterion(
        "MiB",
        "most memory held in the run for speed",
        "10 up to 256 MiB, 2.5 less for each doubling, 0 from 4,096 MiB",
        measured_engine.memory,
    ),
    "import": Criterion(
        "s",
        "import of the engine",
        "10 up to 0.5 s, 5 at 5 s, 0 from 50 s, by the logarithm",
        measured_engine.importing,
    ),
    "dependencies": Criterion(
        "MiB",
        "what it brings to disk with all it depends on, without what only hands the bars over (pyarrow, DuckDB)",
        "10 up to 250 MiB, 3.3 less for each doubling",
        measured_engine.dependencies,
    ),
    "python": Criterion(
        "versions",
        f"which of Python {', '.join(measured_engine.PYTHONS)} its metadata admits",
        "10 × the share of them",
        measured_engine.python_versions,
    ),
    "licence": Criterion(
        "may be embedded",
        "licence in its metadata, and whether it may be part of an MIT-licensed product that others use and sell",
        "10 permissive, 8 MPL, 7 LGPL, 3 Commons Clause, 2 GPL, 0 AGPL",
        measured_engine.licence,
    ),
    "activity": Criterion(
        "days",
        "days from its last release to when the package index was looked at",
        "10 within 90 days, 8 within 180, 6 within 365, 3 within 730, else 0",
        measured_engine.activity,
    ),
}


def criteria_of(
    engine: EngineUsed,
    rows: Iterable[Row],
    validations: Iterable[Validation],
    contract: Contract,
    weights: Mapping[str, Decimal],
) -> tuple[Measure, ...]:
    """Measure and score one engine by every criterion.

    Args:
        engine: what is known of it.
        rows: of the evaluation; those of other engines are left aside.
        validations: likewise.
        contract: the rules, whose cash differences are measured by.
        weights: what each criterion weighs; one that is not named weighs nothing.

    Raises:
        ConfigurationError: a weight is of a criterion that there is not.
    """
    unknown = sorted(set(weights) - set(CRITERIA))
    if unknown:
        raise ConfigurationError(
            f"FLUXHERO_EVALUATION_WEIGHTS weighs {', '.join(unknown)}, which is no criterion",
            next_step=f"name any of: {', '.join(CRITERIA)}",
        )
    case = Case(
        engine,
        [row for row in rows if row.engine == engine.engine],
        [one for one in validations if one.engine == engine.engine],
        contract,
    )
    return tuple(
        _measure(name, criterion, case, weights.get(name, Decimal(0)))
        for name, criterion in CRITERIA.items()
    )


def _measure(name: str, criterion: Criterion, case: Case, weight: Decimal) -> Measure:
    value, text, score = None, "", None
    try:
        found = criterion.find(case)
    except NotMeasuredError as reason:
        text = str(reason)
    else:
        value, text, score = found.value, found.text, round(found.score, 6)
    return Measure(
        criterion=name,
        value=value,
        unit=criterion.unit,
        text=" ".join(text.split()),  # errors of engines have lines
        score=score,
        weight=weight,
    )
