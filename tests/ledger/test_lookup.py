"""Which trade a beginning of an id means."""

from pathlib import Path

import pytest

from fluxhero.errors import BadInputError
from fluxhero.ledger.lookup import hot_trade_ids, whole_keys
from tests.protocol import archive, workspace_of
from tests.samples import Sample, create_fluxhero_store, fluxhero_trade, insert_sqlite

KEYS = (
    "live_trades:1:2026-03-01T14:30:00",
    "live_trades:17:2026-03-01T14:30:00",
    "live_trades:17:2026-04-01T14:30:00",
    "live_trades:170:2026-03-01T14:30:00",
    "paper_trades:1:2026-03-01T14:30:00",
    "T-1",
    "T-10",
    "T-1:b",
    "U-100",
)


@pytest.mark.parametrize(
    ("beginning", "meant"),
    [
        ("T-1", "T-1"),
        ("T-1:", "T-1:b"),
        ("T-10", "T-10"),
        ("live_trades:1", "live_trades:1:2026-03-01T14:30:00"),
        ("live_trades:1:", "live_trades:1:2026-03-01T14:30:00"),
        ("live_trades:17:2026-04", "live_trades:17:2026-04-01T14:30:00"),
        ("live_trades:170", "live_trades:170:2026-03-01T14:30:00"),
        ("paper_trades", "paper_trades:1:2026-03-01T14:30:00"),
        ("U", "U-100"),
    ],
)
def test_the_key_itself_then_whole_parts_then_any_beginning(beginning: str, meant: str) -> None:
    assert whole_keys([beginning], KEYS, "there is no trade", "look") == [meant]


def test_several_beginnings_of_one_key_mean_it_once() -> None:
    assert whole_keys(["U", "T-1", "U-1"], KEYS, "there is no trade", "look") == ["U-100", "T-1"]


@pytest.mark.parametrize(
    ("beginning", "said", "silent"),
    [
        ("live_trades:17", "beginning of 2 trades: live_trades:17:2026-03-01T14:30:00, ", ":170:"),
        ("live_trades", "beginning of 4 trades: live_trades:1:", "live_trades:170:"),
        ("T", "beginning of 3 trades: T-1, T-10, T-1:b", "…"),
        ("nobody", "there is no trade nobody", "beginning"),
        ("live_trades:1:2026-03-01T14:30:00+", "there is no trade live_trades:1:", "beginning"),
    ],
)
def test_several_or_none_is_an_error_that_lists_three(
    beginning: str, said: str, silent: str
) -> None:
    with pytest.raises(BadInputError) as caught:
        whole_keys([beginning], KEYS, "there is no trade", "look")
    assert said in caught.value.what
    assert silent not in caught.value.what
    assert caught.value.next_step


def test_nothing_typed_is_no_beginning_of_everything() -> None:
    with pytest.raises(BadInputError, match="empty id"):
        whole_keys([""], ["T-1"], "there is no trade", "look")


def test_archived_trades_are_known_and_named(clean_environment: Path) -> None:
    path = clean_environment / "system.db"
    create_fluxhero_store(path)
    rows = [fluxhero_trade(number) for number in (1, 17, 170)]
    insert_sqlite(path, "live_trades", *rows)
    workspace = workspace_of(
        Sample("sqlite", path, frozenset(), frozenset()), clean_environment / "data"
    )
    wanted = [f"live_trades:{row['id']}:{row['created_at']}" for row in rows]
    typed = ["live_trades:1", "live_trades:17", "live_trades:170"]
    assert hot_trade_ids(workspace, typed) == wanted
    assert archive(workspace) == 3
    insert_sqlite(path, "live_trades", fluxhero_trade(171, status=0))
    for beginning, key in zip(typed, wanted, strict=True):
        with pytest.raises(BadInputError, match="is archived") as caught:
            hot_trade_ids(workspace, [beginning])
        assert key in caught.value.what
        assert f"fluxhero restore --trade {key}" in caught.value.next_step
    with pytest.raises(BadInputError, match="the ledger has no trade live_trades:2"):
        hot_trade_ids(workspace, ["live_trades:2"])
