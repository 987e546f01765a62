"""The largest numbers that settings, options and flow parameters may be: beyond them, arithmetic fails.

Far above what anybody needs, and far below what a date, a timer or a database can still count.
"""

from typing import Final

MOST_DAYS: Final = 36_500  # a hundred years
MOST_ROWS: Final = 10**12
MOST_BATCH_ROWS: Final = 10_000_000
MOST_COUNT: Final = 1_000_000
MOST_MONEY: Final = 10**15
MOST_SECONDS: Final = 7 * 24 * 60 * 60
MOST_MEBIBYTES: Final = 16 * 1024 * 1024
MOST_BACKTEST_CASH: Final = 10**10  # 2**63 times 0.00000001 USD are some 92 billion
MOST_BASIS_POINTS: Final = 1_000
