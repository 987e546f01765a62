"""What holds for every trade."""

from decimal import Decimal

from fluxhero.integrity.rules import RowRule, Severity
from fluxhero.integrity.suite import Suite
from fluxhero.integrity.suites import parts
from fluxhero.ledger.schema import TRADES

_MOVED = "CASE side WHEN 'short' THEN entry_price - exit_price ELSE exit_price - entry_price END"
_RESULT = f"({_MOVED} * quantity - coalesce(fees, 0))"
_SOURCE = ("source", "strategy")
_WITH_STOPS, _NET = "trades_with_stops", "trades_net_of_fees"
# A result below what prices say by no more than fees can be, where no fees are recorded.
_LESS_FEES = (
    f"fees IS NULL AND realized_pnl <= {_RESULT} "
    f"AND realized_pnl >= {_RESULT} - 0.01 * (entry_price + exit_price) * quantity"
)
# The stop is where it would end the trade at once: at the entry or on its profit side.
_AT_ENTRY = (
    "stop_loss <> 0 AND CASE side WHEN 'long' THEN stop_loss >= entry_price "
    "WHEN 'short' THEN stop_loss <= entry_price END"
)
_HABIT = 20  # closed trades of a strategy that have to show it
_CLOSED = "status = 'closed'"
_SECURED = "abs(stop_loss - entry_price)"
# An open trade's stop is still the first one while nobody changed the row.
_UNTOUCHED = "coalesce(updated_at <= coalesce(created_at, entry_time), true)"


def trades(pnl_tolerance: Decimal) -> Suite:
    """The suite; a recorded result may differ from the recomputed one by the tolerance, in money."""
    return Suite(
        table=TRADES.name,
        version=1,
        key="trade_id",
        columns=parts.columns_of(TRADES, parts.ORIGIN),
        rules=(
            parts.required(TRADES, unread=True),
            parts.unique(TRADES, by_batch=True),
            parts.one_of(
                TRADES,
                "mode",
                "Nobody can say which account the trade belongs to: it is in no account's result and "
                "is never archived.",
            ),
            parts.one_of(
                TRADES,
                "side",
                "Whether the trade gains or loses when the price rises cannot be said, so no result can be "
                "checked and exposure is wrong.",
            ),
            parts.one_of(
                TRADES,
                "status",
                "The trade is neither open nor finished: it is left out of results and of exposure, and is never "
                "archived.",
            ),
            *_amounts(),
            *_times(),
            *_states(),
            *_results(pnl_tolerance),
            *_stops(),
        ),
        context={
            _NET: parts.told_by(
                _SOURCE,
                f"{_LESS_FEES} AND realized_pnl < {_RESULT} - {_money(pnl_tolerance)}",
                _CLOSED,
                at_least=_HABIT,
            ),
            _WITH_STOPS: parts.told_by(
                _SOURCE, "coalesce(stop_loss, 0) <> 0", "status <> 'cancelled'"
            ),
        },
    )


def _amounts() -> tuple[RowRule, ...]:
    return (
        RowRule(
            "trades.finite-prices",
            Severity.CRITICAL,
            says="Every price and quantity is a number that the ledger can hold: not infinite, not NaN, at most "
            "9,999,999,999.",
            means="The bot divided by zero or wrote an overflow into its database. The ledger has no value there, "
            "so that the trade is missing from sums without a word, and it is never archived.",
            remedy=parts.COMPARE + parts.CORRECT,
            bad=parts.NOT_A_NUMBER,
        ),
        RowRule(
            "trades.positive-quantity",
            Severity.ERROR,
            says="Quantity is above zero.",
            means="`side` says the direction, never the sign: a negative quantity turns the trade's result around, "
            "and one of zero is no trade.",
            remedy=parts.COMPARE + parts.CORRECT,
            bad="quantity <= 0",
        ),
        parts.positive_prices(
            TRADES, ("entry_price",), or_zero=("exit_price", "stop_loss", "take_profit")
        ),
        parts.sane_prices(
            TRADES,
            ("entry_price", "exit_price", "stop_loss", "take_profit"),
            ("entry_price", "exit_price"),
        ),
        parts.fees_not_negative(TRADES),
    )


def _times() -> tuple[RowRule, ...]:
    return (
        RowRule(
            "trades.exit-after-entry",
            Severity.ERROR,
            says="No trade was left before it was entered.",
            means="The two times were exchanged, or one of them was read in another time zone. How long the trade was "
            "held is wrong, and it may be counted in the wrong month.",
            remedy=parts.COMPARE + parts.CORRECT,
            bad="exit_time < entry_time",
        ),
        RowRule(
            "trades.updated-after-created",
            Severity.WARNING,
            says="No row was last changed before it was made.",
            means="The source's clock was set back, or it writes the two times in different zones. The order of "
            "versions of the trade cannot be relied on.",
            remedy="See whether the times come from two machines or two zones. " + parts.CORRECT,
            bad="updated_at < created_at",
        ),
        parts.not_in_future(TRADES),
        parts.sane_times(TRADES),
        parts.readable_times(TRADES),
        parts.unclear_time(TRADES),
    )


