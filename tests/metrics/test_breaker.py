"""The drawdown breaker: exact money, a latch that only a reset opens, and a record that survives anything."""

import json
import multiprocessing
import os
import signal
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from config.settings import Settings
from fluxhero.errors import AlreadyRunningError, BadInputError, StorageIOError
from fluxhero.metrics import breaker, breaker_record
from fluxhero.metrics.breaker import (
    Change,
    Level,
    Thresholds,
    breaker_samples,
    last_seen,
    level_of,
    observe,
    reset,
    states,
)
from fluxhero.metrics.breaker_record import path_of
from fluxhero.metrics.facts import Account, Basis

NOW = datetime(2026, 3, 2, 22, tzinfo=UTC)
STEP = timedelta(minutes=5)
LIMITS = Thresholds(Decimal("0.15"), Decimal("0.20"))
PEAK = Decimal(150_000)


def account(
    equity: str | Decimal, mode: str = "live", basis: Basis = Basis.CLOSED, peak: Decimal = PEAK
) -> Account:
    none = timedelta(0)
    return Account(mode, basis, NOW, Decimal(equity), peak, Decimal(0), None, none)


def watch(data: Path, *accounts: Account, after: int = 0) -> list[Change]:
    return observe(data, accounts, LIMITS, now=NOW + after * STEP, run=f"run-{after}")


def levels(data: Path) -> dict[str, str]:
    return {mode: state.level.value for mode, state in states(data).items()}


@pytest.mark.parametrize(
    ("equity", "peak", "level"),
    [
        ("120000", "150000", "critical"),  # exactly 20 %
        ("120000.00000001", "150000", "warning"),
        ("127500", "150000", "warning"),  # exactly 15 %
        ("127500.15", "150000", "ok"),  # 14.9999 %
        ("150000", "150000", "ok"),
        ("8499999999999999999999999999.16", "9999999999999999999999999999", "ok"),
        ("8499999999999999999999999999.15", "9999999999999999999999999999", "warning"),
        ("-1", "100", "critical"),
        ("0", "0", "ok"),  # all was taken out
        ("-5", "0", "critical"),
        ("-5", "-4", "critical"),
    ],
)
def test_a_loss_is_compared_as_money(equity: str, peak: str, level: str) -> None:
    assert level_of(Decimal(equity), Decimal(peak), LIMITS) == level


@given(st.integers(1, 10**18), st.integers(0, 10_000))
def test_every_loss_has_the_level_of_its_hundredths(peak: int, hundredths: int) -> None:
    equity = Decimal(peak * (10_000 - hundredths)).scaleb(-4)
    expected = "critical" if hundredths >= 2_000 else "warning" if hundredths >= 1_500 else "ok"
    assert level_of(equity, Decimal(peak), LIMITS) == expected


def test_warning_follows_the_drawdown_and_critical_stays(tmp_path: Path) -> None:
    assert states(tmp_path) == {}
    assert watch(tmp_path, account("150000")) == []
    assert levels(tmp_path) == {"live": "ok"}
    (warned,) = watch(tmp_path, account("127500"), after=1)
    assert (warned.before, warned.after) == (Level.OK, Level.WARNING)
    assert warned.text == (
        "live: drawdown breaker ok → warning: 127,500.00 is 15.00 % below the peak of 150,000.00 (closed), "
        "and a warning is from 15 % on. Look at open positions and their stops before it gets critical. "
        "Nothing is closed or cancelled for you."
    )
    assert watch(tmp_path, account("127000"), after=2) == []
    assert states(tmp_path)["live"].since == NOW + STEP
    (better,) = watch(tmp_path, account("127500.15"), after=3)
    assert better.after is Level.OK
    assert "14.99 %" in better.text, "it is not shown as the limit that it does not reach"
    (tripped,) = watch(tmp_path, account("120000"), after=4)
    assert 'fluxhero breaker reset --reason "…"' in tripped.text
    for night in range(5, 9):
        assert watch(tmp_path, account("150000"), after=night) == []
    state = states(tmp_path)["live"]
    assert (state.level, state.since) == (Level.CRITICAL, NOW + 4 * STEP)
    assert (state.equity, state.peak, state.basis) == (Decimal(120_000), PEAK, Basis.CLOSED)
    lines = path_of(tmp_path).read_text().splitlines()
    assert [(json.loads(line)["after"], json.loads(line)["run"]) for line in lines] == [
        ("ok", "run-0"),
        ("warning", "run-1"),
        ("ok", "run-3"),
        ("critical", "run-4"),
    ]


