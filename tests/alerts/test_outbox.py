"""The outbox: one entry a key, whoever tells it; damage; forgetting."""

import logging
import os
import random
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from fluxhero.alerts.entries import Entry, Progress, Standing
from fluxhero.alerts.outbox import Outbox
from fluxhero.errors import StorageIOError
from tests.alerts.telling import NOW, incident

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FIRST = Progress(target="aaaaaaaa", scheme="json")


def teller(folder: Path, how_many: int) -> subprocess.Popen[str]:
    script = Path(__file__).with_name("tell_again_and_again.py")
    arguments = [sys.executable, str(script), str(folder), str(how_many)]
    process = subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_path()
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def _path() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def test_an_alert_is_told_once(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    assert outbox.entries() == []
    assert outbox.tell(incident(), now=NOW)
    assert not outbox.tell(incident(title="the same, seen by somebody else"), now=NOW + HOUR)
    assert not Outbox(tmp_path).tell(incident())
    assert Outbox(tmp_path).entries() == [Entry(incident=incident(), told_at=NOW)]
    (file,) = (tmp_path / "night" / "alerts").iterdir()
    assert file.name == f"{incident().digest}.json"


def test_two_processes_tell_the_same(tmp_path: Path) -> None:
    processes = [teller(tmp_path, 60) for _ in range(2)]
    told = [int(process.communicate("go\n")[0]) for process in processes]
    assert sum(told) == 60
    assert len(Outbox(tmp_path).entries()) == 60


def test_a_killed_teller_leaves_nothing_half_told(tmp_path: Path) -> None:
    chance = random.Random(6)
    for _ in range(6):
        process = teller(tmp_path, 10_000)
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
        time.sleep(chance.uniform(0.005, 0.06))
        process.kill()
        process.communicate()
    outbox = Outbox(tmp_path)
    entries = outbox.entries()
    assert entries
    assert not outbox.damaged()
    told = {entry.incident.key for entry in entries}
    again = [outbox.tell(incident(f"key:{number}")) for number in range(len(told) + 1)]
    assert sum(again) == 1, "each that was there is known, and the next is new"


def test_what_killed_tellers_left_is_removed_in_time(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.tell(incident(), now=NOW)
    name = f"{incident().digest}.json"
    recent, old = (outbox.folder / f".{name}.{pid}.partial" for pid in (1, 2))
    other = outbox.folder / "mine.partial"
    for path in (recent, old, other):
        path.write_text("half")
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    assert outbox.prune(NOW) == 0
    assert sorted(outbox.folder.glob("*partial")) == sorted([recent, other])


@pytest.mark.parametrize("content", ["", "{", "{}", "null", "\x00" * 300])
def test_a_damaged_entry_is_moved_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    outbox = Outbox(tmp_path)
    outbox.tell(incident(), now=NOW)
    outbox.tell(incident("other"), now=NOW + MINUTE)
    path = outbox.folder / f"{incident().digest}.json"
    path.write_text(content)
    assert Outbox(tmp_path, read_only=True).entries() == outbox.entries()
    assert [entry.incident.key for entry in outbox.entries()] == ["other"]
    (damaged,) = outbox.damaged()
    assert damaged.read_text() == content
    assert str(damaged) in caplog.text
    assert outbox.tell(incident(), now=NOW), "what it was is not known any more"


def test_an_entry_under_the_name_of_another_is_damaged(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.tell(incident(), now=NOW)
    path = outbox.folder / f"{incident().digest}.json"
    path.rename(outbox.folder / f"{incident('other').digest}.json")
    assert outbox.entries() == []
    assert len(outbox.damaged()) == 1


def test_what_cannot_be_read_or_moved_is_said_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(tmp_path)
    outbox.tell(incident(), now=NOW)
    (outbox.folder / f"{incident('a folder').digest}.json").mkdir()
    assert len(outbox.entries()) == 1
    assert "cannot be read" in caplog.text
    (outbox.folder / f"{incident('damaged').digest}.json").write_text("{")

    def refuse(path: Path, _folder: Path) -> None:
        raise StorageIOError(f"could not move {path}", next_step="mount it writable")

    monkeypatch.setattr("fluxhero.alerts.outbox.move_aside", refuse)
    assert len(outbox.entries()) == 1
    assert "cannot be moved aside" in caplog.text


def test_what_is_gone_meanwhile_is_no_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(tmp_path)
    outbox.tell(incident(), now=NOW)
    path = outbox.folder / f"{incident().digest}.json"

    def read_too_late(_path: Path) -> bytes:
        path.unlink()
        raise StorageIOError("could not read", next_step="")

    monkeypatch.setattr("fluxhero.alerts.outbox.read_bytes", read_too_late)
    assert outbox.entries() == []
    assert outbox.read(incident()) is None
    assert not caplog.records


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    (tmp_path / "night").write_text("a file where the folder should be")
    with pytest.raises(StorageIOError):
        Outbox(tmp_path).tell(incident())


def test_only_changed_files_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = Outbox(tmp_path)
    outbox.tell(incident(), now=NOW)
    outbox.tell(incident("other"), now=NOW)
    before = outbox.entries()
    changed = before[0].with_progress(FIRST.delivered(NOW), ["aaaaaaaa"])
    outbox.replace(changed)
    read: list[Path] = []
    whole = Path.read_bytes

    def counted(path: Path) -> bytes:
        read.append(path)
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    assert changed in outbox.entries()
    assert len(read) == 1


def test_what_was_delivered_long_ago_is_forgotten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    outbox = Outbox(tmp_path)
    outbox.tell(incident("told"), now=NOW)
    outbox.tell(incident("delivered late"), now=NOW)
    late = next(e for e in outbox.entries() if e.incident.key == "delivered late")
    outbox.replace(late.with_progress(FIRST.delivered(NOW + 3 * DAY), ["aaaaaaaa"]))
    assert outbox.prune(NOW + 90 * DAY) == 0
    assert outbox.prune(NOW + 91 * DAY, kept_days=100) == 0
    assert outbox.prune(NOW + 91 * DAY) == 1
    assert [entry.incident.key for entry in outbox.entries()] == ["delivered late"]
    assert outbox.prune(NOW + 94 * DAY) == 1
    assert outbox.tell(incident("told")), "its key is not known any more"


# ---- what is due, and how it stands


def test_the_pauses_between_attempts() -> None:
    progress, at = FIRST, NOW
    pauses = []
    while progress.attempts < 9:
        progress = progress.failed("refused", NOW, at)
        assert progress.next_attempt
        pauses.append((progress.next_attempt - at).total_seconds())
        at = progress.next_attempt
    assert pauses == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert progress.standing is Standing.WAITING
    assert progress.failed("refused", NOW, NOW + 3 * DAY).standing is Standing.GIVEN_UP


def test_what_is_due() -> None:
    fresh = Entry(incident=incident(), told_at=NOW)
    both = ("aaaaaaaa", "bbbbbbbb")
    assert fresh.is_due("aaaaaaaa", both, NOW)
    failed = fresh.with_progress(FIRST.failed("refused", NOW, NOW), both)
    assert not failed.is_due("aaaaaaaa", both, NOW + timedelta(seconds=29))
    assert failed.is_due("aaaaaaaa", both, NOW + timedelta(seconds=30))
    assert failed.is_due("aaaaaaaa", both, NOW - DAY), "the clock was a day ahead"
    assert failed.is_due("bbbbbbbb", both, NOW)
    assert failed.is_open("aaaaaaaa", both, NOW)
    delivered = failed.with_progress(FIRST.delivered(NOW), both)
    assert not delivered.is_due("aaaaaaaa", both, NOW + DAY)
    assert not delivered.is_open("aaaaaaaa", both, NOW + DAY)
    assert delivered.problem(both) is None


def test_a_target_configured_later_gets_no_old_alerts() -> None:
    entry = Entry(incident=incident(), told_at=NOW)
    assert entry.standing((), NOW) is Standing.KEPT
    assert entry.is_due("aaaaaaaa", ("aaaaaaaa",), NOW + 59 * MINUTE)
    assert not entry.is_due("aaaaaaaa", ("aaaaaaaa",), NOW + HOUR)
    assert not entry.is_open("aaaaaaaa", ("aaaaaaaa",), NOW + HOUR)
    assert entry.standing(("aaaaaaaa",), NOW + HOUR) is Standing.KEPT
    delivered = entry.with_progress(FIRST.delivered(NOW), ("aaaaaaaa",))
    assert not delivered.is_due("bbbbbbbb", ("aaaaaaaa", "bbbbbbbb"), NOW)
    assert delivered.standing(("bbbbbbbb",), NOW) is Standing.DELIVERED


def test_a_corrected_url_gets_what_waited_for_the_wrong_one() -> None:
    entry = Entry(incident=incident(), told_at=NOW)
    failed = entry.with_progress(FIRST.failed("wrong password", NOW, NOW), ("aaaaaaaa",))
    configured = ("cccccccc",)
    assert failed.standing(configured, NOW + DAY) is Standing.WAITING
    assert failed.is_due("cccccccc", configured, NOW + DAY)
    assert not failed.is_due("cccccccc", configured, NOW + 3 * DAY)
    sent = Progress(target="cccccccc", scheme="json").delivered(NOW + DAY)
    delivered = failed.with_progress(sent, configured)
    assert delivered.standing(configured, NOW + DAY) is Standing.DELIVERED
    assert not delivered.is_due("dddddddd", ("cccccccc", "dddddddd"), NOW + DAY)
