"""`fluxhero breaker`: what it says, and how it ends."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fluxhero.cli import cli
from fluxhero.errors import BadInputError
from fluxhero.metrics.breaker import Thresholds, observe
from fluxhero.metrics.breaker_record import path_of
from fluxhero.metrics.facts import Account, Basis

NOW = datetime(2026, 3, 2, 22, tzinfo=UTC)
LIMITS = Thresholds(Decimal("0.15"), Decimal("0.20"))


@pytest.fixture
def data(clean_environment: Path, restored_logging: None) -> Path:
    return clean_environment / "data"


def watch(data: Path, **equity: int) -> None:
    accounts = [
        Account(
            mode, Basis.CLOSED, NOW, Decimal(money), Decimal(150_000), Decimal(0), None, timedelta()
        )
        for mode, money in equity.items()
    ]
    observe(data, accounts, LIMITS, now=NOW, run="r")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["breaker", *arguments])


def test_status_ends_with_1_unless_every_mode_is_ok(data: Path) -> None:
    unknown = call("status")
    assert (unknown.exit_code, "fluxhero snapshot" in unknown.output) == (1, True)
    watch(data, live=150_000, paper=140_000)
    fine = call("status")
    assert (fine.exit_code, fine.output.splitlines()[0]) == (0, "Ok: live, paper.")
    watch(data, paper=127_500)
    warned = call("status", "--json")
    document = json.loads(warned.stdout)
    assert (warned.exit_code, document["ok"]) == (1, False)
    assert document["verdict"].startswith("Warning: paper.")
    assert document["breakers"][1] == {
        "mode": "paper",
        "level": "warning",
        "since": NOW.isoformat(),
        "reason": "127,500.00 is 15.00 % below the peak of 150,000.00 (closed), and a warning is from 15 % on.",
        "below_peak_now": "15.00 % (closed)",
        "measured_at": NOW.isoformat(),
    }
    watch(data, live=120_000)
    critical = call("status")
    assert (critical.exit_code, critical.output.startswith("Critical: live.")) == (1, True)
    assert "fluxhero breaker reset --reason" in critical.output
    path_of(data).write_bytes(b"\xff")
    damaged = call("status")
    assert (damaged.exit_code, "is damaged" in damaged.output) == (1, True)


def test_reset_says_what_it_did_and_what_comes_next(data: Path) -> None:
    watch(data, live=120_000, paper=127_500)
    assert call("reset").exit_code == 2
    refused = call("reset", "--reason", "why", "--mode", "demo")
    assert isinstance(refused.exception, BadInputError)
    nothing = call("reset", "--reason", "why", "--mode", "paper")
    assert nothing.output == (
        "Nothing to reset: paper is not critical; a warning goes by itself.\n"
    )
    done = call("reset", "--reason", "halved every size")
    assert (done.exit_code, done.output.splitlines()[0]) == (0, "Reset to ok: live.")
    assert "20.00 % below its peak" in done.output
    assert call("reset", "--reason", "why").output.startswith("Nothing to reset: no breaker")
    watch(data, live=120_000)
    document = json.loads(call("reset", "--reason", "again", "--json").stdout)
    assert [one["reason"] for one in document["resets"]] == ["again"]
    assert len(document["warnings"]) == 1
