"""What holds for every order."""

from fluxhero.engine import literal
from fluxhero.integrity.rules import RowRule, Severity
from fluxhero.integrity.suite import Suite
from fluxhero.integrity.suites import parts
from fluxhero.ledger.schema import FINISHED_ORDERS, ORDERS

# As brokers call them, in the ledger's spelling.
WORKING = (
    "new",
    "accepted",
    "pending_new",
    "accepted_for_bidding",
    "partially_filled",
    "pending_cancel",
    "pending_replace",
    "pending_review",
    "stopped",
    "suspended",
    "calculated",
    "held",
)
_SOURCE = ("source", "broker")
_WITH_FILL_TIMES, _WITH_CANCEL_TIMES = "orders_with_fill_times", "orders_with_cancel_times"
# An order for so many dollars' worth says so in `extra`.
_BY_AMOUNT = "contains(coalesce(extra::VARCHAR, ''), '\"notional\"')"
_SLACK = "INTERVAL 1 SECOND"  # the bot's clock and the broker's differ


def orders() -> Suite:
    """The suite."""
    return Suite(
        table=ORDERS.name,
        version=1,
        key="order_id",
        columns=parts.columns_of(ORDERS, parts.ORIGIN),
        rules=(
            parts.required(ORDERS, unread=True),
            parts.unique(ORDERS, by_batch=True),
            parts.one_of(
                ORDERS,
                "mode",
                "Nobody can say which account the order belongs to, and it is never archived.",
            ),
            parts.one_of(
                ORDERS,
                "side",
                "Whether the order bought or sold cannot be said, so that no position can be made of it.",
            ),
            *_quantities(),
            parts.positive_prices(
                ORDERS, ("average_fill_price",), or_zero=("limit_price", "stop_price")
            ),
            parts.sane_prices(
                ORDERS,
                ("limit_price", "stop_price", "average_fill_price"),
                ("limit_price", "average_fill_price"),
            ),
            *_states(),
            parts.not_in_future(ORDERS),
            parts.sane_times(ORDERS),
            parts.unclear_time(ORDERS),
        ),
        context={
            _WITH_FILL_TIMES: parts.told_by(_SOURCE, "filled_at IS NOT NULL", "status = 'filled'"),
            _WITH_CANCEL_TIMES: parts.told_by(
                _SOURCE, "cancelled_at IS NOT NULL", "status = 'cancelled'"
            ),
        },
    )


def _quantities() -> tuple[RowRule, ...]:
    return (
        RowRule(
            "orders.positive-quantity",
            Severity.ERROR,
            says="Quantity is above zero, but for an order by its amount of money that has bought nothing yet.",
            means="`side` says the direction, never the sign; an order for nothing is no order.",
            remedy=parts.COMPARE + parts.CORRECT,
            bad=f"quantity < 0 OR (quantity = 0 AND NOT {_BY_AMOUNT})",
        ),
        RowRule(
            "orders.filled-at-most-ordered",
            Severity.ERROR,
            says="Between nothing and the whole quantity is filled.",
            means="More was bought or sold than was ordered, or the quantities of two orders were mixed up. The "
            "position at the broker is another than the bot believes.",
            remedy="Compare with the broker's positions now. " + parts.CORRECT,
            bad="filled_quantity < 0 OR filled_quantity > quantity",
        ),
        RowRule(
            "orders.filled-whole",
            Severity.ERROR,
            says="A filled order is filled to its whole quantity.",
            means="The status says filled and the quantity says partly: part of the position is missing, or the last "
            "fill was not written.",
            remedy="Compare with the broker's fills. " + parts.CORRECT,
            bad="status = 'filled' AND filled_quantity >= 0 AND filled_quantity < quantity",
        ),
    )


def _states() -> tuple[RowRule, ...]:
    known = ", ".join(map(literal, (*FINISHED_ORDERS, *WORKING)))
    return (
        RowRule(
            "orders.status",
            Severity.WARNING,
            says=f"Status is one that the pipeline knows: {', '.join((*FINISHED_ORDERS, *WORKING))}.",
            means="An order of an unknown status is never archived, and is not counted as filled, working or "
            "cancelled. Often it is only a spelling, as `canceled`.",
            remedy="Let the source write the status as above, and correct the rows with `fluxhero ingest`.",
            bad=f"trim(status) <> '' AND status NOT IN ({known})",
        ),
        RowRule(
            "orders.filled-has-time",
            Severity.ERROR,
            says="A filled order has the time of its fill, where its source and broker record such times: at least "
            "half of their filled orders have one.",
            means="The fill can be brought into no order with others, and latency leaves it out.",
            remedy=parts.COMPARE + parts.CORRECT,
            bad=f"status = 'filled' AND filled_at IS NULL AND {parts.is_told(_WITH_FILL_TIMES, _SOURCE)}",
        ),
        RowRule(
            "orders.cancelled-has-time",
            Severity.WARNING,
            says="A cancelled order has the time of that, where its source and broker record such times: at least "
            "half of their cancelled orders have one.",
            means="It is dated by when it was sent, and is archived a little early.",
            remedy=parts.COMPARE + parts.CORRECT,
            bad="status = 'cancelled' AND cancelled_at IS NULL "
            f"AND {parts.is_told(_WITH_CANCEL_TIMES, _SOURCE)}",
        ),
        RowRule(
            "orders.status-fits-times",
            Severity.ERROR,
            says="An order that is new, accepted, rejected or expired has no time of a complete fill, and one that "
            "is filled or rejected no time of cancelling.",
            means="Status and times tell different stories: an update of the order was lost, or updates came in the "
            "wrong order.",
            remedy="Ask the broker for the order's history. " + parts.CORRECT,
            bad="(status IN ('new', 'accepted', 'pending_new', 'rejected', 'expired') AND filled_at IS NOT NULL) "
            "OR (status IN ('filled', 'rejected') AND cancelled_at IS NOT NULL)",
        ),
        RowRule(
            "orders.times-in-order",
            Severity.ERROR,
            says="An order is sent, then acknowledged, then filled or cancelled, give or take a second.",
            means="Two clocks are far apart, or a time was read in another time zone. Latency comes out negative.",
            remedy="See whether all orders of that broker are off by the same time: then a clock or a time zone is "
            "wrong. " + parts.CORRECT,
            bad=parts.any_of(
                f"{later} < {earlier} - {_SLACK}"
                for earlier, later in (
                    ("submitted_at", "acknowledged_at"),
                    ("submitted_at", "filled_at"),
                    ("submitted_at", "cancelled_at"),
                    ("acknowledged_at", "filled_at"),
                )
            ),
        ),
    )
