"""A reader that a whole run overtakes, between the moment it has the hot rows and the manifests."""

from collections.abc import Callable
from typing import Any

import pytest

from fluxhero.archive.workspace import Workspace
from fluxhero.ledger.view import open_view
from tests.house import House


def overtaken(
    house: House, monkeypatch: pytest.MonkeyPatch, happening: Callable[[], object]
) -> list[tuple[str, int]]:
    """What the view shows when something happens after the first thing that it reads."""
    waiting = [happening]

    def then_it_happens(function: Callable[..., Any]) -> Callable[..., Any]:
        def reading(*args: Any) -> Any:
            result = function(*args)
            if waiting:
                waiting.pop()()
            return result

        return reading

    workspace = house.workspace
    store = type(workspace.store)
    monkeypatch.setattr(store, "load", then_it_happens(store.load))
    monkeypatch.setattr(Workspace, "chain", then_it_happens(Workspace.chain))
    with open_view(workspace, ["trades"]) as view:
        found = view.execute("SELECT trade_id, count(*) FROM trades GROUP BY 1 ORDER BY 1")
        rows: list[tuple[str, int]] = found.fetchall()
    workspace.store.close()
    assert not waiting, "it happened"
    return rows


def test_a_run_that_archives_and_purges_hides_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.add(1, 2, 3)
    shown = overtaken(house, monkeypatch, house.archive)
    assert shown == [(house.key(number), 1) for number in (1, 2, 3)]
    assert house.hot == set()


def test_a_run_that_restores_doubles_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.add(1, 2, 3)
    house.archive()
    back = [house.key(2)]
    shown = overtaken(house, monkeypatch, lambda: house.restore(trade_ids=back))
    assert shown == [(house.key(number), 1) for number in (1, 2, 3)]
    assert house.hot == {2}


def test_a_run_that_archives_a_correction_shows_one_version(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.add(1)
    house.archive()
    house.add(1, signal_reason="corrected")
    assert overtaken(house, monkeypatch, house.archive) == [(house.key(1), 1)]
    assert house.hot == set()
