"""Orders and trades against each other, and the same fill under two ids.

Looked at are the hot rows and those of batches that did not pass before; what they refer to is looked
for everywhere. A batch passes when none of its rows breaks any of these rules.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fluxhero.archive.manifest import Manifest
from fluxhero.engine import scalar
from fluxhero.integrity import ledger_rules as rules
from fluxhero.integrity.faults import gather
from fluxhero.integrity.ledger import BOTH, Ledger
from fluxhero.integrity.results import Result, failed, passed
from fluxhero.integrity.rules import Rule
from fluxhero.ledger.schema import LEDGER_TABLES, ORDERS, TRADES
from fluxhero.ledger.view import BATCH_ID
from fluxhero.wording import counted

CHECK = "ledger.rows"  # by this name batches are remembered that kept all of these rules

# What makes two rows of a table the same fill, and which rows are one.
_SAME = {
    TRADES.name: (
        "mode, symbol, side, quantity, entry_price, entry_time, exit_price, exit_time",
        "status = 'closed' AND exit_time IS NOT NULL AND exit_price IS NOT NULL",
        "exit_time",
    ),
    ORDERS.name: (
        "mode, broker, symbol, side, filled_quantity, average_fill_price, filled_at",
        "filled_quantity > 0 AND filled_at IS NOT NULL",
        "filled_at",
    ),
}


@dataclass
class Subjects:
    """The rows that are looked at.

    Attributes:
        new: table → batches that did not pass before.
        at_fault: ids of batches with a row that breaks a rule.
    """

    new: dict[str, list[Manifest]]
    at_fault: set[str] = field(default_factory=set)


def check_rows(ledger: Ledger) -> Iterator[Result]:
    """Check all of these rules, and remember the batches in which nothing was found."""
    chain, tables = ledger.chain, (TRADES.name, ORDERS.name)
    with ledger.scope.workspace.scanning([m for table in tables for m in chain.of_table(table)]):
        subjects = _subjects(ledger, tables)
        yield from _check_orders(ledger, subjects)
        for table in ledger.tables:
            yield _check_same_fill(ledger, subjects, table)
    for manifests in subjects.new.values():
        ledger.passed(CHECK, [m for m in manifests if m.batch_id not in subjects.at_fault])


def _subjects(ledger: Ledger, tables: Sequence[str]) -> Subjects:
    """Find the rows to look at; makes the views `some_trades` and `some_orders`."""
    new = {table: ledger.new(CHECK, ledger.chain.of_table(table)) for table in tables}
    for table, manifests in new.items():
        rows = ledger.archived(table, manifests, hot_too=True)
        ledger.connection.execute(f"CREATE OR REPLACE TEMP VIEW some_{table} AS {rows}")
    return Subjects(new)


def _verdict(
    ledger: Ledger,
    subjects: Subjects,
    rule: Rule,
    table: str,
    *,
    found: str,
    says: str,
    sql: str,
) -> Result:
    """Run a SELECT of `key`, `_batch_id` and what to show, and say what came of it."""
    about = BOTH.format(table)
    checked = scalar(ledger.connection, f"SELECT count(*) FROM some_{table}")
    faults = gather(ledger.connection, found)
    if not faults.count:
        return passed(rule, about, checked)
    subjects.at_fault |= faults.batches
    return failed(
        rule,
        about,
        f"{counted(faults.count, table[:-1])} {says}",
        count=faults.count,
        checked=checked,
        keys=faults.keys,
        sample=faults.sample,
        sql=sql,
    )


def _check_orders(ledger: Ledger, subjects: Subjects) -> Iterator[Result]:
    """`ledger.order-has-trade`, `ledger.trade-has-orders` and `ledger.order-agrees`."""
    if not _any(ledger, ORDERS.name):
        for rule, table in (
            (rules.ORDER_HAS_TRADE, ORDERS.name),
            (rules.TRADE_HAS_ORDERS, TRADES.name),
            (rules.ORDER_AGREES, TRADES.name),
        ):
            yield passed(rule, BOTH.format(table), checked=0)
        return
    yield _verdict(
        ledger,
        subjects,
        rules.ORDER_HAS_TRADE,
        ORDERS.name,
        found=f"SELECT order_id AS key, trade_id, mode, symbol, side, status, filled_quantity, {BATCH_ID} "
        f"FROM some_orders WHERE trade_id IS NOT NULL "
        f"AND trade_id NOT IN (SELECT trade_id FROM ({_trades_of(ledger)}))",
        says="of a trade that is neither hot nor archived",
        sql="SELECT order_id AS key, * FROM orders WHERE trade_id IS NOT NULL "
        "AND trade_id NOT IN (SELECT trade_id FROM trades)",
    )
    yield _without_orders(ledger, subjects)
    yield _disagreeing(ledger, subjects)


def _any(ledger: Ledger, table: str) -> bool:
    hot = scalar(ledger.connection, f"SELECT count(*) FROM hot.{table}")
    return bool(hot or ledger.chain.of_table(table))


def _trades_of(ledger: Ledger) -> str:
    """SELECT the trades that the orders looked at name, wherever they are."""
    named = "SELECT trade_id AS key FROM some_orders WHERE trade_id IS NOT NULL"
    unsettled = f"{named} AND trade_id NOT IN (SELECT trade_id FROM hot.trades)"
    near = ledger.holding_keys(TRADES.name, unsettled)
    rows = ledger.archived(TRADES.name, near, hot_too=True)
    return f"SELECT * FROM ({rows}) WHERE trade_id IN (SELECT key FROM ({named}))"


def _orders_of(ledger: Ledger, trades: str) -> str:
    """SELECT the orders that name one of these trades, wherever they are."""
    rows = ledger.archived(ORDERS.name, ledger.chain.of_table(ORDERS.name), hot_too=True)
    return f"SELECT * FROM ({rows}) WHERE trade_id IN (SELECT trade_id FROM ({trades}))"


def _without_orders(ledger: Ledger, subjects: Subjects) -> Result:
    """A source that has orders at all has them from a moment on: before it nothing is missing."""
    every_order = ledger.archived(ORDERS.name, ledger.chain.of_table(ORDERS.name), hot_too=True)
    ledger.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE ordered AS SELECT trade_id, min(coalesce(submitted_at, filled_at)) AS sent "
        f"FROM ({every_order}) WHERE trade_id IS NOT NULL GROUP BY 1"
    )
    near = ledger.holding_keys(TRADES.name, "SELECT trade_id AS key FROM ordered")
    ledger.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE ordering AS SELECT source, mode, min(sent) AS since "
        f"FROM ({ledger.archived(TRADES.name, near, hot_too=True)}) JOIN ordered USING (trade_id) GROUP BY 1, 2"
    )
    return _verdict(
        ledger,
        subjects,
        rules.TRADE_HAS_ORDERS,
        TRADES.name,
        found=f"SELECT t.trade_id AS key, t.mode, t.source, t.symbol, t.entry_time, t.{BATCH_ID} "
        f"FROM some_trades t JOIN ordering o ON o.source IS NOT DISTINCT FROM t.source AND o.mode = t.mode "
        f"WHERE t.status IN ('open', 'closed') AND t.entry_time >= o.since "
        f"AND t.trade_id NOT IN (SELECT trade_id FROM ordered)",
        says="without an order, while the other trades of the source have some",
        sql="SELECT trade_id AS key, * FROM trades WHERE trade_id NOT IN "
        "(SELECT trade_id FROM orders WHERE trade_id IS NOT NULL)",
    )


def _disagreeing(ledger: Ledger, subjects: Subjects) -> Result:
    ledger.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE concerned AS SELECT trade_id, any_value(mode) AS mode, "
        f"any_value(symbol) AS symbol, any_value(side) AS side, any_value(quantity) AS quantity, "
        f"any_value({BATCH_ID}) AS {BATCH_ID} FROM (SELECT * FROM some_trades UNION ALL BY NAME {_trades_of(ledger)}) "
        f"WHERE status = 'closed' GROUP BY 1"
    )
    fills = (
        f"SELECT trade_id, coalesce(bool_or(o.mode <> t.mode), false) AS other_mode, "
        f"coalesce(bool_or(o.symbol <> t.symbol), false) AS other_symbol, "
        f"sum(filled) FILTER ((o.side = 'buy') = (t.side = 'long')) AS entered, "
        f"sum(filled) FILTER ((o.side = 'sell') = (t.side = 'long')) AS left_, "
        f"max(o.{BATCH_ID}) AS order_batch FROM concerned t JOIN (SELECT *, "
        f"coalesce(filled_quantity, CASE WHEN status = 'filled' THEN quantity END) AS filled "
        f"FROM ({_orders_of(ledger, 'SELECT trade_id FROM concerned')})) o USING (trade_id) "
        f"WHERE filled > 0 GROUP BY 1"
    )
    return _verdict(
        ledger,
        subjects,
        rules.ORDER_AGREES,
        TRADES.name,
        found=f"SELECT t.trade_id AS key, t.mode, t.symbol, t.side, t.quantity, f.entered AS filled_entry, "
        f"f.left_ AS filled_exit, f.other_mode, f.other_symbol, coalesce(t.{BATCH_ID}, f.order_batch) AS {BATCH_ID} "
        f"FROM concerned t JOIN ({fills}) f USING (trade_id) WHERE f.other_mode OR f.other_symbol "
        f"OR f.entered <> t.quantity OR f.left_ <> t.quantity",
        says="with filled orders of another quantity, symbol or mode",
        sql="SELECT t.trade_id AS key, t.quantity, o.order_id, o.side, o.filled_quantity, o.symbol, o.mode "
        "FROM trades t JOIN orders o USING (trade_id) WHERE t.status = 'closed' QUALIFY o.symbol <> t.symbol "
        "OR o.mode <> t.mode OR sum(o.filled_quantity) OVER (PARTITION BY t.trade_id, o.side) <> t.quantity",
    )


def _check_same_fill(ledger: Ledger, subjects: Subjects, table: str) -> Result:
    """`ledger.same-fill-twice`: other batches are read where their times meet those looked at."""
    same, is_fill, at = _SAME[table]
    fill = f"(PARTITION BY {same})"
    key, connection = LEDGER_TABLES[table].key[0], ledger.connection
    others = [m for m in ledger.chain.of_table(table) if m not in subjects.new[table]]
    times = f"SELECT DISTINCT {at} AS closed FROM some_{table} WHERE {is_fill}"
    near = ledger.closed_when(times, others) if others else []
    rows = f"SELECT * FROM ({ledger.archived(table, [*subjects.new[table], *near], hot_too=True)}) WHERE {is_fill}"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE alike AS SELECT hash({same}) AS hash FROM ({rows}) "
        f"GROUP BY 1 HAVING count(*) > 1"
    )
    return _verdict(
        ledger,
        subjects,
        rules.SAME_FILL_TWICE,
        table,
        found=f"SELECT {key} AS key, {same}, source, {BATCH_ID} FROM ({rows}) "
        f"WHERE hash({same}) IN (FROM alike) "
        f"QUALIFY min({key}) OVER {fill} <> max({key}) OVER {fill}",
        says="that have the same fill as another one",
        sql=f"SELECT {key} AS key, {same} FROM {table} WHERE {is_fill} "
        f"QUALIFY count(*) OVER {fill} > 1 ORDER BY {at}",
    )
