"""The rules that an account and what it holds are held against; `limits` judges them."""

from fluxhero.integrity.rules import Rule, Severity

DRAWDOWN_CRITICAL = Rule(
    "limits.drawdown-critical",
    Severity.CRITICAL,
    "An account has lost less than FLUXHERO_DRAWDOWN_CRITICAL_PCT of its high-water mark.",
    "The account is down by as much as you decided is too much. The breaker stays critical until it is "
    "reset, even if the account recovers.",
    "Open no new position, find out what happened, decide how to go on, then `fluxhero breaker reset "
    '--reason "…"`.',
)
DRAWDOWN_WARNING = Rule(
    "limits.drawdown-warning",
    Severity.WARNING,
    "An account has lost less than FLUXHERO_DRAWDOWN_WARNING_PCT of its high-water mark.",
    "The account is on its way to the critical limit.",
    "Look at open positions and their stops. If you took money out of the account, record it as a "
    "withdrawal (`fluxhero ingest`): it is no loss.",
)
EXPOSURE = Rule(
    "limits.exposure",
    Severity.ERROR,
    "Open positions together are worth at most FLUXHERO_MAX_TOTAL_EXPOSURE_PCT of equity.",
    "More of the account is in the market than you allow: one bad day costs more than planned.",
    "Reduce positions, or raise the limit if you mean it.",
)
POSITION = Rule(
    "limits.position",
    Severity.ERROR,
    "No open position is worth more than FLUXHERO_MAX_POSITION_SIZE_PCT of equity.",
    "Too much depends on one symbol.",
    "Reduce that position, or raise the limit if you mean it.",
)
POSITIONS_OPEN = Rule(
    "limits.positions-open",
    Severity.ERROR,
    "At most FLUXHERO_MAX_OPEN_POSITIONS positions are open.",
    "More positions are open than you allow; a bot may have missed closing some.",
    "Compare with the broker's list of positions, and close what should not be open.",
)
RISK_TREND = Rule(
    "limits.risk-trend",
    Severity.ERROR,
    "No open trade of a trend strategy loses more than FLUXHERO_MAX_RISK_PCT_TREND of equity at its stop.",
    "The stop is too far away for the size of the trade. A trade is of a trend strategy if its strategy has "
    "`trend` in its name; one that is of neither kind is held against neither limit.",
    "Move the stop or reduce the trade.",
)
RISK_MEAN_REVERSION = Rule(
    "limits.risk-mean-reversion",
    Severity.ERROR,
    "No open trade of a mean-reversion strategy loses more than FLUXHERO_MAX_RISK_PCT_MEAN_REV of equity "
    "at its stop.",
    "The stop is too far away for the size of the trade. A trade is of a mean-reversion strategy if its "
    "strategy has `mean` or `reversion` in its name.",
    "Move the stop or reduce the trade.",
)
NO_STOP = Rule(
    "limits.no-stop",
    Severity.WARNING,
    "Every open trade has a stop.",
    "What such a trade may lose is bounded by nothing, and no number of risk includes it.",
    "Set a stop, or see why the source does not report it.",
)
EQUITY_UNKNOWN = Rule(
    "limits.equity-unknown",
    Severity.ERROR,
    "The equity of every mode can be told.",
    "Closed trades have no result or no time, or a recorded value is no number. Until that is mended the "
    "drawdown is not watched: no alert is no good news.",
    "`fluxhero check` names those trades; correct them at their source and run `fluxhero ingest` again.",
)
LIMIT_RULES: tuple[Rule, ...] = (
    DRAWDOWN_CRITICAL,
    DRAWDOWN_WARNING,
    EXPOSURE,
    POSITION,
    POSITIONS_OPEN,
    RISK_TREND,
    RISK_MEAN_REVERSION,
    NO_STOP,
    EQUITY_UNKNOWN,
)
