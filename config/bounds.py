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
