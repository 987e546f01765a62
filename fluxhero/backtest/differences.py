"""What differs between an engine's fills and a replay of its orders, each in words."""

from decimal import Decimal

import numpy as np
import numpy.typing as npt

from fluxhero.backtest.contract import UNIT
from fluxhero.backtest.replay import Done, Fill, Matched


def signals(ours: npt.NDArray[np.int8], theirs: npt.NDArray[np.int8]) -> list[str]:
    """Bars after which the engine wants something else than the strategy."""
    return [
        f"after bar {bar} the engine wants {theirs[bar]}, the strategy {ours[bar]}"
        for bar in np.flatnonzero(ours != theirs).tolist()
    ]


def _side(side: int) -> str:
    return "buy" if side > 0 else "sale"


def orders(matched: Matched, done: list[Done], _least: Decimal) -> list[str]:
    """Orders without a fill, fills without an order."""
    filled = {one.order for one in done}
    unfilled = [
        f"the {_side(order.side)} ordered after bar {order.signal_bar} is not filled"
        for place, order in enumerate(matched.orders)
        if place in filled and not matched.fills[place]
    ]
    return unfilled + [
        f"a {_side(fill.side)} at bar {fill.bar} that no signal asks for" for fill in matched.extra
    ]


def closing(matched: Matched, _done: list[Done], _least: Decimal) -> list[str]:
    """The sale by force at the end."""
    return [f"what is open is closed at bar {fill.bar}" for fill in matched.closing]


def timing(matched: Matched, _done: list[Done], _least: Decimal) -> list[str]:
    """Fills that are not at the open after the signal."""
    found = []
    for order, fills in zip(matched.orders, matched.fills, strict=True):
        for fill in fills:
            if fill.at_close or fill.bar != order.signal_bar + 1:
                moment = "close" if fill.at_close else "open"
                found.append(
                    f"the {_side(order.side)} ordered after bar {order.signal_bar} is filled"
                    f" at the {moment} of bar {fill.bar}"
                )
    return found


def _beside(matched: Matched, done: list[Done]) -> list[tuple[Fill, Done]]:
    """Each fill of the engine that has an order, with the one of the replay in its place."""
    return [
        (matched.fills[one.order][one.part], one)
        for one in done
        if one.order >= 0 and one.part < len(matched.fills[one.order])
    ]


def prices(matched: Matched, done: list[Done], least: Decimal) -> list[str]:
    """Fills whose price differs from the one in the replay, by this much in all."""
    return [
        f"bar {fill.bar}: {fill.price:f} USD instead of {one.price * UNIT:f} USD"
        for fill, one in _beside(matched, done)
        if abs(fill.price - one.price * UNIT) * fill.shares >= least
    ]


def fees(matched: Matched, done: list[Done], least: Decimal) -> list[str]:
    """Fills whose commission differs by this much."""
    found = []
    for fill, one in _beside(matched, done):
        # A share's worth: the replay may have another number of shares, which is no difference of fees.
        due = one.commission * UNIT * fill.shares / one.shares
        if abs(fill.commission - due) >= least:
            found.append(f"bar {fill.bar}: {fill.commission:f} USD instead of {due:.4f} USD")
    return found


def sizes(matched: Matched, done: list[Done], _least: Decimal) -> list[str]:
    """Fills of another number of shares."""
    replayed = {(one.order, one.part): one.shares for one in done}
    return [
        f"bar {fill.bar}: {fill.shares:f} shares instead of {replayed.get((place, part), 0)}"
        for place, fills in enumerate(matched.fills)
        for part, fill in enumerate(fills)
        if fill.shares != replayed.get((place, part), 0)
    ]
