"""The examples of docs/strategies.md do what the page says."""

import re
from pathlib import Path

import numpy as np
import pytest

from fluxhero.backtest.contract import Contract
from fluxhero.backtest.honesty import Honesty
from fluxhero.backtest.isolation import Bounds
from fluxhero.backtest.shipped import SHIPPED
from fluxhero.backtest.signals import Signals, signals_of
from fluxhero.backtest.sources import random_walk
from fluxhero.backtest.strategy import described

PAGE = Path(__file__).parents[2] / "docs" / "strategies.md"


def test_the_examples_of_the_page_do_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    (tmp_path / "my_strategies.py").write_text("\n\n".join(examples))
    monkeypatch.chdir(tmp_path)
    breakout = described("my_strategies:Breakout")
    assert breakout.grid == (("days", (10, 20, 40, 60)),)
    both = [breakout.named({"days": "40"}), described("my_strategies:Cheap").named({})]
    bars = random_walk(1_500)
    answers = signals_of(both, bars, Contract(), Bounds(60, 2_048), tmp_path)
    found = [answer for answer in answers if isinstance(answer, Signals)]
    assert [one.verdict.honesty for one in found] == [Honesty.HONEST, Honesty.PEEKS]
    assert np.count_nonzero(np.diff(found[0].targets)) > 4


def test_the_page_lists_what_is_shipped() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|([^|]*)\|", PAGE.read_text("utf-8"), re.M)
    listed = {name: re.findall(r"`(\w+)=([^`]+)`", parameters) for name, parameters in rows}
    declared = {
        name: [(one.name, str(one.default)) for one in described(name).declared] for name in SHIPPED
    }
    assert {name: listed[name] for name in SHIPPED} == declared
    assert {one.value for one in Honesty} <= listed.keys()
