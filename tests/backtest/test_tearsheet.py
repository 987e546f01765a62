"""A tearsheet leads with the verdict, explains every number, and draws what there is to draw."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from config.settings import Settings
from fluxhero.backtest.asked import Asked, Chosen
from fluxhero.backtest.bars import Bars, Int8s
from fluxhero.backtest.contract import Contract, Sizing
from fluxhero.backtest.evaluation import Evaluation, StrategyLuck
from fluxhero.backtest.exact import simulate_exact
from fluxhero.backtest.in_words import break_even_in_words, number, percent, rules_in_words, usd
from fluxhero.backtest.luck import Luck, Rating, Tried, judge_luck
from fluxhero.backtest.material import Signalled
from fluxhero.backtest.meanings import MEANINGS
from fluxhero.backtest.overfitting import block_sums
from fluxhero.backtest.paper import Section, render
from fluxhero.backtest.plots import trades_on_price
from fluxhero.backtest.referenced import Referenced
from fluxhero.backtest.rows import reference_row
from fluxhero.backtest.sheets import sheet_of, write_sheets
from fluxhero.backtest.signals import Signals
from fluxhero.backtest.strategy import Description, Named
from fluxhero.backtest.tearsheet import Tearsheet, surface
from fluxhero.backtest.walk_forward import Candidate
from fluxhero.market.timeframe import DAILY
from tests.backtest.sample_evaluation import sample
from tests.backtest.session_bars import daily_bars, long_when, new_york, walk

CONTRACT = Contract()
BARS = daily_bars(walk(400, seed=3, drift=0.001))
ZONE = new_york().zone
RISK_FREE = 0.04
NAMED = Named("mine", "mine:Strategy", (("fast", 3),))
SVG = re.compile(r"<svg.*?</svg>", re.DOTALL)


def targets(seed: int) -> Int8s:
    """Long on about half of the days; idle for the first nine months."""
    wanted = long_when(np.random.default_rng(seed).random(len(BARS)) < 0.5)
    wanted[:180] = 0
    return wanted


def asked(data_dir: Path, *, pdf: bool = False) -> Asked:
    return Asked(
        run="20261125T120000Z",
        at=datetime(2026, 11, 25, 12, tzinfo=UTC),
        settings=Settings(data_dir=data_dir),
        strategies=(),
        unusable=(),
        symbols=(),
        timeframe=DAILY,
        first=None,
        last=None,
        engines=(),
        contract=CONTRACT,
        speed_bars=0,
        build=False,
        sweep_engine="reference",
        pdf=pdf,
    )


def referenced(wanted: Int8s, bars: Bars = BARS) -> Referenced:
    result = simulate_exact(bars, wanted, CONTRACT)
    row = reference_row(NAMED, result, bars, CONTRACT, RISK_FREE, ZONE, 0.001)
    chosen = Chosen(Description("mine", "mine:Strategy", (), ()), NAMED, ())
    return Referenced(Signalled(chosen, bars, Signals(wanted, 0.1, 50.0)), CONTRACT, result, row)


def luck_of(wanted: Int8s, *others: Int8s) -> Luck:
    """As if others had been tried beside it, over two parameters."""
    tried = [wanted, *others]
    sums = block_sums(np.random.default_rng(1).normal(0, 0.01, (320, len(tried))))
    grid = [
        ({"fast": place % 2, "slow": place // 2}, 0.5 + place) for place in range(len(tried) - 1)
    ]
    beside = Tried(
        trials=len(tried),
        sharpe_variance=0.1,
        sums=sums,
        candidates=[Candidate(str(place), one) for place, one in enumerate(tried)],
        grid=[*grid, ({"fast": 1, "slow": 1}, None)],
    )
    return judge_luck(BARS, wanted, CONTRACT, new_york(), RISK_FREE, beside if others else Tried())


def evaluation(luck: Luck | None) -> Evaluation:
    one = StrategyLuck(strategy="mine", label=NAMED.label, symbol="TEST", luck=luck)
    return sample().model_copy(update={"luck": (one,)})


WANTED = targets(1)
ONE = referenced(WANTED)
JUDGED = luck_of(WANTED, targets(2), targets(3), targets(4))


def sheet(luck: Luck = JUDGED, one: Referenced = ONE) -> Tearsheet:
    found = sheet_of(asked(Path("unused")), evaluation(luck), one)
    assert found is not None
    return found


def facts(page: str) -> dict[str, str]:
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))


def test_the_verdict_comes_first_and_every_number_is_explained() -> None:
    page = sheet().html()
    assert page.index(f"<h1>{JUDGED.verdict}</h1>") < page.index("<h2>")
    assert "2 bars without volume left out" in page, "what is odd about the bars"
    shown = facts(page)
    meanings = dict(
        re.findall(r'<td class="text">([^<]*)</td><td class="[a-z]*">([^<]*)</td>', page)
    )
    assert shown.keys() == meanings.keys()
    assert shown.keys() == MEANINGS.keys(), "no meaning without a number"
    assert shown["Average win"].endswith(" USD")
    assert shown["Commission"].endswith(" USD")
    assert shown["Won"].endswith(" %")
    assert shown["Longest below a peak"].endswith(" days")
    assert "The best of 4 sets of parameters on three months" in page
    assert len(SVG.findall(page)) == len(sheet().figures()) == 8


def test_days_without_a_trade_have_no_rolling_sharpe_ratio() -> None:
    """Of running sums rounding errors stay, and give idle days ratios of millions."""
    noisy = np.array(WANTED)
    noisy[:150], noisy[150:] = 1, 0
    rolling = sheet(one=referenced(noisy)).track.rolling_sharpe
    assert np.isnan(rolling[:125]).all()
    assert np.isfinite(rolling[125:152]).all()
    assert np.isnan(rolling[152 + 126 :]).all()
    short = sheet(one=referenced(WANTED[:50], BARS.head(50)))
    assert np.isnan(short.track.rolling_sharpe).all()


def test_what_could_not_be_told_is_listed_and_not_drawn() -> None:
    bare = JUDGED.model_copy(
        update={
            "sharpe": None,
            "overfitting": None,
            "bootstrap": None,
            "walk_forward": None,
            "costs": None,
            "stability": None,
            "unknown": ("bootstrap: too few days",),
            "rating": Rating.UNKNOWN,
        }
    )
    page = sheet(bare).html()
    assert '<header class="verdict plain">' in page
    assert "bootstrap: too few days" in page
    assert "Trials on this data" not in page
    assert len(sheet(bare).figures()) == 5


def test_costs_say_when_nothing_is_left() -> None:
    assert JUDGED.costs is not None
    for changes, said in (
        ({"gains_without_costs": False, "break_even": None}, "It loses even without costs."),
        ({"gains_without_costs": True, "break_even": None}, "It still gains at "),
        (
            {"gains_without_costs": True, "break_even": Decimal("1.50")},
            "At 1.50 times the costs nothing is left.",
        ),
    ):
        costs = JUDGED.costs.model_copy(update=changes)
        assert break_even_in_words(costs).startswith(said)


def test_a_sweep_of_one_parameter_is_a_line() -> None:
    assert JUDGED.stability is not None
    both = JUDGED.stability.surface
    line = both.model_copy(update={"down": "", "rows": (), "values": both.values[:1]})
    assert len(surface(line).axes) == 1
    assert len(surface(both).axes) == 2, "the colours have a scale"


def test_what_is_not_defined_is_a_dash() -> None:
    assert (percent(None), number(None), usd(None)) == ("–", "–", "–")
    assert (percent(0.2034), number(1234.5), usd(Decimal("-1234.5"))) == (
        "20.3 %",
        "1,234.50",
        "-1,234.50 USD",
    )
    page = render(
        "t",
        "v",
        [],
        "plain",
        [
            Section(
                "s",
                columns=("a",) * 5,
                rows=[
                    (
                        "–",
                        "2024-01-02",
                        "-1,234.5 %",
                        "a word",
                        "one sentence that is too long for a narrow column",
                    )
                ],
            )
        ],
    )
    assert re.findall(r'<td class="(.*?)">', page) == ["number", "date", "number", "text", "long"]


def test_the_rules_are_in_words_with_their_units() -> None:
    assert rules_in_words(CONTRACT) == (
        "100,000 USD to begin with, all-in; commission 0.005 USD a share, slippage 1 bp (hundredths of a percent),"
        " 5 bp more for orders above 10 % of the average volume; fills at the next open"
    )
    other = CONTRACT.model_copy(update={"sizing": Sizing.FIXED, "allow_short": True})
    assert ", 100 shares an order, shorts allowed; " in rules_in_words(other)


def test_more_trades_than_can_be_seen_are_left_out_and_said() -> None:
    track = sheet().track
    fills = pa.concat_tables([track.result.fills] * 20)
    many = replace(track, result=replace(track.result, fills=fills))
    (axes,) = trades_on_price(many).axes
    assert axes.get_title("left") == "Trades on price, USD (the last 800 buys and sells)"


@pytest.mark.parametrize("pdf", [False, True])
def test_sheets_are_written_and_are_the_same_each_time(tmp_path: Path, pdf: bool) -> None:
    written = write_sheets(asked(tmp_path, pdf=pdf), evaluation(JUDGED), [ONE])
    name = "tearsheet-20261125T120000Z-01"
    title = f"{NAMED.label} on TEST"
    papers = [(f"{title}, plots as PDF", f"{name}.pdf")] if pdf else []
    assert written == [(title, f"{name}.html"), *papers]
    first = [(tmp_path / "reports" / file).read_bytes() for _, file in written]
    write_sheets(asked(tmp_path, pdf=pdf), evaluation(JUDGED), [ONE])
    assert first == [(tmp_path / "reports" / file).read_bytes() for _, file in written]
    assert first[-1].startswith(b"%PDF" if pdf else b"<!doctype html>")


def test_without_a_judgement_there_is_no_sheet(tmp_path: Path) -> None:
    assert write_sheets(asked(tmp_path), evaluation(None), [ONE]) == []
