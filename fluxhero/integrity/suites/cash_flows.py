"""What holds for every flow of cash."""

from fluxhero.integrity.rules import RowRule, Severity
from fluxhero.integrity.suite import Suite
from fluxhero.integrity.suites import parts
from fluxhero.ledger.schema import CASH_FLOWS


def cash_flows() -> Suite:
    """The suite."""
    return Suite(
        table=CASH_FLOWS.name,
        version=1,
        key="flow_id",
        columns=parts.columns_of(CASH_FLOWS),
        rules=(
            parts.required(CASH_FLOWS),
            parts.unique(CASH_FLOWS),
            parts.one_of(
                CASH_FLOWS,
                "mode",
                "Nobody can say which account the money belongs to, and no account's cash adds up.",
            ),
            parts.one_of(
                CASH_FLOWS,
                "kind",
                "What the money was cannot be said, so that it is neither a deposit nor income.",
            ),
            RowRule(
                "cash_flows.sign",
                Severity.ERROR,
                says="Money in is positive and money out negative: a deposit is above zero, a withdrawal below.",
                means="A withdrawal with the wrong sign makes the account look richer by twice its amount, and a "
                "deposit poorer: returns and drawdown are wrong from that day on.",
                remedy="Compare with the bank's statement. " + parts.CORRECT,
                bad="(kind = 'deposit' AND amount <= 0) OR (kind = 'withdrawal' AND amount >= 0)",
            ),
            RowRule(
                "cash_flows.fee-sign",
                Severity.WARNING,
                says="A fee is money out: its amount is below zero.",
                means="The fee counts as income, unless the broker did pay it back.",
                remedy="If the broker paid it back, waive the finding (`fluxhero waiver add`). "
                + parts.CORRECT,
                bad="kind = 'fee' AND amount > 0",
            ),
            parts.not_in_future(CASH_FLOWS),
            parts.sane_times(CASH_FLOWS),
        ),
    )
