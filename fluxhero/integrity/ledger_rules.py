"""The rules of the ledger as a whole: hot store against archive, rows against each other, cash.

How each is checked is said where it is checked; see `reconcile`.
"""

from fluxhero.integrity.rules import Rule, Severity

HOT_EQUALS_ARCHIVED = Rule(
    name="ledger.hot-equals-archived",
    severity=Severity.WARNING,
    says="No row is in the hot store again after its purge, unless it was restored or is on hold.",
    means="An old backup of the hot store was put back, or an old export was imported again. No number "
    "is wrong: the ledger counts such a row once, and it equals its archived copy.",
    remedy="Find out who put the rows back. `fluxhero archive` removes them again; to keep them hot, use "
    "`fluxhero hold add --trade ID`.",
)
HOT_DIFFERS = Rule(
    name="ledger.hot-differs-from-archived",
    severity=Severity.ERROR,
    says="A hot row that the archive has, too, has the values of its latest archived version.",
    means="Somebody changed a trade after it was archived, or put an old state of it back. The ledger "
    "shows the hot values, while whoever reads the archive's files sees the archived ones.",
    remedy="Compare both versions below. If the hot one is right, `fluxhero archive` takes it as a late "
    "correction; if the archived one is right, delete the hot row and bring the other back with "
    "`fluxhero restore --trade ID`.",
)
PURGE_COMPLETE = Rule(
    name="ledger.purge-complete",
    severity=Severity.WARNING,
    says="What was archived and is due has left the hot store.",
    means="An archive run was stopped between its copy and its purge, or copied only (`--no-purge`). No "
    "trade is lost or counted twice; the hot store is larger than it needs to be.",
    remedy="Run `fluxhero archive`: it proves the copies once more and purges. If you mean to keep copies "
    "only, waive this rule (`fluxhero waiver add`).",
)
PURGE_INTERRUPTED = Rule(
    name="ledger.purge-interrupted",
    severity=Severity.WARNING,
    says="No batch is half purged, and every purge is on record.",
    means="An archive run was stopped within its purge, or the record of a purge was lost. No trade is lost "
    "or counted twice.",
    remedy="Run `fluxhero check --repair` or `fluxhero archive`: either proves the copies once more and "
    "completes the purge.",
)
PURGE_COUNT = Rule(
    name="ledger.purge-count",
    severity=Severity.WARNING,
    says="Of each batch as many rows were purged or kept hot as it has, and none was purged twice "
    "without having been restored.",
    means="Too many: rows came back into the hot store by an old backup or a repeated import and were "
    "purged again. Too few: rows vanished while a run was archiving them, a purge failed halfway and was "
    "tried again, or its record was edited. The archive has every row either way.",
    remedy="If you put back a backup or imported a file twice, nothing is wrong. Otherwise compare the "
    "batch's events in the archive's folder `manifests` with a backup, and look at its trades with "
    "`fluxhero query`.",
)
KEY_ONCE = Rule(
    name="ledger.key-once",
    severity=Severity.ERROR,
    says="The archive has each row's first version once.",
    means="A trade is archived twice without one being a correction of the other, as after a restored "
    "and merged archive. Sums over the archive's files count it twice.",
    remedy="Look at both copies below. Restore the archive's folder from a backup made before the second "
    "batch, then run `fluxhero archive`.",
)
GAPS = Rule(
    name="ledger.gaps",
    severity=Severity.WARNING,
    says="A bot's database numbers its trades without a gap, and each number is hot or archived.",
    means="Trades were deleted by something other than this pipeline, or the bot gave a number to a trade "
    "that it never stored. Deleted trades are missing from every result.",
    remedy="Look for the numbers in a backup of the bot's database (the first one is in "
    "`DATA_DIR/backups`) and insert those that were real trades, then run `fluxhero check`.",
)
ORDER_HAS_TRADE = Rule(
    name="ledger.order-has-trade",
    severity=Severity.ERROR,
    says="The trade that an order names is in the ledger.",
    means="The trade was deleted, or its file was never imported. Its result is missing from every sum, "
    "while its order was filled.",
    remedy="Import the file with the trade: `fluxhero ingest PATH`.",
)
TRADE_HAS_ORDERS = Rule(
    name="ledger.trade-has-orders",
    severity=Severity.WARNING,
    says="Where a source's trades come with orders, each of them does, from the first order on.",
    means="Orders were not imported or were deleted, or a trade was entered by hand. Fill quality and "
    "latency leave such a trade out.",
    remedy="Import the orders of that time: `fluxhero ingest PATH`. If the trade never happened, correct "
    "it at its source.",
)
ORDER_AGREES = Rule(
    name="ledger.order-agrees",
    severity=Severity.WARNING,
    says="The filled orders of a closed trade have its mode, its symbol and, on either side, its quantity.",
    means="A fill is missing or belongs to another trade, or the trade's quantity is wrong, and so is "
    "its result.",
    remedy="Compare with the broker's statement, correct the trade or the order at its source, and run "
    "`fluxhero ingest PATH` again.",
)
SAME_FILL_TWICE = Rule(
    name="ledger.same-fill-twice",
    severity=Severity.ERROR,
    says="No two trades, and no two orders, are the same fill: same symbol, side, quantity, prices and times.",
    means="The same trade was imported from two files or under two ids. It counts twice in every result.",
    remedy="Remove one of the two at its source, keeping the one its orders name. If they were two equal "
    "lots filled in the same instant, nothing is wrong.",
)
CASH = Rule(
    name="ledger.cash",
    severity=Severity.CRITICAL,
    says="Starting capital, cash flows, results of closed trades and the open result add up to the "
    "recorded equity, at each of its points.",
    means="A trade, a deposit or a withdrawal is missing, is there twice or has a wrong amount: returns "
    "and drawdown are wrong from the first point named below.",
    remedy="Compare trades and cash flows before that point with the broker's statement for an item of "
    "the amount named, and import what is missing with `fluxhero ingest PATH`. If it is the very first "
    "point, check FLUXHERO_INITIAL_CAPITAL.",
)
