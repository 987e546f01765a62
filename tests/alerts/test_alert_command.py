"""`fluxhero alert`, and where else one sees whether alerts arrive."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config.settings import Settings
from fluxhero.alerts import courier
from fluxhero.alerts.handing import unreadable
from fluxhero.alerts.outbox import Outbox
from fluxhero.alerts.rules import RULES
from fluxhero.alerts.targets import Target
from fluxhero.commands.alerting import EXAMPLES
from tests.alerts.receivers import SECRET, Receiver, receiving
from tests.alerts.telling import incident
from tests.command import Run

PAGE = Path(__file__).parents[2] / "docs" / "alerts.md"
NOWHERE = f"json://me:{SECRET}@127.0.0.1:1/{SECRET}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


def tell(data: Path, key: str, ago: timedelta = timedelta()) -> None:
    at = datetime.now(UTC) - ago
    Outbox(data).tell(incident(key, at=at, title=key), now=at)


def set_targets(monkeypatch: pytest.MonkeyPatch, *urls: str) -> None:
    monkeypatch.setenv("FLUXHERO_ALERT_URLS", " ".join(urls))


def test_trying_the_targets(
    data: Path, run: Run, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = run("alert", "test")
    assert nowhere.status == 2
    assert "set FLUXHERO_ALERT_URLS" in nowhere.out
    assert "tgram://" in nowhere.out
    assert run("alert", "test", "--json").document["ok"] is False

    set_targets(monkeypatch, receiver.url("json", "a"), receiver.url("ntfy", "topic"))
    fine = run("alert", "test")
    assert fine.status == 0
    assert "target 2 (ntfy://…): delivered" in fine.out
    assert len(receiver.got) == 2

    set_targets(monkeypatch, receiver.url("json", "a"), NOWHERE)
    one_fails = run("alert", "test")
    assert one_fails.status == 1
    assert "1 of 2 targets did not take" in one_fails.out
    assert "Connection refused" in one_fails.out
    document = run("alert", "test", "--json").document
    assert [target["delivered"] for target in document["targets"]] == [True, False]
    assert SECRET not in json.dumps(document) + str(one_fails) + str(fine)


def test_what_was_told_is_listed(data: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("alert", "list").status == 0
    set_targets(monkeypatch, NOWHERE)
    for number in range(22):
        tell(data, f"alert {number:02d}", timedelta(minutes=number))
    assert run("alert", "retry").status == 1
    listed = run("alert", "list")
    assert listed.status == 1
    assert "not delivered for more than 10 minutes" in listed.out
    assert "waiting: target 1 (json://…)" in listed.out
    assert "alert 19" in listed.out
    assert "alert 20" not in listed.out
    assert "… and 2 earlier" in listed.out
    everything = run("alert", "list", "--all", "--json").document
    assert len(everything["alerts"]) == 22
    assert everything["alerts"][0]["title"] == "alert 00"
    assert everything["alerts"][0]["standing"] == "waiting"
    assert everything["waiting"] == 22
    assert SECRET not in json.dumps(everything) + str(listed)


def test_trying_again(
    data: Path, run: Run, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(data, "one")
    assert run("alert", "retry").status == 2
    set_targets(monkeypatch, NOWHERE)
    failed = run("alert", "retry")
    assert failed.status == 1
    assert "1 not taken, 0 delivered" in failed.out
    assert "Connection refused" in failed.out
    set_targets(monkeypatch, receiver.url("json", "a"))
    assert run("alert", "retry", "--json").document["delivered"] == 1
    nothing = run("alert", "retry")
    assert (nothing.status, nothing.out) == (0, "Nothing waits, and nothing was given up.\n")
    tell(data, "two")
    assert "Delivered: 1." in run("alert", "retry").out
    assert SECRET not in str(failed)


def test_watching_is_the_couriers(data: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    watched: list[Path] = []

    def watch(settings: Settings) -> None:
        watched.append(settings.data_dir)

    monkeypatch.setattr(courier, "watch", watch)
    assert run("alert", "watch").status == 0
    assert watched == [data]


def test_the_rules(data: Path, run: Run) -> None:
    rules = run("alert", "rules", "--json").document["rules"]
    assert [rule["rule"] for rule in rules] == [rule.name for rule in RULES]
    shown = run("alert", "rules").out
    assert all(rule.description in shown for rule in RULES)


def test_each_rule_is_in_the_documentation() -> None:
    headings = re.findall(r"^#+ (.+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    missing = {rule.anchor for rule in RULES} - set(headings)
    assert not missing, f"say in docs/alerts.md what to do about {missing}"


def test_apprise_can_read_every_example() -> None:
    documented = re.findall(
        r"^ {4}FLUXHERO_ALERT_URLS=(\S+)$", PAGE.read_text("utf-8"), re.MULTILINE
    )
    assert len(documented) == len(EXAMPLES)
    for url in {*documented, *dict(EXAMPLES).values()}:
        assert unreadable(Target(1, url)) is None, url


# ---- seen elsewhere


def test_the_status_says_whether_alerts_arrive(
    data: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Nowhere to send alerts" in run("status").out
    set_targets(monkeypatch, NOWHERE)
    tell(data, "one", timedelta(minutes=11))
    assert "Alerts:      1 alert not delivered" in run("status").out
    assert run("status", "--json").document["alerts"]["overdue"] == 1


def test_the_doctor_looks_at_the_alerts(
    data: Path, run: Run, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said() -> list[tuple[str, str]]:
        document = run("doctor", "--json").document
        return [
            (part["health"], part["found"])
            for part in document["parts"]
            if part["part"] == "alerts"
        ]

    assert said() == [
        ("pass", "no target is configured: alerts are kept and shown, and sent nowhere")
    ]
    set_targets(monkeypatch, receiver.url("json", "a"))
    assert said() == [("pass", "Alerts reach 1 target")]
    set_targets(monkeypatch, receiver.url("json", "a"), f"nonsense://{SECRET}")
    ((health, found),) = said()
    assert health == "fail"
    assert found.startswith("target 2 (nonsense://…): Apprise cannot read this URL")
    assert SECRET not in found
    set_targets(monkeypatch, receiver.url("json", "a"))
    tell(data, "one", timedelta(minutes=11))
    ((health, found),) = said()
    assert (health, found) == ("fail", "1 alert not delivered for more than 10 minutes")
    assert receiver.got == []
    (damaged := data / "night" / "alerts" / "damaged").mkdir()
    (damaged / f"{'0' * 24}.json").write_text("{")
    assert said()[0] == ("warn", f"1 damaged alert moved to {damaged}")
    (data / "night" / "alerts").rename(data / "elsewhere")
    (data / "night" / "alerts").symlink_to(data / "night" / "alerts")
    assert said()[0][0] == "pass"