def _states() -> tuple[RowRule, ...]:
    return (
        RowRule(
            "trades.closed-has-exit",
            Severity.ERROR,
            says="A closed trade has an exit price and an exit time.",
            means="The bot marked the trade as closed and did not write how. Its result cannot be checked, and it is "
            "dated by its last change.",
            remedy="Look the fill up in the broker's statement. " + parts.CORRECT,
            bad="status = 'closed' AND ((exit_price IS NULL AND NOT _not_a_number) "
            "OR (exit_time IS NULL AND NOT _not_a_time))",
        ),
        RowRule(
            "trades.open-has-no-exit",
            Severity.ERROR,
            says="An open trade has neither an exit price nor an exit time.",
            means="The exit was written and the status was not: the trade is still counted as exposure, and its "
            "result is missing. Or the bot believes that it still holds what it has sold.",
            remedy="Compare with the broker's positions now; if it is closed there, set the status. "
            + parts.CORRECT,
            bad="status = 'open' AND (exit_price IS NOT NULL OR exit_time IS NOT NULL)",
        ),
        RowRule(
            "trades.cancelled-has-no-result",
            Severity.WARNING,
            says="A cancelled trade has no result.",
            means="A trade that never happened cannot have gained or lost: either it did happen, and its result is "
            "left out of every sum, or the result is wrong.",
            remedy="See whether the order was filled after all. " + parts.CORRECT,
            bad="status = 'cancelled' AND realized_pnl <> 0",
        ),
    )


def _money(amount: Decimal) -> str:
    return f"{amount:f}::DECIMAL(18,8)"


def _results(tolerance: Decimal) -> tuple[RowRule, ...]:
    limit = _money(tolerance)
    excused = f"{_LESS_FEES} AND {parts.is_told(_NET, _SOURCE)}"
    return (
        RowRule(
            "trades.closed-has-result",
            Severity.WARNING,
            says="A closed trade has a realised result.",
            means="The trade is missing from every sum of results.",
            remedy=parts.COMPARE + parts.CORRECT,
            bad="status = 'closed' AND realized_pnl IS NULL AND NOT _not_a_number",
        ),
        RowRule(
            "trades.pnl",
            Severity.ERROR,
            says="The recorded result of a closed trade is side × (exit price − entry price) × quantity − fees, give "
            f"or take {tolerance.normalize():f}; where a source records no fees and takes them off its results (at "
            f"least half of that strategy's closed trades, and {_HABIT} of them, show it), it may be lower by up "
            "to 1 % of what was bought and sold.",
            means="The result does not follow from the prices beside it: a fill was missed, fees are included that are "
            "not recorded, or the bot wrote another trade's result. Every statistic that uses it is off by as much.",
            remedy="Compare with the broker's statement which of the numbers is wrong. If results include fees, record "
            "the fees; FLUXHERO_PNL_TOLERANCE says how far they may be apart. " + parts.CORRECT,
            bad=f"CASE WHEN {_CLOSED} AND abs(realized_pnl - {_RESULT}) > {limit} THEN NOT ({excused}) END",
        ),
        RowRule(
            "trades.pnl-sign",
            Severity.CRITICAL,
            says="No closed trade records a gain where its prices say loss, or a loss where they say gain.",
            means="The wrong sign counts twice: a loss of 100 taken for a gain of 100 makes the account look 200 "
            "better. `side`, the two prices or the result itself is wrong.",
            remedy="Compare the row with the broker's statement before anything is decided by this account's results. "
            + parts.CORRECT,
            bad=f"CASE WHEN {_CLOSED} AND abs(realized_pnl) > {limit} AND abs({_RESULT}) > {limit} "
            f"AND (realized_pnl > 0) <> ({_RESULT} > 0) THEN NOT ({excused}) END",
        ),
    )


def _stops() -> tuple[RowRule, ...]:
    return (
        RowRule(
            "trades.stop-present",
            Severity.ERROR,
            says="Every trade has a stop (R11.1.3), where its strategy records stops: at least half of that "
            "source's and strategy's trades have one.",
            means="The position had no bound to its loss, or the bot did not write it down. An open one is unprotected "
            "now. A source that records no stops at all is not reported.",
            remedy="If the trade is open, set a stop at the broker first. " + parts.CORRECT,
            bad="coalesce(stop_loss, 0) = 0 AND status <> 'cancelled' AND NOT _not_a_number "
            f"AND {parts.is_told(_WITH_STOPS, _SOURCE)}",
        ),
        RowRule(
            "trades.stop-side",
            Severity.ERROR,
            says="A stop is below the entry of a long trade and above that of a short one, unless it was trailed: "
            "a stop beyond the entry of a closed trade is taken for a trailed one if the trade kept at least half of "
            "the gain that the stop secured, of an open trade if its row was changed after it was made.",
            means="A stop on the wrong side ends the trade at once or never protects it. `side` may be wrong as well.",
            remedy="If the trade is open, look at the stop that the broker has. " + parts.CORRECT,
            bad=f"{_AT_ENTRY} AND CASE status WHEN 'closed' THEN stop_loss <> entry_price "
            f"AND {_MOVED} < {_SECURED} / 2 WHEN 'open' THEN {_UNTOUCHED} ELSE true END",
        ),
        RowRule(
            "trades.stop-trailed",
            Severity.WARNING,
            says="The stop of an open trade is not beyond its entry.",
            means="The row was changed since it was made, so the stop was most likely trailed into profit, and all is "
            "well. If this bot does not trail stops, the stop is on the wrong side.",
            remedy="If the bot trails its stops, waive this rule (`fluxhero waiver add`). Else look at the stop that "
            "the broker has.",
            bad=f"{_AT_ENTRY} AND status = 'open' AND NOT {_UNTOUCHED}",
        ),
        RowRule(
            "trades.target-side",
            Severity.WARNING,
            says="A target is above the entry of a long trade and below that of a short one.",
            means="The target would take a loss for a gain. `side` may be wrong, or stop and target exchanged.",
            remedy=parts.COMPARE + parts.CORRECT,
            bad="take_profit <> 0 AND CASE side WHEN 'long' THEN take_profit <= entry_price "
            "WHEN 'short' THEN take_profit >= entry_price END",
        ),
    )
