"""The arithmetic of the rules, on whole numbers, and nothing else: no imports from the product, no third party.

Compiled as it stands for the fast simulator, and loaded by its path in the environments of other engines.
Prices of bars are in ticks of 0.0001 USD; money and prices of fills are in units of 0.00000001 USD, so a tick
times a basis point (0.0001) is one unit and nothing is ever rounded.
"""

BASIS = 10_000
MOST_UNITS = 9_200_000_000_000_000_000  # 92 billion USD, a little below 2**63 units


def entry_shares(equity: int, close: int, slippage_bp: int, commission: int) -> int:
    """How many shares the equity pays for at the close of the signal's bar, with slippage and commission.

    Args:
        equity: units.
        close: ticks.
        slippage_bp: basis points.
        commission: units a share.
    """
    if equity <= 0:
        return 0
    return equity // (close * (BASIS + slippage_bp) + commission)


def fill_bp(
    shares: int,
    volume_sum: int,
    volume_bars: int,
    slippage_bp: int,
    impact_bp: int,
    impact_parts: int,
) -> int:
    """By how many basis points an order fills worse than the open.

    Args:
        shares: ordered.
        volume_sum: shares traded in the last bars, up to and including the signal's.
        volume_bars: how many bars that is.
        slippage_bp: of every order.
        impact_bp: more, for an order above the fraction of the average volume.
        impact_parts: that fraction, in ten-thousandths.
    """
    # Divided first, then multiplied, so that 64 bits are enough for any volume that bars may have.
    share = BASIS * volume_bars
    most = impact_parts * (volume_sum // share) + impact_parts * (volume_sum % share) // share
    if shares > most:
        return slippage_bp + impact_bp
    return slippage_bp


def fill_price(opened: int, side: int, bp: int) -> int:
    """What a share costs or brings at an open, in units.

    Args:
        opened: ticks.
        side: 1 to buy, -1 to sell.
        bp: basis points worse than the open.
    """
    return opened * (BASIS + side * bp)


def affordable(cash: int, price: int, commission: int) -> int:
    """How many shares the cash pays for at a fill.

    Args:
        cash: units.
        price: units a share.
        commission: units a share.
    """
    if cash <= 0:
        return 0
    return cash // (price + commission)
