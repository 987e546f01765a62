"""Orders that are known from their fills only: each is what its fills sum to.

A broker's list of executions names orders without saying what became of them. Where the ledger has no
better word of such an order, it is made of all its fills that the ledger has, whichever file they came in.
An order for several instruments at once, as for a spread, is no row of the ledger: it has no one quantity.
"""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fluxhero.engine import literal
from fluxhero.ledger.schema import CANCELLED_AS, CANCELS, ORDERS

MARK = "derived"  # of such an order's `extra`
_PAGE_ROWS = 25_000

# Fills that were taken back, and those that take them back, are no longer part of what was filled.
_SQL = """
WITH touched AS (
    SELECT DISTINCT order_id FROM read_parquet({written}) WHERE order_id IS NOT NULL AND kind = 'trade'
),
mine AS (
    SELECT f.order_id, mode, broker, symbol, side, quantity, price, executed_at, source, source_id, trade_id,
        account, currency, extra ->> '$.order_type' AS order_type,
        TRY_CAST(extra ->> '$.submitted_at' AS TIMESTAMPTZ) AS submitted_at,
        extra ->> '$.{cancels}' AS taken_back, coalesce(extra ->> '$.{cancelled_as}', fill_id) AS called
    FROM hot.fills f SEMI JOIN touched USING (order_id) WHERE f.kind = 'trade'
),
counted AS (
    SELECT *, taken_back IS NULL
        AND called NOT IN (SELECT taken_back FROM mine WHERE taken_back IS NOT NULL) AS stands
    FROM mine
),
summed AS (
    SELECT order_id, any_value(mode) AS mode, any_value(broker) AS broker, any_value(symbol) AS symbol,
        arg_min(side, executed_at) FILTER (taken_back IS NULL) AS side,
        any_value(order_type) AS order_type,
        coalesce(sum(quantity) FILTER (stands), 0) AS filled,
        sum(quantity) FILTER (taken_back IS NULL) AS ever,
        sum(quantity::DECIMAL(38,8) * price) FILTER (stands) AS paid,
        min(submitted_at) AS submitted_at,
        max(executed_at) FILTER (stands) AS filled_at,
        max(executed_at) AS last_at, any_value(source) AS source,
        arg_max(source_id, executed_at) AS source_id,
        any_value(trade_id) AS trade_id,
        any_value(account) AS account, any_value(currency) AS currency, count(*) FILTER (stands) AS fills
    FROM counted GROUP BY order_id HAVING count(DISTINCT symbol) = 1
)
SELECT order_id, mode, broker, symbol, side, order_type,
    (CASE WHEN filled > 0 THEN filled ELSE ever END)::DECIMAL(18,8) AS quantity,
    filled::DECIMAL(18,8) AS filled_quantity,
    NULL::DECIMAL(18,8) AS limit_price, NULL::DECIMAL(18,8) AS stop_price,
    (paid / nullif(filled, 0))::DECIMAL(18,8) AS average_fill_price,
    CASE WHEN filled > 0 THEN 'filled' ELSE 'cancelled' END AS status,
    submitted_at, NULL::TIMESTAMPTZ AS acknowledged_at, filled_at,
    CASE WHEN filled > 0 THEN NULL ELSE last_at END AS cancelled_at,
    trade_id, source, source_id,
    json_merge_patch('{{}}', json_object('{mark}', true, 'account', account, 'currency', currency,
        'fills', fills))::VARCHAR AS extra
FROM summed WHERE side IS NOT NULL ORDER BY order_id
"""


def derived_orders(
    connection: duckdb.DuckDBPyConnection, written: Path, folder: Path
) -> Iterator[pa.Table]:
    """Yield the orders that fills belong to, made of all their fills in the store attached as `hot`.

    Args:
        connection: on a transaction that has the fills.
        written: Parquet file of the fills that are new.
        folder: where the orders wait, so that few of them are in memory.

    Yields:
        Pages in `ORDERS.arrow`, each order once.
    """
    sql = _SQL.format(
        written=literal(str(written)), mark=MARK, cancels=CANCELS, cancelled_as=CANCELLED_AS
    )
    waiting = folder / "derived.parquet"
    connection.execute(f"COPY ({sql}) TO {literal(str(waiting))} (FORMAT parquet)")
    with pq.ParquetFile(waiting) as file:
        for batch in file.iter_batches(_PAGE_ROWS):
            yield pa.Table.from_batches([batch]).cast(ORDERS.arrow)


def without_told(orders: pa.Table, known: pa.Table) -> pa.Table:
    """The derived orders less those that the ledger knows from somebody who told of the order itself."""
    marked = pc.fill_null(pc.match_substring(known["extra"], f'"{MARK}":true'), False)
    told = known.filter(pc.invert(marked))["order_id"]
    return orders.filter(pc.invert(pc.is_in(orders["order_id"], value_set=told)))
