"""What holds for the points of an account's equity."""

from fluxhero.integrity.rules import QueryRule, RowRule, Severity
from fluxhero.integrity.suite import Suite
from fluxhero.integrity.suites import parts
from fluxhero.ledger.currencies import is_base_sql
from fluxhero.ledger.schema import EQUITY

CLOSED_DAYS = "closed_days"  # variable: days on which the exchange is closed, as a list of dates
LARGEST_STEP = "0.5"  # of the value before
_KEY = "concat_ws(' ', mode, \"at\")"

# Days of a week on which an account has points: those it has on at least half of the weeks between its
# first and its last. Such a day without a point is missing, unless the exchange is closed: then it is
# only for accounts that have points on weekends as well.
_GAPS = """
    WITH days AS (
        SELECT DISTINCT mode, timezone('UTC', "at")::DATE AS day FROM {table}
        WHERE "at" BETWEEN __EARLIEST AND __LATEST
    ), span AS (
        SELECT mode, min(day) AS first, max(day) AS last FROM days GROUP BY mode
    ), week AS (
        SELECT mode, isodow(day) AS weekday, count(*) AS points, any_value(last - first) // 7 AS weeks
        FROM days JOIN span USING (mode) GROUP BY ALL
    ), habit AS (
        SELECT mode, weekday, bool_or(weekday > 5) OVER (PARTITION BY mode) AS every_day
        FROM week WHERE weeks >= 2 AND 2 * points >= weeks
    ), due AS (
        SELECT mode, unnest(generate_series(first, last, INTERVAL 1 DAY))::DATE AS day FROM span
    )
    SELECT due.mode || ' ' || due.day AS key, due.mode, due.day
    FROM due JOIN habit ON habit.mode = due.mode AND habit.weekday = isodow(day)
    ANTI JOIN days ON days.mode = due.mode AND days.day = due.day
    WHERE every_day OR NOT list_contains(coalesce(getvariable('closed_days')::DATE[], []), due.day)
""".replace("__EARLIEST", parts.EARLIEST).replace("__LATEST", parts.LATEST)

# Flows between two points explain a step, whenever in between they came.
_STEPS = f"""
    WITH points AS (
        SELECT mode, "at", equity, lag("at") OVER account AS "since", lag(equity) OVER account AS before
        FROM {{table}} WINDOW account AS (PARTITION BY mode ORDER BY "at")
    ), steps AS (
        SELECT {_KEY} AS key, mode, "since", "at", before, equity, coalesce((
            SELECT sum(amount) FROM hot.cash_flows AS flow
            WHERE flow.mode = points.mode AND {is_base_sql("flow.currency")}
                AND flow."at" > points."since" AND flow."at" <= points."at"
        ), 0) AS flows
        FROM points WHERE abs(equity - before) > {LARGEST_STEP} * abs(before)
    )
    SELECT * FROM steps WHERE abs(equity - before - flows) > {LARGEST_STEP} * abs(before)
"""


def equity() -> Suite:
    """The suite; it needs the flows of cash as `hot.cash_flows`."""
    return Suite(
        table=EQUITY.name,
        version=1,
        key=_KEY,
        columns=parts.columns_of(EQUITY),
        rules=(
            parts.required(EQUITY),
            parts.unique(EQUITY),
            parts.one_of(
                EQUITY,
                "mode",
                "Nobody can say which account had this value, and no drawdown uses it.",
            ),
            RowRule(
                "equity.positive",
                Severity.WARNING,
                says="An account is worth more than nothing.",
                means="The account is lost or in debt, or the value was never filled in; drawdown beyond 100 % comes "
                "of it.",
                remedy="Compare with the broker's statement of that day. " + parts.CORRECT,
                bad="equity <= 0",
            ),
            QueryRule(
                "equity.gap",
                Severity.WARNING,
                says="An account has a point on every day of the week on which it usually has one (in at least half "
                "of its weeks); the exchange's holidays are no gap unless it has points on weekends too.",
                means="The bot did not run, or its points were lost: drawdown and volatility of these days are "
                "unknown, and the real low may lie in the gap.",
                remedy="Bring the missing points in with `fluxhero ingest`; most brokers export the daily account "
                "value. If the bot was off, waive the finding (`fluxhero waiver add`).",
                rows=_GAPS,
            ),
            QueryRule(
                "equity.step",
                Severity.ERROR,
                says="Between two points the value changes by at most half, beside what flows of cash explain.",
                means="A point is wrong, a deposit or withdrawal is missing from the ledger, or two accounts were "
                "mixed. Returns, drawdown and the drawdown breaker are wrong from there on.",
                remedy="Compare both points with the broker's statement. A missing flow is brought in with "
                "`fluxhero ingest`. " + parts.CORRECT,
                rows=_STEPS,
            ),
            parts.not_in_future(EQUITY),
            parts.sane_times(EQUITY),
        ),
    )
