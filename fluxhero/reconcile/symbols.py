"""One spelling of a symbol: a share class or a pair is written with a dot, a space, a slash, or none."""

import re

_SEPARATORS = re.compile(r"[^0-9A-Za-z]+")


def symbol_key(symbol: str) -> str:
    """What BRK.B, BRK B, BRK/B and brk-b have in common, as do BTC/USD and BTCUSD.

    For comparing only; it is shown nowhere. A symbol of nothing but separators stays as it is.
    """
    return _SEPARATORS.sub("", symbol).upper() or symbol
