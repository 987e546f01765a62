"""Numbers, rules and findings of backtests as a reader sees them: one format everywhere."""

from decimal import Decimal
from typing import Final

from fluxhero.backtest.contract import Contract, Sizing
from fluxhero.backtest.costs import CostSensitivity
from fluxhero.backtest.stability import Stability
from fluxhero.backtest.validation import PERFECT

NONE: Final = "–"  # where a number would be


def percent(value: float | None) -> str:
    """A fraction as a percentage."""
    return NONE if value is None else f"{100 * value:,.1f} %"


def number(value: float | None) -> str:
    """A ratio."""
    return NONE if value is None else f"{value:,.2f}"


def money(value: Decimal | None) -> str:
    """USD to the cent."""
    return NONE if value is None else f"{value:,.2f}"


def usd(value: Decimal | None) -> str:
    """USD to the cent, with the unit."""
    return NONE if value is None else f"{money(value)} USD"


def best_in_words(found: Stability) -> str:
    """The best combination of a sweep with its Sharpe ratio."""
    values = ", ".join(f"{name}={value:g}" for name, value in found.best.items())
    return f"{values} (Sharpe {found.best_value:.2f})"


def break_even_in_words(sensitivity: CostSensitivity) -> str:
    """How much more trading may cost."""
    if not sensitivity.gains_without_costs:
        return "It loses even without costs."
    if sensitivity.break_even is None:
        return f"It still gains at {sensitivity.furthest} times the costs."
    return f"At {sensitivity.break_even} times the costs nothing is left."


def size_of(strategy: str, contract: Contract) -> str:
    """How its orders are sized, where that is not as the rules say; else nothing."""
    fixed = strategy == PERFECT and contract.sizing is Sizing.ALL_IN
    return f"{contract.shares:,} shares an order" if fixed else ""


def rules_in_words(contract: Contract) -> str:
    """The rules in one line."""
    sizing = (
        "all-in" if contract.sizing is Sizing.ALL_IN else f"{contract.shares:,} shares an order"
    )
    short = ", shorts allowed" if contract.allow_short else ""
    return (
        f"{contract.cash:,.0f} USD to begin with, {sizing}{short}; commission {contract.commission.normalize():f}"
        f" USD a share, slippage {contract.slippage_bp} bp (hundredths of a percent), {contract.impact_bp} bp more"
        f" for orders above {(100 * contract.impact_fraction).normalize():f} % of the average volume; fills at"
        " the next open"
    )
