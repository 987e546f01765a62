"""What is held now: positions, what they are worth, and what is lost if every stop is hit.

A mode's positions are those that its source lists; where it lists none, its open trades by symbol and
side. Stops are those of open trades; of a mode without any, those of its positions.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import duckdb

from fluxhero.metrics.facts import Holdings, Strategy, TradeRisk
from fluxhero.metrics.samples import Sample, sample

_MODES_SQL = "SELECT mode FROM trades UNION SELECT mode FROM positions ORDER BY mode"
# Wide enough that no product and no difference of what the ledger can hold is too large for it.
_WIDE = "DECIMAL(38,8)"
_POSITIONS_SQL = f"""
WITH listed AS (SELECT DISTINCT mode FROM positions),
held AS (
    SELECT mode, symbol, side, abs(quantity::{_WIDE} * coalesce(current_price, entry_price)) AS amount
    FROM positions WHERE quantity IS DISTINCT FROM 0
    UNION ALL
    SELECT mode, symbol, side, CASE WHEN count(amount) = count(*) THEN sum(amount) END
    FROM (
        SELECT mode, symbol, side, abs(quantity::{_WIDE} * entry_price) AS amount
        FROM trades WHERE status = 'open'
    )
    ANTI JOIN listed USING (mode)
    GROUP BY mode, symbol, side
)
SELECT mode, count(*), CASE WHEN count(amount) = count(*) THEN sum(amount) END, max(amount),
    first(symbol ORDER BY amount DESC, symbol)
FROM held GROUP BY mode
"""
# What is lost at the stop where the side says nothing is the worse of both. 0 stands for no stop.
_RISKS_SQL = f"""
WITH opened AS (SELECT * FROM trades WHERE status = 'open'),
stops AS (
    SELECT mode, trade_id AS name, strategy, side, quantity, entry_price AS price, stop_loss
    FROM opened
    UNION ALL
    SELECT mode, concat_ws(' ', symbol, side), NULL, side, quantity,
        coalesce(entry_price, current_price), stop_loss
    FROM positions ANTI JOIN opened USING (mode) WHERE quantity IS DISTINCT FROM 0
)
SELECT mode, name, strategy, CASE WHEN loss > 0 THEN abs(quantity) * loss WHEN loss <= 0 THEN 0 END
FROM (
    SELECT *, CASE side WHEN 'long' THEN price - stop WHEN 'short' THEN stop - price
        ELSE abs(price - stop) END AS loss
    FROM (SELECT *, nullif(stop_loss, 0)::{_WIDE} AS stop FROM stops)
)
ORDER BY mode, name
"""
_NOTHING: tuple[int, Decimal, None, None] = (0, Decimal(0), None, None)


def holdings(connection: duckdb.DuckDBPyConnection) -> list[Holdings]:
    """What each mode that has trades or positions holds.

    Args:
        connection: of `ledger_facts`.
    """
    modes = [mode for (mode,) in connection.execute(_MODES_SQL).fetchall()]
    held = {mode: row for mode, *row in connection.execute(_POSITIONS_SQL).fetchall()}
    risks: dict[str, list[TradeRisk]] = {mode: [] for mode in modes}
    without_stop = dict.fromkeys(modes, 0)
    for mode, name, strategy, amount in connection.execute(_RISKS_SQL).fetchall():
        if amount is None:
            without_stop[mode] += 1
        else:
            risks[mode].append(TradeRisk(name, _kind(strategy), amount))
    return [
        _holdings(mode, tuple(risks[mode]), without_stop[mode], *held.get(mode, _NOTHING))
        for mode in modes
    ]


def _holdings(
    mode: str,
    risks: tuple[TradeRisk, ...],
    without_stop: int,
    positions: int,
    exposure: Decimal | None,
    largest: Decimal | None,
    largest_symbol: str | None,
) -> Holdings:
    priced = exposure is not None
    return Holdings(
        mode=mode,
        positions=positions,
        exposure=exposure,
        largest=largest if priced else None,
        largest_symbol=largest_symbol if priced else None,
        risks=risks,
        without_stop=without_stop,
    )


def _kind(strategy: str | None) -> Strategy:
    """The kind of a strategy by its name."""
    text = (strategy or "").lower()
    if "trend" in text:
        return Strategy.TREND
    if "mean" in text or "reversion" in text:
        return Strategy.MEAN_REVERSION
    return Strategy.OTHER


def holding_samples(
    holdings: Sequence[Holdings], equity_by_mode: Mapping[str, Decimal]
) -> list[Sample]:
    """Samples of what is held; ratios only of modes whose equity is known and above zero."""
    samples = []
    for held in holdings:
        equity = equity_by_mode.get(held.mode)
        samples += list(_in_money(held))
        if equity is not None and equity > 0:
            samples += list(_in_ratios(held, equity))
    return samples


def _in_money(held: Holdings) -> Iterator[Sample]:
    yield sample("positions_open", held.positions, mode=held.mode)
    if held.exposure is not None:
        yield sample("exposure_usd", float(held.exposure), mode=held.mode)
    yield sample("risk_at_stops_usd", float(held.risk_at_stops), mode=held.mode)
    yield sample("positions_without_stop", held.without_stop, mode=held.mode)


def _in_ratios(held: Holdings, equity: Decimal) -> Iterator[Sample]:
    if held.exposure is not None:
        largest = held.largest or Decimal(0)
        yield sample("exposure_ratio", float(held.exposure / equity), mode=held.mode)
        yield sample("position_max_ratio", float(largest / equity), mode=held.mode)
    yield sample("risk_at_stops_ratio", float(held.risk_at_stops / equity), mode=held.mode)
    for strategy in Strategy:
        amounts = [risk.amount for risk in held.risks if risk.strategy is strategy]
        worst = max(amounts, default=Decimal(0))
        yield sample(
            "trade_risk_max_ratio", float(worst / equity), mode=held.mode, strategy=strategy.value
        )
