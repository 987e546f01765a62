"""Which trade a beginning of an id means."""

from pathlib import Path

import pytest

from fluxhero.errors import BadInputError
from fluxhero.ledger.lookup import hot_ids, whole_keys
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
    ("typed", "meant"),
    [
        ("T-1", "T-1"),
        ("T-10", "T-10"),
        ("T-1:b", "T-1:b"),
        ("live_trades:1", "live_trades:1:2026-03-01T14:30:00"),
        ("live_trades:1:", "live_trades:1:2026-03-01T14:30:00"),
        ("live_trades:17:2026-04", "live_trades:17:2026-04-01T14:30:00"),
        ("live_trades:170", "live_trades:170:2026-03-01T14:30:00"),
    ],
)
def test_the_key_itself_or_a_bots_trade_without_its_time(typed: str, meant: str) -> None:
    assert whole_keys([typed], KEYS, "there is no trade", "look") == [meant]


def test_several_words_for_one_key_mean_it_once() -> None:
    typed = ["live_trades:170", "T-1", "live_trades:170:2026"]
    assert whole_keys(typed, KEYS, "there is no trade", "look") == [KEYS[3], "T-1"]


@pytest.mark.parametrize(
    ("typed", "said", "silent"),
    [
        ("live_trades:17", "beginning of 2 trades: live_trades:17:2026-03-01T14:30:00, ", ":170:"),
        ("live_trades", "no trade live_trades; with that begin live_trades:1:", ":170:"),
        ("T", "there is no trade T; with that begin T-1, T-10, T-1:b", "…"),
        ("U-1", "there is no trade U-1; with that begin U-100", "…"),
        ("T-1:", "there is no trade T-1:; with that begin T-1:b", "…"),
        ("nobody", "there is no trade 'nobody'", "begin"),
        ("", "there is no trade ''", "begin"),
        ("live_trades:1:2026-03-01T14:30:00+", "there is no trade 'live_trades:1:", "begin"),
    ],
)
def test_several_or_none_is_an_error_that_lists_three(typed: str, said: str, silent: str) -> None:
    with pytest.raises(BadInputError) as caught:
        whole_keys([typed], KEYS, "there is no trade", "look")
    assert said in caught.value.what
    assert silent not in caught.value.what
    assert caught.value.next_step


def test_a_bare_number_is_told_what_an_id_looks_like() -> None:
    with pytest.raises(BadInputError, match="as live_trades:17; look"):
        whole_keys(["17"], KEYS, "there is no trade", "look")


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
    assert hot_ids(workspace, "trades", typed) == wanted
    assert archive(workspace) == 3
    insert_sqlite(path, "live_trades", fluxhero_trade(171, status=0))
    for beginning, key in zip(typed, wanted, strict=True):
        with pytest.raises(BadInputError, match="is archived") as caught:
            hot_ids(workspace, "trades", [beginning])
        assert key in caught.value.what
        assert f"fluxhero restore --trade {key}" in caught.value.next_step
    with pytest.raises(BadInputError, match="the ledger has no trade 'live_trades:2'"):
        hot_ids(workspace, "trades", ["live_trades:2"])
