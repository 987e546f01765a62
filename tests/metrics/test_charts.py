"""Charts of accounts: what they draw of days with and without a step."""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa

from fluxhero.mermaid import line_chart
from fluxhero.metrics.charts import account_charts
from fluxhero.metrics.equity import CURVE

FIRST = date(2026, 1, 5)


def curve(*steps: tuple[str, int, int, int, float]) -> pa.Table:
    """Rows of (mode, day, equity, peak, the day's deepest drawdown)."""
    days = [FIRST + timedelta(days=day) for _, day, _, _, _ in steps]
    return pa.table(
        {
            "mode": [mode for mode, *_ in steps],
            "basis": ["closed"] * len(steps),
            "day": days,
            "at": [datetime(day.year, day.month, day.day, 12, tzinfo=UTC) for day in days],
            "equity": [Decimal(equity) for _, _, equity, _, _ in steps],
            "peak": [Decimal(peak) for _, _, _, peak, _ in steps],
            "drawdown_ratio": [ratio for *_, ratio in steps],
        },
        schema=CURVE,
    )


def line(chart: str) -> list[float]:
    found = re.search(r"line \[(.+)\]", chart)
    assert found is not None
    return [float(value) for value in found[1].split(", ")]


def test_days_without_a_step_stand_where_the_last_one_left_them() -> None:
    equity, drawdown = account_charts(
        curve(("live", 0, 100, 100, 0.0), ("live", 2, 80, 100, 0.5), ("live", 5, 110, 110, 0.1))
    )
    assert line(equity) == [100, 100, 80, 80, 80, 110]
    assert line(drawdown) == [0, 0, -50, -20, -20, -10], "the deepest of each day, where it traded"
    assert '"live (closed): equity, USD, 2026-01-05 to 2026-01-10"' in equity
    assert '"Days since 2026-01-05" 0 --> 5' in equity


def test_years_are_few_points_that_hide_no_drawdown() -> None:
    steps = [("live", day, 100, 100, 0.3 if day == 777 else 0.0) for day in range(2_000)]
    equity, drawdown = account_charts(curve(*steps))
    assert len(line(equity)) == len(line(drawdown)) == 40
    assert min(line(drawdown)) == -30
    assert '"Year" 2026.01 --> 2031.48' in equity


def test_accounts_apart_and_none_of_a_single_day_or_none() -> None:
    assert account_charts(CURVE.empty_table()) == ()
    assert account_charts(curve(("live", 0, 100, 100, 0.0))) == ()
    both = account_charts(
        curve(
            ("live", 0, 100, 100, 0.0),
            ("live", 1, 90, 100, 0.1),
            ("paper", 0, 0, 0, 0.0),
            ("paper", 2, -5, 0, 1.0),
        )
    )
    assert len(both) == 4
    assert line(both[3]) == [0, 0, -100], "below a peak of nothing, all is lost"


def test_a_title_cannot_break_out() -> None:
    chart = line_chart('a "b"', FIRST, FIRST, ["1"])
    assert "title \"a 'b', 2026-01-05 to 2026-01-05\"" in chart
    assert "0 --> 1" in chart
