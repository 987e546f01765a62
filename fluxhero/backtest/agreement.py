"""Whether an engine agrees with the reference to the cent, and which dollars of a difference come from what."""

from decimal import Decimal
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Kind(StrEnum):
    """What a difference comes from."""

    SIGNAL = "signal"  # the engine's own indicator says something else
    CALENDAR = "calendar"  # bars are missing, or labelled with other times
    TIMING = "timing"  # filled at another bar, or at the close
    ORDERS = "orders"  # a fill that only one of the two has
    CLOSING = "closing"  # what is open after the last bar is sold by force
    PRICE = "price"  # slippage
    FEES = "fees"  # commission
    SIZING = "sizing"  # number of shares
    MARKING = "marking"  # equity is not what the engine's own fills are worth
    FLOAT = "float"  # below a cent, in every fill and in all


class Cause(BaseModel):
    """One kind of difference.

    Attributes:
        kind: what it comes from.
        dollars: what it adds to the engine's last equity; those of all causes add up to the whole.
        fills: how many fills (or bars, of signals and marks) differ in this way.
        example: the first of them, in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    dollars: Decimal
    fills: int
    example: str


class Agreement(BaseModel):
    """One result of an engine beside the reference's.

    Attributes:
        to_the_cent: every fill is the same and every bar's equity within a cent.
        fills_reference: how many fills the reference has.
        fills_engine: how many fills the engine has.
        fills_equal: how many of them are the same: bar, side, shares, price and commission.
        round_trips_reference: how many round trips the reference has.
        round_trips_engine: how many round trips the engine has.
        signals_differ: after how many bars the engine wanted something else.
        largest_difference: USD by which the equity of any bar differs at most, above zero.
        final_difference: USD that the engine has more after the last bar.
        first_bar: place of the first bar at which they differ by a cent or in a fill; None: nowhere.
        causes: what the final difference comes from; their dollars add up to it exactly.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    to_the_cent: bool
    fills_reference: int
    fills_engine: int
    fills_equal: int
    round_trips_reference: int
    round_trips_engine: int
    signals_differ: int
    largest_difference: Decimal
    final_difference: Decimal
    first_bar: int | None
    causes: tuple[Cause, ...]
