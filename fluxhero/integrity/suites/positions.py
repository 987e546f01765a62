"""What holds for every position."""

from fluxhero.integrity.rules import RowRule, Severity
from fluxhero.integrity.suite import Suite
from fluxhero.integrity.suites import parts
from fluxhero.ledger.schema import POSITIONS

_ACCOUNT = ("mode",)
_WITH_STOPS = "positions_with_stops"
_PRICE = "coalesce(current_price, entry_price)"


def positions() -> Suite:
    """The suite."""
    return Suite(
        table=POSITIONS.name,
        version=1,
        key="concat_ws(' ', mode, symbol, side)",
        columns=parts.columns_of(POSITIONS),
        rules=(
            parts.required(POSITIONS),
            parts.unique(POSITIONS),
            parts.one_of(POSITIONS, "mode", "Nobody can say which account holds the position."),
            parts.one_of(
                POSITIONS,
                "side",
                "Whether the position gains or loses when the price rises cannot be said.",
            ),
            RowRule(
                "positions.positive-quantity",
                Severity.ERROR,
                says="Quantity is above zero.",
                means="`side` says the direction, never the sign; a position of nothing is none.",
                remedy="Compare with the broker's positions now. " + parts.CORRECT,
                bad="quantity <= 0",
            ),
            parts.positive_prices(
                POSITIONS, ("entry_price", "current_price"), or_zero=("stop_loss", "take_profit")
            ),
            parts.sane_prices(
                POSITIONS,
                ("entry_price", "current_price", "stop_loss", "take_profit"),
                ("entry_price", "current_price"),
            ),
            RowRule(
                "positions.stop-present",
                Severity.CRITICAL,
                says="Every position has a stop (R11.1.3), where its account records stops: at least half of that "
                "mode's positions have one.",
                means="Nothing bounds the loss of this position.",
                remedy="Set a stop at the broker now, and let the bot write it down.",
                bad=f"coalesce(stop_loss, 0) = 0 AND {parts.is_told(_WITH_STOPS, _ACCOUNT)}",
            ),
            RowRule(
                "positions.stop-side",
                Severity.ERROR,
                says="The stop of a long position is below its current price and that of a short one above; without a "
                "current price its entry counts.",
                means="The stop should have ended the position already, or it never will: the broker does not have it, "
                "the price is old, or `side` is wrong.",
                remedy="Look at the stop that the broker has, now. " + parts.CORRECT,
                bad=f"stop_loss <> 0 AND CASE side WHEN 'long' THEN stop_loss >= {_PRICE} "
                f"WHEN 'short' THEN stop_loss <= {_PRICE} END",
            ),
            RowRule(
                "positions.updated-after-entry",
                Severity.WARNING,
                says="No position was last updated before it was entered.",
                means="The two times come from different clocks or zones, or the row is another position's.",
                remedy=parts.COMPARE + parts.CORRECT,
                bad="updated_at < entry_time",
            ),
            parts.not_in_future(POSITIONS),
            parts.sane_times(POSITIONS),
        ),
        context={_WITH_STOPS: parts.told_by(_ACCOUNT, "coalesce(stop_loss, 0) <> 0")},
    )
