"""Naming a strategy: a shipped one or the user's own, with parameters as text."""

import pickle
import shutil
from pathlib import Path
from typing import ClassVar

import pytest

from fluxhero.backtest.isolation import Bounds
from fluxhero.backtest.loading import class_of, code_of, load
from fluxhero.backtest.parameters import Parameter, declared_by, grid_of
from fluxhero.backtest.shipped import SHIPPED
from fluxhero.backtest.strategy import Description, Named, described, named
from fluxhero.errors import BadInputError, StrategyError

MINE = Path(__file__).with_name("bad_strategies.py")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_shipped_one_by_its_name() -> None:
    cross = named("moving-average-cross", {"fast": "5"})
    assert cross == Named(
        "moving-average-cross",
        "fluxhero.backtest.shipped:MovingAverageCross",
        (("fast", 5), ("slow", 50)),
    )
    assert cross.label == "moving-average-cross(fast=5, slow=50)"
    assert cross.json == '{"fast": 5, "slow": 50}'
    assert {cross: 1}[pickle.loads(pickle.dumps(cross))] == 1
    assert named("buy-and-hold", {}).label == "buy-and-hold"


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_one_can_be_made_from_its_description(name: str) -> None:
    known = described(name)
    made = known.named({parameter: values[0] for parameter, values in known.grid})
    assert load(made.reference, made.parameters)


def test_a_number_is_one_and_the_same_trial_however_it_is_written() -> None:
    texts = [{"entry": "2"}, {"entry": "2.0"}, {"entry": "2e0", "exit": "-0"}, {}]
    assert len({named("mean-reversion", given) for given in texts}) == 1
    described_so = described("mean-reversion")
    assert described_so.named({"entry": 2}) == named("mean-reversion", {})


@pytest.mark.parametrize(
    ("text", "given", "message"),
    [
        (
            "moving-average",
            {},
            r"no strategy moving-average → use one of moving-average-cross, mean-",
        ),
        ("mine.Strategy", {}, "as module:Class"),
        ("../mine:Strategy", {}, "as module:Class"),
        ("mine:", {}, "as module:Class"),
        (
            "buy-and-hold",
            {"fast": "1"},
            "buy-and-hold has no parameter fast → it has no parameters",
        ),
        (
            "random",
            {"hald": "1"},
            r"no parameter hald → it has seed \(int = 1\), hold \(int = 5\), ",
        ),
        ("random", {"hold": "2.5"}, "hold=2.5 is no int"),
        ("random", {"probability": "nan"}, "probability=nan is no float"),
        ("random", {"probability": "often"}, "probability=often is no float"),
    ],
)
def test_what_cannot_be_is_refused_with_what_there_is(
    text: str, given: dict[str, str], message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        named(text, given)


def test_ones_own_from_the_current_folder(folder: Path) -> None:
    shutil.copy(MINE, folder / "mine.py")
    known = described("mine:Cross")
    assert known.grid == (("fast", (5, 10)), ("slow", (30, 60)))
    mine = known.named({"slow": "60", "note": "first try"})
    assert mine.label == "mine:Cross(fast=10, slow=60, factor=1.0, note=first try)"
    assert len(mine.code) == 12
    with (folder / "mine.py").open("a") as file:
        file.write("# a thought\n")
    again = named("mine:Cross", {"slow": "60", "note": "first try"})
    assert again.code != mine.code, "changed code is another trial"


def test_ones_own_that_cannot_be_looked_at(folder: Path) -> None:
    (folder / "exits.py").write_text("import os\nos._exit(7)\n")
    (folder / "hangs.py").write_text("import time\ntime.sleep(600)\n")
    with pytest.raises(
        StrategyError, match="exits:Mine ended its process: it ended with exit status 7"
    ):
        named("exits:Mine", {})
    with pytest.raises(StrategyError, match="hangs:Mine took longer than 1 seconds"):
        described("hangs:Mine", Bounds(1, 1_024))
    with pytest.raises(StrategyError, match="there is no module nowhere"):
        named("nowhere:Mine", {})


class Needs:
    def __init__(  # type: ignore[no-untyped-def] # as a user may leave it
        self,
        days: int,
        quick: bool = False,
        ratio: "float | None" = None,
        size=2,
        data: object = None,
        /,
        *rest: int,
        **more: int,
    ) -> None: ...


class NeedsAnObject:
    def __init__(self, data: dict[str, int]) -> None: ...


class Plain:
    GRID: ClassVar = {"days": 5}


class Misnamed:
    GRID: ClassVar = {"weeks": [1, 2]}


class Attributes:
    targets = None


def test_a_constructor_says_what_it_takes() -> None:
    declared = declared_by(Needs, "mine")
    assert [str(one) for one in declared] == [
        "days (int)",
        "quick (bool = False)",
        "ratio (float)",
        "size (int = 2)",
        "data (cannot be given)",
    ]
    known = Description("mine", "m:Needs", declared, ())
    assert known.named({"days": "3", "quick": "Yes"}).parameters == (
        ("days", 3),
        ("quick", True),
        ("size", 2),
    )
    refused: list[tuple[dict[str, Parameter], str]] = [
        ({}, "mine needs days → give it with --set days=…; it has days"),
        ({"days": True}, "days=True is no int"),
        ({"days": 1, "quick": "maybe"}, "quick=maybe is no bool"),
        ({"days": 1, "data": "x"}, "data of mine cannot be given as text"),
    ]
    for given, message in refused:
        with pytest.raises(BadInputError, match=message):
            known.named(given)
    with pytest.raises(StrategyError, match="has to be given data"):
        declared_by(NeedsAnObject, "mine")


@pytest.mark.parametrize("strategy", [Plain, Misnamed])
def test_a_grid_that_is_none_is_refused(strategy: type) -> None:
    with pytest.raises(StrategyError, match="GRID of mine is not made of"):
        grid_of(strategy, declared_by(Needs, "mine"), "mine")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("fluxhero.backtest.shipped:SHIPPED", r"shipped \(.*shipped.py\) has no class SHIPPED"),
        ("sys:Strategy", r"sys \(built in\) has no class Strategy"),
        ("collections:Counter", r"Counter of collections .* has no method targets"),
        ("fluxhero.nothing:Mine", "there is no module fluxhero.nothing"),
    ],
)
def test_a_reference_to_no_strategy_is_refused(reference: str, message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        class_of(reference)


def test_a_class_without_a_file_has_no_code() -> None:
    assert code_of(int) == ""


def test_a_changed_module_that_a_strategy_imports_is_another_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "indicators_of_mine.py").write_text("LENGTH = 20\n")
    (tmp_path / "uses_indicators.py").write_text(
        "import indicators_of_mine\n\nclass Mine:\n    def targets(self, bars):\n"
        "        return [0] * len(bars)\n"
    )
    before = described("uses_indicators:Mine").code
    assert described("uses_indicators:Mine").code == before
    (tmp_path / "indicators_of_mine.py").write_text("LENGTH = 30\n")
    assert described("uses_indicators:Mine").code not in {"", before}