def test_a_run_that_is_tried_again_tells_again_what_it_changed(tmp_path: Path) -> None:
    watch(tmp_path, account("150000"), account("150000", mode="paper"))
    accounts = (account("120000"), account("127000", mode="paper"))
    told = watch(tmp_path, *accounts, after=1)
    size = path_of(tmp_path).stat().st_size
    assert len(told) == 2
    assert watch(tmp_path, *accounts, after=1) == told
    assert path_of(tmp_path).stat().st_size == size
    assert watch(tmp_path, *accounts, after=2) == []


def test_modes_are_apart_and_the_worse_basis_counts(tmp_path: Path) -> None:
    told = watch(
        tmp_path,
        account("150000"),
        account("119000", basis=Basis.MARKED),
        account("127000", mode="paper"),
    )
    assert [(one.mode, one.after, one.basis) for one in told] == [
        ("live", Level.CRITICAL, Basis.MARKED),
        ("paper", Level.WARNING, Basis.CLOSED),
    ]
    assert levels(tmp_path) == {"live": "critical", "paper": "warning"}


@pytest.mark.parametrize("gone", [[], [account("NaN")], [account("150000", peak=Decimal("NaN"))]])
def test_missing_equity_is_never_fine(tmp_path: Path, gone: Sequence[Account]) -> None:
    watch(tmp_path, account("127000"), account("120000", mode="paper"))
    assert watch(tmp_path, *gone, after=1) == []
    assert levels(tmp_path) == {"live": "warning", "paper": "critical"}


def test_a_level_does_not_fall_while_the_basis_that_it_comes_from_is_missing(
    tmp_path: Path,
) -> None:
    marked = account("127000", basis=Basis.MARKED)
    watch(tmp_path, account("150000"), marked)
    assert watch(tmp_path, account("150000"), after=1) == []
    assert levels(tmp_path) == {"live": "warning"}
    # Now the other one is as low, and the first recovers, then is missing: nothing was ever fine.
    assert watch(tmp_path, account("127000"), marked, after=2) == []
    assert watch(tmp_path, account("127000"), account("150000", basis=Basis.MARKED), after=3) == []
    assert watch(tmp_path, account("150000", basis=Basis.MARKED), after=4) == []
    assert states(tmp_path)["live"].basis is Basis.CLOSED
    assert states(tmp_path)["live"].since == NOW
    assert [one.after for one in watch(tmp_path, account("119000"), after=5)] == [Level.CRITICAL]


