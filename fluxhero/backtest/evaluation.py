"""A whole evaluation as data: what the document, the artifact, the tearsheet and the command's report show.

Nothing here reckons; `criteria`, `scoring`, `validation` and `agreement` do. What was not measured is None and
says why, never a guess.
"""

from collections import Counter
from datetime import date
from decimal import Decimal
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from fluxhero.backtest.agreement import Agreement
from fluxhero.backtest.contract import Contract
from fluxhero.backtest.facts import EngineFacts
from fluxhero.backtest.luck import Luck, Rating
from fluxhero.backtest.performance import Performance
from fluxhero.backtest.trials import REFERENCE
from fluxhero.wording import counted

Mode = Literal["reference", "given", "native"]
Ending = Literal["ok", "not-native", "failed", "timed-out", "out-of-memory", "crashed", "garbage"]


class Part(BaseModel):
    """A part of an evaluation: never changed, and nothing in it that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Machine(Part):
    """What it ran on: without it no time means anything."""

    processor: str
    cores: int
    memory_gb: float
    python: str
    system: str


class DataUsed(Part):
    """Bars of one symbol.

    Attributes:
        symbol: as in the rows.
        timeframe: as in the rows.
        source: where they come from, in words.
        bars: how many.
        first: when the first is over.
        last: when the last is over.
        digest: of symbol, timeframe and every value.
        notes: what was done to them or is odd about them.
    """

    symbol: str
    timeframe: str
    source: str
    bars: int
    first: AwareDatetime
    last: AwareDatetime
    digest: str
    notes: tuple[str, ...]


class EngineUsed(Part):
    """One engine: whether it ran, which one it is, and what its process cost.

    Attributes:
        engine: its short name, as in the rows.
        status: ran (results came back, whichever), unavailable (no environment) or failed (none came back).
        reason: why not, where it did not run; empty where it did.
        versions: of the engine and what it stands on.
        facts: None where there is no environment to read them from.
        import_seconds: until it was imported.
        seconds: of its whole process, all rows of the comparison.
        cpu_seconds: the same, of all cores.
        peak_mb: MiB that its process held at most.
        speed_bars: how many minute bars the run for speed had; None: there was none.
        speed_seconds: import, load and run of it.
        speed_run_seconds: its run alone.
        speed_cpu_seconds: the same, of all cores; much less means that the machine was busy with other things.
        speed_peak_mb: MiB held at most in it.
        speed_failure: why it gave no time; empty where it did.
        sources: where bars were read from with the same result (parquet, duckdb).
        sources_failed: where they were not, each with the cause.
    """

    engine: str
    status: Literal["ran", "unavailable", "failed"]
    reason: str = ""
    versions: dict[str, str] = {}
    facts: EngineFacts | None = None
    import_seconds: float | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None
    peak_mb: float | None = None
    speed_bars: int | None = None
    speed_seconds: float | None = None
    speed_run_seconds: float | None = None
    speed_cpu_seconds: float | None = None
    speed_peak_mb: float | None = None
    speed_failure: str = ""
    sources: tuple[str, ...] = ()
    sources_failed: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """Of the engine's own distribution, whose name may go on after the engine's; empty where not known."""
        names = [name for name in self.versions if name.replace("_", "-").startswith(self.engine)]
        return self.versions[min(names, key=len)] if names else ""


class Conduct(Part):
    """How an engine's fills of one row behave, each counted over its fills.

    Attributes:
        fills: how many there are.
        next_bar: filled at the open of the bar after the signal.
        commission: charged what the contract says, to a cent.
        slippage: filled worse than open or close by what the contract says, to a cent.
    """

    fills: int
    next_bar: int
    commission: int
    slippage: int


class Row(Part):
    """One strategy on one symbol by one engine in one mode; the reference has rows of its own.

    Attributes:
        engine: its short name, or reference.
        mode: reference, given (signals given) or native (the engine's own idiom).
        strategy: its name.
        label: its name with its parameters.
        symbol: whose bars.
        timeframe: of them.
        bars: how many.
        ending: ok, or how it failed.
        error: why; empty where it is ok.
        load_seconds: until the bars were in the engine.
        run_seconds: of the run alone.
        performance: by the one shared implementation; None where it is not ok.
        agreement: with the reference; None for itself and where it is not ok.
        conduct: None for the reference and where it is not ok.
        own: what the engine itself says of sharpe, total_return, max_drawdown and trades.
    """

    engine: str
    mode: Mode
    strategy: str
    label: str
    symbol: str
    timeframe: str
    bars: int
    ending: Ending
    error: str = ""
    load_seconds: float | None = None
    run_seconds: float | None = None
    performance: Performance | None = None
    agreement: Agreement | None = None
    conduct: Conduct | None = None
    own: dict[str, float] = {}


class Validation(Part):
    """One of the audit's validation tests of one engine.

    Attributes:
        engine: its short name, or reference.
        test: buy-and-hold, perfect-predictor, random or walk-forward.
        symbol: whose bars.
        passed: None: could not be done, and the text says why.
        value: what was found, in words and figures.
        wanted: what it should be, in words and figures.
        text: what was reckoned.
        as_reference: whether an engine found the very same as the reference; None: nothing to compare.
    """

    engine: str
    test: str
    symbol: str
    passed: bool | None
    as_reference: bool | None = None
    value: str
    wanted: str
    text: str


class StrategyLuck(Part):
    """Is a strategy's result on one symbol likely to be luck?

    `failures` are faults of other parameters than its own, which a sweep came upon.
    """

    strategy: str
    label: str
    symbol: str
    luck: Luck | None
    reason: str = ""  # why it is not known
    failures: tuple[str, ...] = ()

    @property
    def rating(self) -> Rating:
        """What it comes to, in a word."""
        return self.luck.rating if self.luck else Rating.UNKNOWN


class Measure(Part):
    """One criterion of one engine.

    Attributes:
        criterion: as in the setting evaluation_weights.
        value: in its unit; None: not measured.
        unit: of the value.
        text: the value in words; why there is none, where it was not measured.
        score: 0 to 10 by the criterion's rule; None: not measured, which counts as 0.
        weight: from the settings.
    """

    criterion: str
    value: float | None
    unit: str
    text: str
    score: float | None
    weight: Decimal


class Standing(Part):
    """One engine in the matrix.

    Attributes:
        engine: its short name.
        measures: one a criterion, in the order of the weights.
        total: weighted mean of the scores, 0 to 10.
        unmeasured: the criteria without a value.
        disqualified: each requirement that is not met; empty: it qualifies.
    """

    engine: str
    measures: tuple[Measure, ...]
    total: float
    unmeasured: tuple[str, ...]
    disqualified: tuple[str, ...]


class Decision(Part):
    """What follows from the matrix by the rules.

    Attributes:
        engine: the one that qualifies with the best total; None: none does.
        headline: the decision in one sentence.
        text: why, a paragraph.
        rules: the rules it follows from.
    """

    engine: str | None
    headline: str
    text: str
    rules: tuple[str, ...]


class Curve(Part):
    """Equity for a plot, thinned: not to be reckoned with."""

    engine: str
    mode: Mode
    strategy: str
    symbol: str
    days: tuple[date, ...]
    equity: tuple[float, ...]


class Evaluation(Part):
    """A whole run.

    Attributes:
        run: its name.
        at: when it began.
        release: of this software.
        seconds: that it took.
        machine: what it ran on.
        contract: the rules that all were held to.
        risk_free: yearly rate of the Sharpe ratios.
        data: what was traded.
        speed_data: what the speed was measured on; None: it was not.
        engines: every engine, whether it ran or not; the reference first.
        rows: every engine, strategy, symbol and mode.
        validations: the audit's tests.
        luck: one a strategy and symbol.
        standings: the matrix, best first; the reference is no candidate.
        decision: which engine.
        curves: for plots.
        failures: strategies that could not be run at all, each with the cause.
    """

    run: str
    at: AwareDatetime
    release: str
    seconds: float
    machine: Machine
    contract: Contract
    risk_free: Decimal
    data: tuple[DataUsed, ...]
    speed_data: DataUsed | None
    engines: tuple[EngineUsed, ...]
    rows: tuple[Row, ...]
    validations: tuple[Validation, ...]
    luck: tuple[StrategyLuck, ...]
    standings: tuple[Standing, ...]
    decision: Decision
    curves: tuple[Curve, ...] = ()
    failures: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """The answer first: which engine, if any was asked about, and what the strategies' results are worth."""
        if not self.luck:
            return "No strategy could be run." if self.failures else self.decision.headline
        engines = self.decision.headline if self.standings else ""
        return f"{engines} {_worth(self.luck)}".strip()

    def reference_performance(self, label: str, symbol: str) -> Performance | None:
        """What the reference makes of a strategy with its parameters on a symbol."""
        rows = (row for row in self.rows if (row.engine, row.label) == (REFERENCE, label))
        return next((row.performance for row in rows if row.symbol == symbol), None)


def _worth(luck: tuple[StrategyLuck, ...]) -> str:
    """Whether results are luck, in one sentence: of one of them, or how many of which kind."""
    if not luck:
        return ""
    if len(luck) == 1:
        rating = luck[0].rating
        verb = "" if rating in (Rating.POSSIBLE, Rating.UNKNOWN) else "is "
        why = ": it looks ahead" if rating is Rating.INVALID else ""
        return f"{luck[0].label} on {luck[0].symbol} {verb}{rating}{why}."
    found = Counter(one.rating for one in luck)
    kinds = ", ".join(f"{found[rating]:,} {rating}" for rating in Rating if found[rating])
    return f"{counted(len(luck), 'result')}: {kinds}."
