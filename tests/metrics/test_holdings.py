"""What is held, wherever it is written: listed positions, or open trades for want of them."""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from fluxhero.metrics.facts import Holdings, Strategy, TradeRisk
from fluxhero.metrics.holdings import holding_samples, holdings
from fluxhero.metrics.ledger_facts import ledger_facts
from tests import samples
from tests.metrics.tables import Row, assert_fit, of, tables, trade, values
from tests.protocol import workspace_of


def opened(name: str, **changes: object) -> Row:
    money = {"quantity", "entry_price", "stop_loss", "current_price"}
    exact = {
        key: Decimal(str(value)) if key in money and value is not None else value
        for key, value in changes.items()
    }
    return trade(None, None, trade_id=name, status="open", **exact)


def position(symbol: str, **changes: object) -> Row:
    row = opened(symbol, symbol=symbol, **changes)
    return {"mode": row["mode"], "symbol": symbol, "side": row["side"]} | {
        key: value for key, value in row.items() if key not in {"trade_id", "status"}
    }


def held(**rows: list[Row]) -> dict[str, Holdings]:
    with tables(**rows) as connection:
        found = holdings(connection)
    assert len({one.mode for one in found}) == len(found)
    return {one.mode: one for one in found}


def test_open_trades_are_positions_by_symbol_and_side() -> None:
    one = held(
        trades=[
            opened("a", stop_loss=95, strategy="Trend following"),
            opened("b", quantity=5, entry_price=210, stop_loss=0, strategy="mean reversion"),
            opened("c", side="short", stop_loss=103, strategy="MEAN_REVERSION"),
            opened(
                "d", side="short", quantity=-10, stop_loss=90, strategy="reversion"
            ),  # locks in a profit
            opened("e", symbol="IBM", quantity=1, entry_price=7, stop_loss=None),
            trade(5),
            trade(5, status="cancelled"),
        ]
    )["live"]
    assert of(one, "positions", "without_stop") == (3, 2)
    assert of(one, "exposure", "largest", "largest_symbol") == (2050 + 2000 + 7, 2050, "AAPL")
    assert one.risks == (
        TradeRisk("a", Strategy.TREND, Decimal(50)),
        TradeRisk("c", Strategy.MEAN_REVERSION, Decimal(30)),
        TradeRisk("d", Strategy.MEAN_REVERSION, Decimal(0)),
    )


def test_listed_positions_come_first_and_stops_from_open_trades() -> None:
    found = held(
        trades=[opened("a", stop_loss=99), opened("p", mode="paper", entry_price=3)],
        positions=[
            position("IBM", quantity=-4, current_price=50, entry_price=40, stop_loss=1),
            position("AMD", side="short", quantity=2, entry_price=70, current_price=None),
            position("OUT", quantity=0, current_price=None, entry_price=None),
            position(
                "X", mode="legacy", quantity=-2, entry_price=None, current_price=9, stop_loss=8
            ),
            position("Y", mode="legacy", side="short", quantity=3, entry_price=5, stop_loss=None),
        ],
    )
    live, paper, legacy = found["live"], found["paper"], found["legacy"]
    assert of(live, "positions", "exposure", "largest_symbol") == (2, 340, "IBM")
    assert of(live, "risks", "without_stop") == ((TradeRisk("a", Strategy.OTHER, Decimal(10)),), 0)
    assert of(paper, "positions", "exposure", "without_stop") == (1, 30, 1)
    assert legacy.risks == (TradeRisk("X long", Strategy.OTHER, Decimal(2)),)
    assert of(legacy, "positions", "exposure", "without_stop") == (2, 33, 1)


