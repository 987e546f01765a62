"""Asking a strategy for its targets in this process, and refusing what is none."""

from numbers import Real
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from fluxhero.backtest.bars import Int8s
from fluxhero.backtest.loading import told
from fluxhero.errors import StrategyError
from fluxhero.wording import counted

if TYPE_CHECKING:
    import pandas as pd

    from fluxhero.backtest.strategy import Strategy

_WRITE: Final = "return one number a bar: 1 long, 0 out, -1 short"
_NUMBERS: Final = "biuf"  # kinds of NumPy


def targets_of(
    strategy: "Strategy", frame: "pd.DataFrame", *, allow_short: bool, label: str
) -> Int8s:
    """What the strategy wants after each bar.

    Args:
        strategy: newly made; it gets a frame of its own, so that what it changes stays with it.
        frame: as `Bars.frame` makes it.
        allow_short: whether it may say -1.
        label: what messages call it.

    Raises:
        StrategyError: it raises, or what it returns is not -1, 0 or 1 for each bar.
    """
    with told(label):
        returned = strategy.targets(frame.copy(deep=False))
        values = _array(returned, frame, label)
    return _checked(values, frame, allow_short=allow_short, label=label)


def _array(returned: object, frame: "pd.DataFrame", label: str) -> npt.NDArray[Any]:
    """What was returned as an array; whether it is one of numbers is seen later."""
    if returned is None:
        raise StrategyError(f"{label} returned None", next_step=_WRITE)
    _refuse_other_order(returned, frame, label)
    try:
        return np.asarray(returned)
    except ValueError as error:  # of rows that are not equally long
        raise StrategyError(
            f"{label} returned something that is not one value a bar: {error}", next_step=_WRITE
        ) from error


def _refuse_other_order(returned: object, frame: "pd.DataFrame", label: str) -> None:
    """A Series in another order than the bars' would be taken for something it is not."""
    import pandas as pd

    if not isinstance(returned, pd.Series) or len(returned) != len(frame):
        return
    if isinstance(returned.index, pd.RangeIndex) and returned.index.equals(
        pd.RangeIndex(len(frame))
    ):
        return
    if not returned.index.equals(frame.index):
        raise StrategyError(
            f"{label} returned a Series whose index is not that of the bars",
            next_step="return it in the order of the bars that were given, for example with .reindex(bars.index)",
        )


def _checked(
    values: npt.NDArray[Any], frame: "pd.DataFrame", *, allow_short: bool, label: str
) -> Int8s:
    if values.shape != (len(frame),):
        shape = " × ".join(str(length) for length in values.shape) or "a single value"
        raise StrategyError(
            f"{label} returned {shape} for {counted(len(frame), 'bar')}", next_step=_WRITE
        )
    if values.dtype.kind == "O" and all(isinstance(one, (Real, np.bool_)) for one in values):
        values = values.astype(np.float64)
    if values.dtype.kind in _NUMBERS:
        wrong = ~((values == 0) | (values == 1) | (values == -1))
    else:
        wrong = np.array([not isinstance(one, (Real, np.bool_)) for one in values.tolist()])
    if wrong.any():
        raise _error(label, values, wrong, frame, "which is not 1, 0 or -1", _WRITE)
    if values.dtype.kind not in "bu" and not allow_short and (values < 0).any():
        what = "but may not go short"
        step = "allow it with --allow-short, or give 0 there"
        raise _error(label, values, values < 0, frame, what, step)
    return values.astype(np.int8)


def _error(
    label: str,
    values: npt.NDArray[Any],
    wrong: npt.NDArray[np.bool_],
    frame: "pd.DataFrame",
    what: str,
    next_step: str,
) -> StrategyError:
    first = int(np.argmax(wrong))
    shown = repr(values[first : first + 1].tolist()[0])[:40]
    more = f" (and {counted(int(wrong.sum()) - 1, 'other')})" if wrong.sum() > 1 else ""
    at = f"bar {first}, {frame.index[first]:%Y-%m-%d %H:%M} UTC"
    return StrategyError(f"{label} returned {shown} for {at}{more}, {what}", next_step=next_step)
