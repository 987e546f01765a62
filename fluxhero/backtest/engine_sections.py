"""What the evaluation document says of the engines: whether they ran, agree, and what they say themselves."""

from collections.abc import Sequence

from fluxhero.backtest.agreement import MEANINGS, Agreement
from fluxhero.backtest.evaluation import EngineUsed, Evaluation, Row
from fluxhero.backtest.in_words import NONE, money, number, percent
from fluxhero.backtest.markdown import plot
from fluxhero.backtest.trials import REFERENCE
from fluxhero.markdown import table


def engines(evaluation: Evaluation) -> str:
    """Every engine as a process, the reference first."""
    return table(
        (
            "engine",
            "status",
            "version",
            "licence",
            ">import s",
            ">run s",
            ">its CPU s",
            ">with import and load s",
            ">peak MiB",
            ">whole comparison s",
            ">CPU s",
        ),
        (_engine(one) for one in evaluation.engines),
    )


def _engine(one: EngineUsed) -> tuple[str, ...]:
    status = one.status if one.status == "ran" else f"{one.status}: {one.reason}"
    return (
        one.engine,
        status,
        one.version or NONE,
        one.facts.licence if one.facts else NONE,
        number(one.import_seconds),
        _seconds(one.speed_run_seconds) if not one.speed_failure else one.speed_failure,
        _seconds(one.speed_cpu_seconds),
        _seconds(one.speed_seconds),
        NONE if one.speed_peak_mb is None else f"{one.speed_peak_mb:,.0f}",
        _seconds(one.seconds),
        _seconds(one.cpu_seconds),
    )


def _seconds(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:.4f}" if value < 0.1 else f"{value:,.2f}"  # noqa: PLR2004  # below it two digits say nothing


def agreement(evaluation: Evaluation, plots: Sequence[str]) -> list[str]:
    """How far every engine agrees with the reference, and what the differences come from."""
    given = [row for row in evaluation.rows if row.mode == "given"]
    native = [row for row in evaluation.rows if row.mode == "native" and row.ending != "not-native"]
    names = list(dict.fromkeys(row.engine for row in given))
    apart = [row for row in given if row.agreement is None or not row.agreement.to_the_cent]
    none = "Every run with given signals agrees to the cent." if given and not apart else ""
    return [
        "### Signals given",
        (
            "Every engine gets the same signals and has to execute them by the contract with its own order and cash"
            " machinery: every fill and the equity at every bar are compared."
        ),
        table(
            ("engine", ">runs", ">to the cent", ">fills", ">the same", ">largest difference, USD"),
            (_totals(engine, given) for engine in names),
        ),
        none or "These do not agree:",
        _rows(apart),
        "### Its own idiom",
        (
            "The strategy as the engine's documentation would have it: own indicator, own sizing, its"
            " settings for costs, its usual moment of filling. What differs is attributed: the run is"
            " replayed by the contract, letting in one deviation after the other, so that the dollars"
            " of all causes add up to the whole difference exactly."
        ),
        plot("causes", plots),
        _rows(native),
        "Causes: " + "; ".join(f"*{kind.value}*, {said}" for kind, said in MEANINGS.items()) + ".",
        plot("equity", plots),
    ]


def _totals(engine: str, rows: Sequence[Row]) -> tuple[object, ...]:
    mine = [row for row in rows if row.engine == engine]
    found = [row.agreement for row in mine if row.agreement is not None]
    largest = max((one.largest_difference for one in found), default=None)
    return (
        engine,
        len(mine),
        sum(one.to_the_cent for one in found),
        f"{sum(one.fills_engine for one in found):,}",
        f"{sum(one.fills_equal for one in found):,}",
        NONE if largest is None else f"{largest:,.8f}".rstrip("0").rstrip("."),
    )


def _rows(rows: Sequence[Row]) -> str:
    return table(
        ("engine", "strategy", "symbol", ">signals", ">fills", ">difference, USD", "comes from"),
        (
            (
                row.engine,
                row.label,
                row.symbol,
                *(
                    _difference(row.agreement)
                    if row.agreement
                    else (NONE, NONE, NONE, f"{row.ending}: {row.error}")
                ),
            )
            for row in rows
        ),
    )


def _difference(found: Agreement) -> tuple[str, str, str, str]:
    causes = "; ".join(
        f"{one.kind.value} {one.dollars:+,.2f}" + (f" ({one.example})" if one.example else "")
        for one in found.causes
    )
    return (
        f"{found.signals_differ:,} differ" if found.signals_differ else "the same",
        f"{found.fills_equal:,} of {found.fills_reference:,}",
        money(found.final_difference),
        causes or "agrees to the cent",
    )


def own_figures(evaluation: Evaluation) -> list[str]:
    """The Sharpe ratio that each engine computes of one and the same equity."""
    rows = [
        row
        for row in evaluation.rows
        if row.mode == "given" and row.agreement and row.agreement.to_the_cent and row.performance
    ]
    if not rows:
        return []
    first = rows[0]
    same = [row for row in rows if (row.label, row.symbol) == (first.label, first.symbol)]
    figures = table(
        ("engine", ">its Sharpe", ">its return", ">its drawdown", ">its trades"),
        [
            (REFERENCE, *_figures(_shared(first))),
            *((row.engine, *_figures(row.own)) for row in same),
        ],
    )
    return [
        "### Their own figures",
        (
            f"What each engine says itself of {first.label} on {first.symbol}, where its equity is the"
            " reference's to the cent. This is why no engine's own figures are used anywhere else."
        ),
        figures,
    ]


def _shared(row: Row) -> dict[str, float]:
    found = row.performance
    names = ("sharpe", "total_return", "max_drawdown", "trades")
    values = {name: getattr(found, name) for name in names}
    return {name: float(value) for name, value in values.items() if value is not None}


def _figures(own: dict[str, float]) -> tuple[str, str, str, str]:
    return (
        number(own.get("sharpe")),
        percent(own.get("total_return")),
        percent(own.get("max_drawdown")),
        f"{own['trades']:,.0f}" if "trades" in own else NONE,
    )
