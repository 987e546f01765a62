"""Every rule of the storage check and of the risk limits, gathered from where each is checked."""

from decimal import Decimal

from config.settings import Settings
from fluxhero.errors import BadInputError
from fluxhero.integrity import drift, reconcile, scrub
from fluxhero.integrity.rules import Rule
from fluxhero.integrity.suites.bars import FRESH, TRADE_PRICE, TYPES, bars
from fluxhero.integrity.suites.cash_flows import cash_flows
from fluxhero.integrity.suites.equity import equity
from fluxhero.integrity.suites.fills import fills
from fluxhero.integrity.suites.orders import orders
from fluxhero.integrity.suites.positions import positions
from fluxhero.integrity.suites.trades import trades
from fluxhero.integrity.waivers import READABLE
from fluxhero.ledger.formats.contract import nearest
from fluxhero.metrics.limit_rules import LIMIT_RULES

_USUAL_TOLERANCE: Decimal = Settings.model_fields["pnl_tolerance"].default
RULES: tuple[Rule, ...] = (
    *scrub.RULES,
    *reconcile.RULES,
    *trades(_USUAL_TOLERANCE).every_rule,
    *orders().every_rule,
    *fills().every_rule,
    *cash_flows().every_rule,
    *equity().every_rule,
    *positions().every_rule,
    TYPES,
    *bars().rules,
    FRESH,
    TRADE_PRICE,
    *drift.RULES,
    READABLE,
    *LIMIT_RULES,
)


def rules_by_name() -> dict[str, Rule]:
    """Every rule by its name."""
    return {rule.name: rule for rule in RULES}


def rule_named(name: str) -> Rule:
    """The rule of this name.

    Raises:
        BadInputError: there is none.
    """
    rules = rules_by_name()
    if name not in rules:
        raise BadInputError(
            f"there is no rule '{name}'{nearest(name, rules)}",
            next_step="docs/checks.md lists every rule",
        )
    return rules[name]
