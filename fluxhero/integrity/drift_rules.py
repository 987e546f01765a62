"""The rules of drift: a day of trading that is unlike all days before it. See `drift` for how."""

from fluxhero.integrity.rules import Rule, Severity

TRADES_PER_DAY = Rule(
    name="drift.trades-per-day",
    severity=Severity.WARNING,
    says="No day has far more trades than any before it.",
    means="A bot that trades in a loop, a file imported under new ids, or an unusual market.",
    remedy="Look at the day's trades with `fluxhero query`; if they are duplicates, remove them at their "
    "source. A day that was really so needs nothing: after a week it is part of the history.",
)
VOLUME = Rule(
    name="drift.volume",
    severity=Severity.WARNING,
    says="No day's traded value is far from that of any day before it.",
    means="Positions of a wrong size, prices or quantities in another unit, or duplicated trades.",
    remedy="Look at the day's quantities and prices with `fluxhero query`, and check the bot's position "
    "sizing. A day that was really so needs nothing.",
)
RESULT = Rule(
    name="drift.result",
    severity=Severity.WARNING,
    says="The size of a day's typical result, in per cent of the entry price, is not far from that of any day before.",
    means="Prices of another instrument or scale, an unadjusted split, missing exits, or a changed strategy.",
    remedy="Compare the day's entry and exit prices with its bars. If the strategy changed on purpose, "
    "nothing needs doing.",
)
HOLDING_TIME = Rule(
    name="drift.holding-time",
    severity=Severity.WARNING,
    says="The time for which a day's trades were typically held is not far from that of any day before.",
    means="Times written in another time zone or unit, exits that did not fire, or a changed strategy.",
    remedy="Compare the day's entry and exit times with the broker's. If the strategy changed on purpose, "
    "nothing needs doing.",
)
FEES = Rule(
    name="drift.fees",
    severity=Severity.WARNING,
    says="The fees of a day, for each share, are not far from those of any day before.",
    means="Fees counted twice or left out by an export, or a broker's new price list.",
    remedy="Compare the day's fees with the broker's statement, and correct them at their source.",
)
