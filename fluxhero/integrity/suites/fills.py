"""What holds for every fill."""

from fluxhero.integrity.rules import RowRule, Severity
from fluxhero.integrity.suite import Suite
from fluxhero.integrity.suites import parts
from fluxhero.ledger.schema import FILLS


def fills() -> Suite:
    """The suite."""
    return Suite(
        table=FILLS.name,
        version=1,
        key="fill_id",
        columns=parts.columns_of(FILLS),
        rules=(
            parts.required(FILLS),
            parts.unique(FILLS),
            parts.one_of(
                FILLS,
                "mode",
                "Nobody can say which account the fill belongs to, and it is reconciled with none.",
            ),
            parts.one_of(
                FILLS,
                "side",
                "Whether it bought or sold cannot be said: no round trip can be made of it.",
            ),
            parts.one_of(
                FILLS,
                "kind",
                "Whether money changed hands cannot be said, nor what became of the position.",
            ),
            RowRule(
                "fills.positive-quantity",
                Severity.ERROR,
                says="Quantity is above zero.",
                means="`side` says the direction, never the sign; a fill of nothing is none.",
                remedy=parts.COMPARE + parts.CORRECT,
                bad="quantity <= 0",
            ),
            RowRule(
                "fills.price",
                Severity.ERROR,
                says="A trade's price is above zero, and no other fill's is below.",
                means="Money was paid for what was sold, or nothing for what was bought: every result that is made of "
                "the fill is wrong. An option that expires, and a split, have the price 0.",
                remedy=parts.COMPARE + parts.CORRECT,
                bad="price < 0 OR (kind = 'trade' AND price = 0)",
            ),
            parts.fees_not_negative(FILLS),
            RowRule(
                "fills.multiplier",
                Severity.ERROR,
                says="A multiplier, where there is one, is above zero.",
                means="The money that changed hands cannot be reckoned.",
                remedy=parts.COMPARE + parts.CORRECT,
                bad="multiplier <= 0",
            ),
            parts.not_in_future(FILLS),
            parts.sane_times(FILLS),
        ),
    )
