"""Cash: what trades, deposits and withdrawals come to, against the equity that was recorded.

Judged by steps from one recorded point to the next: a difference that stays is one missing or wrong
item, reported where it comes in, and every later one is found, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from fluxhero.engine import literal
from fluxhero.integrity import ledger_rules as rules
from fluxhero.integrity.ledger import Ledger
from fluxhero.integrity.results import MOST_SAMPLED, Result, failed, passed
from fluxhero.ledger.currencies import summable_sql
from fluxhero.ledger.rows import CLOSED_AT
from fluxhero.ledger.schema import CASH_FLOWS, EQUITY, TRADES
from fluxhero.wording import counted

CENT = Decimal("0.01")  # equity is recorded in cents, and so may each result be
_HALF_CENT = Decimal("0.005")


@dataclass(frozen=True, slots=True)
class Step:
    """A recorded point and what came about since the one before it.

    Attributes:
        at: time of the point.
        equity: as recorded.
        expected: as reckoned.
        items: trades and cash flows since the point before.
    """

    at: datetime
    equity: Decimal
    expected: Decimal
    items: int

    @property
    def difference(self) -> Decimal:
        """How much more was recorded than reckoned."""
        return self.equity - self.expected


def check_cash(ledger: Ledger) -> Iterator[Result]:
    """`ledger.cash`, for each mode that has equity points."""
    modes = ledger.connection.execute("SELECT DISTINCT mode FROM hot.equity ORDER BY 1").fetchall()
    if not modes:
        yield passed(rules.CASH, EQUITY.name, checked=0)
        return
    batches = ledger.chain.of_table(TRADES.name)
    for (mode,) in modes:
        with ledger.scope.workspace.scanning(batches):
            steps = _steps(ledger, mode)
        yield _judge(f"{EQUITY.name} ({mode})", mode, steps)


def _steps(ledger: Ledger, mode: str) -> list[Step]:
    """The mode's points in order.

    One without an open result counts only if no trade was open then. A fee or a withdrawal takes
    money out, whichever sign its source writes.
    """
    connection, store = ledger.connection, ledger.scope.workspace.store
    trades = ledger.archived(TRADES.name, ledger.chain.of_table(TRADES.name), hot_too=True)
    connection.execute(
        f'CREATE OR REPLACE TEMP TABLE points AS SELECT "at" AS time, equity, unrealized_pnl '
        f"FROM hot.equity WHERE mode = {literal(mode)}"
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW mine AS SELECT entry_time, realized_pnl, "
        f"CASE WHEN status = 'closed' THEN {CLOSED_AT} END AS closed "
        f"FROM ({trades}) WHERE mode = {literal(mode)} AND status IN ('open', 'closed') "
        f"AND {summable_sql(store, TRADES)}"
    )
    connection.execute(f"CREATE OR REPLACE TEMP TABLE unvalued AS {_unvalued_sql(ledger)}")
    rows = connection.execute(
        f"""
        WITH items AS (
            SELECT closed AS time, realized_pnl AS amount FROM mine WHERE closed IS NOT NULL
            UNION ALL
            SELECT "at", CASE WHEN kind IN ('withdrawal', 'fee') THEN -abs(amount) ELSE amount END
            FROM hot.cash_flows WHERE mode = {literal(mode)} AND {summable_sql(store, CASH_FLOWS)}
        ),
        booked AS (
            SELECT p.time, sum(i.amount) AS amount, count(*) AS items
            FROM items i ASOF JOIN points p ON i.time <= p.time GROUP BY p.time
        )
        SELECT time, equity,
            sum(coalesce(amount, 0)) OVER (ORDER BY time) + coalesce(unrealized_pnl, 0),
            sum(coalesce(items, 0)) OVER (ORDER BY time)::BIGINT,
            time IN (FROM unvalued)
        FROM points LEFT JOIN booked USING (time) ORDER BY time
        """
    ).fetchall()
    steps: list[Step] = []
    before = 0
    for at, equity, reckoned, items, unvalued in rows:
        if not unvalued:
            expected = ledger.scope.initial_capital + reckoned
            steps.append(Step(at, equity, expected, items - before))
            before = items
    return steps


def _unvalued_sql(ledger: Ledger) -> str:
    """SELECT the points that do not say what the trades open at that time were worth."""
    missing = "SELECT time FROM points WHERE unrealized_pnl IS NULL"
    if not ledger.connection.execute(missing).fetchone():
        return missing
    return f"""
        SELECT p.time FROM ({missing}) p ASOF JOIN (
            SELECT time, arg_max(open, change) AS open FROM (
                SELECT time, change, sum(change) OVER (ORDER BY time, change) AS open FROM (
                    SELECT entry_time AS time, 1 AS change FROM mine
                    UNION ALL SELECT closed, -1 FROM mine WHERE closed IS NOT NULL))
            GROUP BY time) o ON p.time >= o.time
        WHERE o.open > 0
    """


def _judge(about: str, mode: str, steps: list[Step]) -> Result:
    before = Decimal(0)
    broken: list[tuple[Step, Decimal]] = []
    for step in steps:
        change = step.difference - before
        if abs(change) > CENT + _HALF_CENT * step.items:
            broken.append((step, change))
        before = step.difference
    if not broken:
        return passed(rules.CASH, about, len(steps))
    first, amount = broken[0]
    return failed(
        rules.CASH,
        about,
        f"at {first.at.isoformat()} the recorded equity is {_money(first.equity)}, {_money(abs(amount))} "
        f"{'more' if amount > 0 else 'less'} than trades and cash flows come to; {_afterwards(broken, steps)}",
        count=len(broken),
        checked=len(steps),
        keys=tuple(f"{mode} {step.at.isoformat()}" for step, _ in broken),
        sample=tuple(
            {
                "at": step.at.isoformat(),
                "equity": _money(step.equity),
                "reckoned": _money(step.expected),
                "difference": _money(step.difference),
                "since the point before": _money(change),
            }
            for step, change in broken[:MOST_SAMPLED]
        ),
        sql=f'SELECT * FROM equity WHERE mode = {literal(mode)} ORDER BY "at"',
    )


def _afterwards(broken: list[tuple[Step, Decimal]], steps: list[Step]) -> str:
    """How the difference moves after the first break."""
    later = len(steps) - steps.index(broken[0][0]) - 1
    if not later:
        return "it is the last point"
    if len(broken) == 1:
        return (
            f"the difference stays the same at the {counted(later, 'point')} after it, as when one trade or "
            "cash flow is missing or wrong"
        )
    second = broken[1][0]
    return (
        f"it changes again at {counted(len(broken) - 1, 'later point')}, first at {second.at.isoformat()}, "
        f"and is {_money(steps[-1].difference)} in the end"
    )


def _money(amount: Decimal) -> str:
    return (
        f"{amount.quantize(CENT):,}"
        if amount == amount.quantize(CENT)
        else f"{amount.normalize():,f}"
    )
