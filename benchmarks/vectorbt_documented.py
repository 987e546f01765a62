"""vectorbt as its documentation has it, run in vectorbt's environment: `python -I vectorbt_documented.py FOLDER`.

`Portfolio.from_signals` on signals moved by one bar, filled at the open. Prints one JSON line: wall and CPU
seconds of one backtest and of a sweep, warmed up, and peak memory. Nothing of the product is imported.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import vectorbt as vbt

FOLDER = Path(sys.argv[1])
COMMISSION, SLIPPAGE = 0.005, 0.0001
ROUNDS = 10
COLUMNS = 50  # combinations at once: a thousand would not fit into memory


def portfolio(targets, opened, close):
    """Buy and sell everything at the open after a signal."""
    frame = pd.Series if targets.ndim == 1 else pd.DataFrame
    wanted = targets.astype(bool)
    before = np.zeros_like(wanted)
    before[1:] = wanted[:-1]
    earlier = np.zeros_like(wanted)
    earlier[2:] = wanted[:-2]
    return vbt.Portfolio.from_signals(
        close,
        frame(before & ~earlier, index=close.index),
        frame(~before & earlier, index=close.index),
        price=opened,
        fees=COMMISSION / opened,
        slippage=SLIPPAGE,
        size_granularity=1,
        freq="1min",
    )


def best(work, rounds):
    """The shortest of several rounds, as wall and CPU seconds."""
    found = []
    for _ in range(rounds):
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    return dict(zip(("wall", "cpu"), min(found), strict=True))


def main():
    prices = np.load(FOLDER / "prices.npy")
    targets = np.load(FOLDER / "targets.npy", mmap_mode="r")
    index = pd.DatetimeIndex(prices[0].astype("M8[ns]"))
    opened, close = (pd.Series(one / 10_000, index=index) for one in prices[1:])

    def once():
        return portfolio(targets[:, 0], opened, close)

    def sweep(measure):
        for first in range(0, targets.shape[1], COLUMNS):
            measure(portfolio(targets[:, first : first + COLUMNS], opened, close))

    def measures(made):
        return made.total_return(), made.sharpe_ratio(), made.max_drawdown(), made.trades.count()

    once().stats(silence_warnings=True)
    measures(portfolio(targets[:, :2], opened, close))
    found = {
        "one_equity": best(lambda: once().value(), ROUNDS),
        "one_measures": best(lambda: once().stats(silence_warnings=True), ROUNDS),
        "sweep_equity": best(lambda: sweep(lambda made: made.value()), 1),
        "sweep_measures": best(lambda: sweep(measures), 1),
    }
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    print(json.dumps({name: {**one, "peak_mb": peak} for name, one in found.items()}))


if __name__ == "__main__":
    main()