def test_a_reset_needs_a_reason_and_is_recorded(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no account was measured yet"):
        reset(tmp_path, "live", "why", now=NOW)
    watch(tmp_path, account("120000"), account("127000", mode="paper"))
    with pytest.raises(BadInputError, match="needs a reason"):
        reset(tmp_path, None, "  ", now=NOW)
    with pytest.raises(BadInputError, match=r"'demo'.*live, paper"):
        reset(tmp_path, "demo", "why", now=NOW)
    assert reset(tmp_path, "paper", "why", now=NOW) == [], "a warning follows the drawdown"
    (done,) = reset(tmp_path, None, "halved {every} size", now=NOW + STEP)
    assert (done.mode, done.before, done.after, done.seen) == (
        "live",
        Level.CRITICAL,
        Level.OK,
        Level.CRITICAL,
    )
    assert done.text == "live: drawdown breaker critical → ok: halved {every} size"
    assert "20.00 % below its peak" in done.trips_again
    assert levels(tmp_path) == {"live": "ok", "paper": "warning"}
    assert states(tmp_path)["live"].reason == "halved {every} size"
    (again,) = watch(tmp_path, account("120000"), after=2)
    assert again.after is Level.CRITICAL
    watch(tmp_path, account("140000"), after=3)
    (done,) = reset(tmp_path, "live", "recovered", now=NOW + 4 * STEP)
    assert (done.trips_again, done.seen) == ("", Level.OK)
    assert [one.level for one in last_seen(tmp_path)["live"]] == [Level.OK]
    assert [one.level for one in last_seen(tmp_path)["paper"]] == [Level.WARNING]
    assert reset(tmp_path, None, "again", now=NOW) == []


def test_half_a_line_neither_loses_the_state_nor_makes_it_fine(tmp_path: Path) -> None:
    path = path_of(tmp_path)
    watch(tmp_path, account("127000"), account("120000", mode="paper"))
    before = path.read_bytes()
    watch(tmp_path, account("119999.99"), after=1)
    line = path.read_bytes()[len(before) :]
    tell_tale = line.index(b'"after":"c') + len(b'"after":"c')
    for length in range(len(line)):
        path.write_bytes(before + line[:length])
        whole = length >= len(line) - 1
        live = "critical" if whole or length >= tell_tale else "warning"
        assert levels(tmp_path) == {"live": live, "paper": "critical"}, length
        told = watch(tmp_path, account("119999.99"), after=2)
        assert [one.after for one in told] == ([Level.CRITICAL] if live == "warning" else [])
        assert levels(tmp_path) == {"live": "critical", "paper": "critical"}
    # A torn reset resets nothing, and can be done again.
    critical = before + line
    path.write_bytes(critical)
    reset(tmp_path, "live", "a } in it", now=NOW)
    undone = path.read_bytes()[len(critical) :]
    for length in range(1, len(undone) - 1):
        path.write_bytes(critical + undone[:length])
        assert levels(tmp_path)["live"] == "critical"
    reset(tmp_path, None, "again", now=NOW)
    assert levels(tmp_path) == {"live": "ok", "paper": "ok"}


def test_a_damaged_record_is_critical_until_it_is_reset(tmp_path: Path) -> None:
    path = path_of(tmp_path)
    watch(tmp_path, account("150000"), account("150000", mode="paper"))
    sound = path.read_bytes()
    for place in range(0, len(sound), 7):
        for flipped in (sound[place] ^ 1, 0):
            path.write_bytes(sound[:place] + bytes([flipped]) + sound[place + 1 :])
            assert set(levels(tmp_path).values()) == {"critical"}, place
    damaged = b"\0" * 40 + b"\n" + sound
    path.write_bytes(damaged)
    assert levels(tmp_path) == {"live": "critical", "paper": "critical", "legacy": "critical"}
    assert "line 1 of" in states(tmp_path)["live"].reason
    told = watch(tmp_path, account("150000"), after=1)
    assert [(one.mode, one.after) for one in told] == [("live", Level.CRITICAL)]
    assert watch(tmp_path, account("150000"), after=2) == [], "it is told once"
    (done,) = reset(tmp_path, "live", "disk replaced", now=NOW)
    assert (done.before, done.after) == (Level.CRITICAL, Level.OK)
    assert levels(tmp_path) == {"paper": "critical", "legacy": "critical", "live": "ok"}
    (kept,) = (path.parent / "damaged").iterdir()
    assert kept.read_bytes().startswith(damaged)
    path.write_bytes(b"\xff\n")
    assert [one.mode for one in reset(tmp_path, None, "all of it", now=NOW + STEP)] == [
        "live",
        "paper",
    ], "the last observation knew of these"
    (path.parent / breaker_record.SEEN_FILE).unlink()
    path.write_bytes(b"\xff\n")
    reset(tmp_path, None, "nobody knows of any", now=NOW + 2 * STEP)
    assert set(levels(tmp_path)) == {"live", "paper", "legacy"}
    assert set(levels(tmp_path).values()) == {"ok"}


def test_a_record_that_is_gone_is_not_one_that_was_never_written(tmp_path: Path) -> None:
    watch(tmp_path, account("120000"), account("150000", mode="paper"))
    for lose in (Path.unlink, Path.touch):
        lose(path_of(tmp_path))
        assert levels(tmp_path) == {"live": "critical", "paper": "critical"}
        assert "lost what it said of paper" in states(tmp_path)["paper"].reason
        assert watch(tmp_path, account("150000"), after=1) == []
        assert levels(tmp_path) == {"live": "critical", "paper": "critical"}
    assert [one.mode for one in reset(tmp_path, "paper", "restored", now=NOW)] == ["paper"]
    assert levels(tmp_path) == {"live": "critical", "paper": "ok"}
    reset(tmp_path, None, "looked at it", now=NOW)
    watch(tmp_path, account("150000"), account("150000", mode="paper"), after=2)
    assert levels(tmp_path) == {"live": "ok", "paper": "ok"}


def test_what_a_newer_release_wrote_is_not_taken_for_fine(tmp_path: Path) -> None:
    watch(tmp_path, account("150000"))
    path = path_of(tmp_path)
    body = path.read_bytes().rpartition(b',"sha256"')[0].replace(b'"after":"ok"', b'"after":"halt"')
    digest = breaker_record._digest(body)
    path.write_bytes(body + b',"sha256":"' + digest + b'"}\n')
    assert levels(tmp_path)["live"] == "critical"


def test_what_was_seen_is_no_record(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    watch(tmp_path, account("120000"))
    (tmp_path / "metrics" / breaker_record.SEEN_FILE).write_text("[{")
    assert last_seen(tmp_path) == {}
    assert "breaker-seen.json is damaged" in caplog.text
    (done,) = reset(tmp_path, None, "why", now=NOW)
    assert (done.seen, done.trips_again) == (None, "")


def test_a_record_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    path_of(tmp_path).mkdir(parents=True)
    with pytest.raises(StorageIOError, match=r"breaker\.jsonl"):
        states(tmp_path)
    with pytest.raises(StorageIOError, match=r"breaker\.jsonl"):
        watch(tmp_path, account("120000"))


def test_a_busy_breaker_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "_WAIT_SECONDS", 0.01)
    watch(tmp_path, account("150000"))
    holder = FileLock(path_of(tmp_path).with_suffix(".lock"))
    with holder, pytest.raises(AlreadyRunningError, match="another process is changing"):
        watch(tmp_path, account("120000"))


def _watch_again_and_again(data: Path, mode: str, times: int) -> None:
    for number in range(times):
        watch(data, account("127000" if number % 2 else "150000", mode=mode), after=number)


def test_two_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    times = 15
    # Two of one mode, which see one state, and one of another.
    workers = [
        spawn.Process(target=_watch_again_and_again, args=(tmp_path, mode, times))
        for mode in ("live", "live", "paper")
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    lines = [json.loads(line) for line in path_of(tmp_path).read_text().splitlines()]
    paper = [line["after"] for line in lines if line["mode"] == "paper"]
    assert paper == ["ok", *["warning", "ok"] * (times // 2)][:times]
    live = [(line["before"], line["after"]) for line in lines if line["mode"] == "live"]
    assert live[0] == ("ok", "ok")
    assert all(before == last for (_, last), (before, _) in pairwise(live))


def _watch_until_killed(data: Path) -> None:
    for number in range(1_000_000):
        watch(data, account("127000" if number % 2 else "150000"), after=number % 1_000)


def test_a_killed_process_leaves_a_record_that_can_be_read(tmp_path: Path) -> None:
    watch(tmp_path, account("120000", mode="paper"))
    spawn = multiprocessing.get_context("spawn")
    for _ in range(2):
        size = path_of(tmp_path).stat().st_size
        worker = spawn.Process(target=_watch_until_killed, args=(tmp_path,))
        worker.start()
        while path_of(tmp_path).stat().st_size < size + 2_000:
            assert worker.is_alive()
        os.kill(worker.pid or 0, signal.SIGKILL)
        worker.join()
        assert not breaker_record.read(tmp_path).damage
        assert levels(tmp_path)["paper"] == "critical"
    (told,) = watch(tmp_path, account("120000"), after=5_000)
    assert told.after is Level.CRITICAL


def test_samples_and_settings(tmp_path: Path, settings: Settings) -> None:
    assert Thresholds.of(settings) == LIMITS
    watch(tmp_path, account("127000"), account("120000", mode="paper"))
    samples = breaker_samples(states(tmp_path))
    assert {(s.name, *dict(s.labels).values()): s.value for s in samples} == {
        ("trading_breaker_state", "live", "ok"): 0,
        ("trading_breaker_state", "live", "warning"): 1,
        ("trading_breaker_state", "live", "critical"): 0,
        ("trading_breaker_changed_timestamp_seconds", "live"): NOW.timestamp(),
        ("trading_breaker_state", "paper", "ok"): 0,
        ("trading_breaker_state", "paper", "warning"): 0,
        ("trading_breaker_state", "paper", "critical"): 1,
        ("trading_breaker_changed_timestamp_seconds", "paper"): NOW.timestamp(),
    }
    path_of(tmp_path).write_bytes(b"?")
    assert {s.name for s in breaker_samples(states(tmp_path))} == {"trading_breaker_state"}
