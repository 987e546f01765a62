"""Whether the targets a simulator is given are targets of these bars at all."""

import numpy as np
import numpy.typing as npt

from fluxhero.backtest.bars import Bars, Int8s
from fluxhero.backtest.contract import Contract
from fluxhero.errors import StrategyError
from fluxhero.wording import counted

_ONE_EACH = "give one number for each bar: 1 long, 0 out, -1 short"


def checked_targets(targets: npt.ArrayLike, bars: Bars, contract: Contract) -> Int8s:
    """The targets as small whole numbers, one for each bar.

    Raises:
        StrategyError: too few, too many, none of -1, 0 and 1, or short where the contract does not allow it.
    """
    given = np.asarray(targets)
    if given.shape != (len(bars),):
        raise StrategyError(
            f"the strategy gave {_shape(given)} for {counted(len(bars), 'bar')}",
            next_step=_ONE_EACH,
        )
    if given.dtype != np.int8:
        given = _whole(given)
    if given.min() < -1 or given.max() > 1:
        wrong = int(np.flatnonzero((given < -1) | (given > 1))[0])
        raise _unusable(wrong, given[wrong])
    if not contract.allow_short and given.min() < 0:
        raise StrategyError(
            f"the strategy wants to be short after bar {np.flatnonzero(given < 0)[0]:,}, and shorting is"
            " not allowed",
            next_step="allow it with --allow-short, or let the strategy give 1 and 0 alone",
        )
    return np.ascontiguousarray(given, dtype=np.int8)


def _whole(given: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Numbers of any kind, as long as each is exactly one of the three."""
    if given.dtype.kind not in "biuf":
        raise StrategyError(
            f"the strategy gave targets of type {given.dtype}, which are no numbers",
            next_step=_ONE_EACH,
        )
    numbers = given.astype(np.float64)
    wrong = np.flatnonzero(~np.isin(numbers, (-1.0, 0.0, 1.0)))
    if len(wrong):
        raise _unusable(int(wrong[0]), given[wrong[0]])
    return numbers.astype(np.int8)


def _unusable(bar: int, value: object) -> StrategyError:
    return StrategyError(
        f"the strategy gave the target {value} after bar {bar:,}", next_step=_ONE_EACH
    )


def _shape(given: npt.NDArray[np.generic]) -> str:
    if given.ndim == 1:
        return counted(len(given), "target")
    return f"an array of {given.ndim} dimensions"
