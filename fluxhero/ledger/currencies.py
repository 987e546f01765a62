"""Which rows' money may be added up, stated once: that of the base currency, and of no other."""

from fluxhero.ledger.schema import BASE_CURRENCY, Table
from fluxhero.ledger.store import HotStore


def summable_sql(store: HotStore, table: Table) -> str:
    """SQL condition of a table's rows whose money may be added up.

    A currency stands in the column of that name, or in `extra` where there is none; where nothing is said,
    it is the base currency. What is in `extra` is looked at only where the word occurs in it. A bot's own
    database is one account in one currency, and has no word of it.
    """
    if not told_in(store, table):
        return "true"
    currency = "currency"
    if "currency" not in table.names:
        text = "extra::VARCHAR"
        currency = (
            f"CASE WHEN contains({text}, '\"currency\"') "
            f"THEN json_extract_string({text}, '$.currency') END"
        )
    return is_base_sql(currency)


def is_base_sql(currency: str) -> str:
    """SQL condition that a currency is the one of every sum; none at all is."""
    return f"coalesce(nullif({currency}, ''), '{BASE_CURRENCY}') = '{BASE_CURRENCY}'"


def told_in(store: HotStore, table: Table) -> tuple[str, ...]:
    """The column that `summable_sql` reads, if any."""
    if store.own_schema(table.name) != table.arrow:
        return ()
    return tuple(name for name in ("currency", "extra") if name in table.names)[:1]
