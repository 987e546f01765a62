"""Orders by status, and how long brokers took to acknowledge and fill them.

Latency is reckoned in whole microseconds, so that neither the order of rows nor where they are moves a sum.
What has no times has no series; what is negative (two clocks, or times cut to seconds) is counted apart and
in nothing else.
"""

from datetime import datetime
from typing import Final

import duckdb

from fluxhero.engine import literal
from fluxhero.integrity.suites.orders import WORKING
from fluxhero.ledger.schema import FINAL_ORDERS, FINISHED_ORDERS
from fluxhero.metrics.histograms import histogram_samples
from fluxhero.metrics.samples import OTHER, Sample, sample
from fluxhero.metrics.windows import columns_sql, window_samples

BOUNDS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0
)  # fmt: skip
MOST_BROKERS: Final = 10
UNKNOWN: Final = "unknown"  # a broker nobody named
ORDER_TYPES: Final = ("market", "limit", "stop", "stop_limit", "trailing_stop")
_EVENTS: Final = {"ack": "acknowledged_at", "fill": "filled_at"}
_MICROSECONDS = 1_000_000


def order_samples(connection: duckdb.DuckDBPyConnection, now: datetime) -> list[Sample]:
    """The metrics of orders.

    Args:
        connection: of `ledger_facts`.
        now: end of the windows.
    """
    connection.execute(_LABELS_SQL)
    samples = _counts(connection)
    for event, column in _EVENTS.items():
        samples += _histograms(connection, event, column)
        samples += _windows(connection, event, column, now)
    return samples


def _listed(values: tuple[str, ...]) -> str:
    return ", ".join(map(literal, values))


def _bounded(column: str, known: tuple[str, ...]) -> str:
    """SQL of a label that has only known values."""
    text = f"lower(trim({column}))"
    return f"CASE WHEN {text} IN ({_listed(known)}) THEN {text} ELSE {literal(OTHER)} END"


# Those that came first keep their names, whoever comes after.
_LABELS_SQL = f"""
CREATE OR REPLACE TEMP TABLE broker_labels AS
WITH named AS (
    SELECT broker, min(submitted_at) AS since, substr(coalesce(nullif(
        regexp_replace(lower(trim(broker)), '[^a-z0-9_-]+', '_', 'g'), ''), {literal(UNKNOWN)}), 1, 40) AS label
    FROM orders GROUP BY broker
), ranked AS (
    SELECT label, row_number() OVER (ORDER BY min(since) NULLS LAST, label) AS place FROM named GROUP BY label
)
SELECT broker, CASE WHEN place <= {MOST_BROKERS} THEN label ELSE {literal(OTHER)} END AS label
FROM named JOIN ranked USING (label);
CREATE OR REPLACE TEMP TABLE type_labels AS
SELECT DISTINCT order_type, {_bounded("order_type", ORDER_TYPES)} AS label FROM orders;
"""
_OF_BROKER = "JOIN broker_labels ON broker_labels.broker IS NOT DISTINCT FROM counted.broker"
_OF_TYPE = "JOIN type_labels ON type_labels.order_type IS NOT DISTINCT FROM counted.order_type"


def _counts(connection: duckdb.DuckDBPyConnection) -> list[Sample]:
    rows = connection.execute(
        f"SELECT mode, label, {_bounded('status', (*FINISHED_ORDERS, *WORKING))} AS status, "
        "sum(n)::BIGINT FROM (SELECT mode, broker, status, count(*) AS n FROM orders GROUP BY ALL) AS counted "
        f"{_OF_BROKER} GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return [
        sample(
            "orders_total" if status in FINAL_ORDERS else "orders_working",
            count,
            mode=mode,
            broker=broker,
            status=status,
        )
        for mode, broker, status, count in rows
    ]


def _timed_sql(column: str) -> str:
    """Orders with both times, and the latency between them."""
    return (
        f"SELECT mode, broker, order_type, {column} AS moment, epoch_us({column}) - epoch_us(submitted_at) AS latency "
        f"FROM orders WHERE submitted_at IS NOT NULL AND {column} IS NOT NULL"
    )


def _histograms(connection: duckdb.DuckDBPyConnection, event: str, column: str) -> list[Sample]:
    bands = "".join(
        f"WHEN latency <= {round(bound * _MICROSECONDS)} THEN {place} "
        for place, bound in enumerate(BOUNDS)
    )
    rows = connection.execute(
        f"WITH counted AS (SELECT mode, broker, order_type, "
        f"CASE WHEN latency < 0 THEN -1 {bands}ELSE {len(BOUNDS)} END AS band, "
        f"count(*) AS n, sum(latency) AS total FROM ({_timed_sql(column)}) GROUP BY ALL) "
        f"SELECT mode, broker_labels.label, type_labels.label, band, sum(n)::BIGINT, sum(total)::HUGEINT "
        f"FROM counted {_OF_BROKER} {_OF_TYPE} GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    negative: dict[str, int] = {}
    counts: dict[tuple[str, str, str], list[int]] = {}
    totals: dict[tuple[str, str, str], int] = {}
    for mode, broker, order_type, band, count, total in rows:
        negative[mode] = negative.get(mode, 0) + (count if band < 0 else 0)
        if band >= 0:
            key = (mode, broker, order_type)
            counts.setdefault(key, [0] * (len(BOUNDS) + 1))[band] = count
            totals[key] = totals.get(key, 0) + total
    return [
        *(
            one
            for (mode, broker, order_type), bands_of in counts.items()
            for one in histogram_samples(
                f"order_{event}_latency_seconds",
                BOUNDS,
                bands_of,
                totals[mode, broker, order_type] / _MICROSECONDS,
                mode=mode,
                broker=broker,
                order_type=order_type,
            )
        ),
        *(
            sample("order_latency_negative_total", count, mode=mode, event=event)
            for mode, count in negative.items()
        ),
    ]


def _windows(
    connection: duckdb.DuckDBPyConnection, event: str, column: str, now: datetime
) -> list[Sample]:
    rows = connection.execute(
        f"SELECT mode, type_labels.label, {columns_sql('latency', 'moment', now)} "
        f"FROM ({_timed_sql(column)}) AS counted {_OF_TYPE} "
        "WHERE latency >= 0 GROUP BY ALL ORDER BY 1, 2"
    ).fetchall()
    return [
        one
        for mode, order_type, *found in rows
        for one in window_samples(
            f"order_{event}_latency_window", found, mode=mode, order_type=order_type
        )
    ]