@pytest.mark.parametrize("missing", ["entry_price", "quantity"])
def test_a_position_without_a_price_leaves_the_exposure_unknown(missing: str) -> None:
    rows = [opened("a", stop_loss=95), opened("b", symbol="IBM", stop_loss=95, **{missing: None})]
    one = held(trades=rows)["live"]
    assert of(one, "positions", "exposure", "largest", "largest_symbol") == (2, None, None, None)
    assert (len(one.risks), one.without_stop) == (1, 1), "nobody can say what the stop limits"
    shown = holding_samples([one], {"live": Decimal(1_000)})
    assert values(shown, "exposure_usd") == values(shown, "exposure_ratio") == {}
    assert values(shown, "position_max_ratio") == {}
    assert values(shown, "risk_at_stops_ratio") == {("live",): 0.05}


def test_a_side_that_nobody_knows_has_the_worse_risk() -> None:
    rows = [
        opened("a", side="unknown:7", stop_loss=95),
        opened("b", side=None, quantity=-10, stop_loss=103),
    ]
    assert [risk.amount for risk in held(trades=rows)["live"].risks] == [50, 30]


def test_the_largest_numbers_of_a_ledger_are_not_too_large() -> None:
    most = "9999999999.99999999"
    rows = [opened("a", quantity=most, entry_price=most, stop_loss="-0.5")]
    one = held(trades=[*rows, opened("b", quantity=f"-{most}", entry_price=most, side="short")])
    assert Fraction(one["live"].exposure or 0) == 2 * Fraction(most) ** 2
    risk = Fraction(most) * (Fraction(most) + Fraction(1, 2))
    assert Fraction(one["live"].risks[0].amount) == risk


def test_ratios_need_an_equity_above_zero() -> None:
    rows = [
        opened("a", stop_loss=95, strategy="trend"),
        opened("b", symbol="IBM", quantity=3, stop_loss=90, strategy="trend"),
        opened("c", mode="paper"),
    ]
    found = list(held(trades=[*rows, trade(1, mode="legacy")]).values())
    shown = holding_samples(found, {"live": Decimal(2_000), "legacy": Decimal(10)})
    assert_fit(shown)
    assert values(shown, "positions_open") == {("live",): 2, ("paper",): 1, ("legacy",): 0}
    assert values(shown, "positions_without_stop") == {("live",): 0, ("paper",): 1, ("legacy",): 0}
    assert values(shown, "exposure_usd")["live",] == 1_300
    assert values(shown, "exposure_ratio") == {("live",): 0.65, ("legacy",): 0}
    assert values(shown, "position_max_ratio") == {("live",): 0.5, ("legacy",): 0}
    assert values(shown, "risk_at_stops_usd")["live",] == 80
    assert values(shown, "risk_at_stops_ratio") == {("live",): 0.04, ("legacy",): 0}
    worst = values(shown, "trade_risk_max_ratio")
    assert {key: worst["live", key] for key in Strategy} == {
        "trend": 0.025,
        "mean_reversion": 0,
        "other": 0,
    }
    ruined = holding_samples(found, {"live": Decimal(0), "paper": Decimal(-5)})
    assert not any(one.name.endswith("_ratio") for one in ruined)
    assert held() == {}


def test_a_fluxhero_store_has_open_trades_alone(clean_environment: Path) -> None:
    path = clean_environment / "system.db"
    samples.create_fluxhero_store(path)
    still_open = {"status": 0, "exit_time": None, "exit_price": None, "realized_pnl": None}
    for number, side, stop in ((1, 1, 95.25), (2, -1, 0.0)):
        row = samples.fluxhero_trade(number, side=side, stop_loss=stop, **still_open)
        samples.insert_sqlite(path, "live_trades", row)
    workspace = workspace_of(
        samples.Sample("sqlite", path, frozenset(), frozenset()), clean_environment / "data"
    )
    with ledger_facts(workspace) as connection:
        (one,) = holdings(connection)
    assert of(one, "mode", "positions", "exposure", "without_stop") == ("live", 2, 2005, 1)
    assert [of(risk, "strategy", "amount") for risk in one.risks] == [(Strategy.TREND, 50)]
