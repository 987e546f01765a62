"""However much there is to do, a flow takes at most fifty steps for it."""

from datetime import timedelta
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect import Task

from tasks.grouping import in_groups
from tests import samples
from tests.house import House

MOST_STEPS = 50
MOST_THINGS = 10_000


@given(st.lists(st.integers(), max_size=300), st.integers(1, 5))
def test_every_item_is_in_one_group_and_in_order(items: list[int], steps: int) -> None:
    groups = in_groups(items, steps=steps)
    assert [item for group in groups for item in group] == items
    assert all(groups)
    assert len(groups) * steps <= 32


def test_few_items_have_a_group_each() -> None:
    assert in_groups("abc", steps=3) == (("a",), ("b",), ("c",))


# How many steps each group goes through; a flow that is not here has no groups.
STEPS_OF_A_GROUP = {"archive_trades": 3, "ingest_trades": 1, "refresh_market_data": 1}
FLOWS = sorted(path.stem for path in (Path(__file__).parents[2] / "flows").glob("[!_]*.py"))


@pytest.mark.parametrize("flow", FLOWS)
def test_a_flow_stays_at_fifty_steps(flow: str) -> None:
    """Its groups at their most, and every step outside them."""
    module = vars(import_module(f"flows.{flow}"))
    always = sum(isinstance(value, Task) for value in module.values())
    steps = STEPS_OF_A_GROUP.get(flow, 0)
    groups = len(in_groups(range(MOST_THINGS), steps=steps)) if steps else 0
    assert groups * steps + always - steps <= MOST_STEPS


@pytest.fixture
def house(data: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A ledger with three years of closed trades that are due, one a month."""
    store = data / "ledger.duckdb"
    monkeypatch.setenv("FLUXHERO_STORE_URL", f"duckdb:///{store}")
    samples.create_duckdb_store(store)
    made = House("duckdb", data, store)
    for month in range(36):
        closed = samples.CUTOFF - timedelta(days=31 * month + 1)
        opened = closed - timedelta(hours=1)
        made.add(month + 1, entry_time=opened, exit_time=closed, created_at=opened)
    return made


def test_a_store_with_years_due_is_archived_in_fifty_steps(house: House) -> None:
    """A batch a month; the steps that really run are counted."""
    module = import_module("flows.archive_trades")
    names = [name for name, value in vars(module).items() if isinstance(value, Task)]
    ran: list[str] = []
    report = house.archive(after={name: partial(ran.append, name) for name in names})
    assert report.rows == 36
    assert len(house.chain) >= 30
    assert {"stage_batches", "verify_batches", "publish_batches"} <= set(ran)
    assert len(ran) + 1 <= MOST_STEPS  # and one that publishes the report
