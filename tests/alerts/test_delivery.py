"""Delivery to real servers: what arrives, what is tried again and when, and what no one may read."""

import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from config.loading import load_settings
from config.logging import configure_logging
from config.settings import Settings, SettingsError
from fluxhero.alerts import delivery, handing, sending
from fluxhero.alerts.delivery import FLOOD, LOCK, deliver_due, retry, try_targets
from fluxhero.alerts.entries import Standing
from fluxhero.alerts.incidents import Urgency
from fluxhero.alerts.outbox import Outbox
from fluxhero.alerts.standing import standing_of
from fluxhero.alerts.targets import Target, redacted, targets
from fluxhero.errors import AlreadyRunningError, StorageIOError
from fluxhero.locks import locked
from tests.alerts.receivers import SECRET, MailServer, Receiver, mail_server, receiving
from tests.alerts.telling import NOW, incident

pytestmark = pytest.mark.measured

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=seconds) for seconds in (1, 60, 3600, 86_400))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture
def outbox(clean_environment: Path) -> Outbox:
    return Outbox(clean_environment / "data")


def to(outbox: Outbox, *urls: str) -> Settings:
    return load_settings(None, data_dir=outbox.folder.parents[1], alert_urls=" ".join(urls))


def nobody() -> str:
    """A URL at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"json://me:{SECRET}@127.0.0.1:{free.getsockname()[1]}/{SECRET}"


def on_disk(outbox: Outbox) -> str:
    return "".join(path.read_text() for path in outbox.folder.rglob("*.json"))


# ---- what arrives


def test_a_webhook_gets_the_alert(outbox: Outbox, receiver: Receiver) -> None:
    outbox.tell(incident(), now=NOW)
    settings = to(outbox, receiver.url("json", "hook"))
    done = deliver_due(settings, outbox, NOW)
    assert (done.delivered, done.failed, done.problems, done.busy) == (1, 0, [], False)
    ((path, document),) = receiver.got
    assert path == "/hook"
    assert document["title"] == "Critical: archive-trades failed (run:1:failed)"
    assert document["type"] == "failure"
    assert document["message"].splitlines() == [
        "The disk is full: 0 bytes free of 20 GB.",
        "",
        "What to do: make room, then run `fluxhero archive`",
        "More: http://127.0.0.1:4200/runs/flow-run/1",
        "When: 2026-11-30 03:30:05 UTC (2026-11-29 22:30:05 New York)",
        f"FluxHero on {socket.gethostname()}",
    ]
    assert deliver_due(settings, outbox, NOW + DAY).delivered == 0
    assert len(receiver.got) == 1
    (entry,) = outbox.entries()
    assert entry.standing([t.digest for t in targets(settings)], NOW) is Standing.DELIVERED
    assert SECRET not in on_disk(outbox)


def test_ntfy_gets_the_alert_and_no_picture(outbox: Outbox, receiver: Receiver) -> None:
    outbox.tell(incident(url=None, next_step="", urgency=Urgency.RESOLVED), now=NOW)
    assert deliver_due(to(outbox, receiver.url("ntfy", "topic")), outbox, NOW).delivered == 1
    ((_, document),) = receiver.got
    assert document["topic"] == "topic"
    assert document["title"].startswith("Resolved: ")
    assert "More:" not in document["message"]
    assert "What to do:" not in document["message"]
    assert "http" not in json.dumps(document)


def test_mail_arrives(outbox: Outbox, mail: MailServer) -> None:
    outbox.tell(incident(title="fünf € fehlen", urgency=Urgency.WARNING), now=NOW)
    assert deliver_due(to(outbox, mail.url), outbox, NOW).delivered == 1
    (message,) = mail.mails
    assert message["Subject"] == "Warning: fünf € fehlen"
    assert message["To"] == "me@example.com"
    text = message.get_body(("plain",))
    assert text
    assert "What to do: make room" in text.get_content()


def test_a_wrong_password_is_told_by_the_servers_words_without_the_password(
    outbox: Outbox, mail: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    mail.refuses = True
    outbox.tell(incident(), now=NOW)
    done = deliver_due(to(outbox, mail.url), outbox, NOW)
    (problem,) = done.problems
    assert problem.startswith("target 1 (mailto://…): ")
    assert "535" in problem
    assert "**** is not the password" in problem
    assert SECRET not in problem + caplog.text + on_disk(outbox)


# ---- failures


def test_one_of_two_targets_fails_and_gets_it_later(
    outbox: Outbox, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.answer = lambda path: 500 if path == "/ill" else 200
    well, ill = receiver.url("json", "well"), receiver.url("json", "ill")
    settings = to(outbox, ill, well)
    outbox.tell(incident(), now=NOW)
    done = deliver_due(settings, outbox, NOW)
    assert (done.delivered, done.failed) == (1, 1)
    assert "error=500" in done.problems[0]
    assert "target 1 (json://…)" in caplog.text
    alerts = standing_of(settings, outbox.entries(), NOW + 11 * MINUTE)
    assert (alerts.waiting, alerts.overdue, alerts.ok) == (1, 1, False)
    assert "error=500" in alerts.verdict
    assert deliver_due(settings, outbox, NOW + 20 * SECOND).failed == 0, "it is not due yet"
    receiver.answer = lambda _path: 204
    assert deliver_due(settings, outbox, NOW + MINUTE).delivered == 1
    assert sorted(path for path, _ in receiver.got) == ["/ill", "/ill", "/well"]
    alerts = standing_of(settings, outbox.entries(), NOW + MINUTE)
    assert (alerts.waiting, alerts.lines[0].problem) == (0, None)
    assert alerts.verdict == "Alerts reach 2 targets"
    assert SECRET not in caplog.text + on_disk(outbox) + str(done)


def test_nobody_listens_for_three_days(outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    settings = to(outbox, nobody())
    outbox.tell(incident(), now=NOW)
    done = deliver_due(settings, outbox, NOW)
    assert "Connection refused" in done.problems[0]
    alerts = standing_of(settings, outbox.entries(), NOW)
    assert (alerts.waiting, alerts.overdue, alerts.ok) == (1, 0, True)
    assert alerts.verdict.startswith("1 alert on the way: target 1 (json://…)")
    done = deliver_due(settings, outbox, NOW + 3 * DAY)
    assert (done.failed, done.given_up) == (1, 1)
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert deliver_due(settings, outbox, NOW + 4 * DAY).failed == 0
    alerts = standing_of(settings, outbox.entries(), NOW + 4 * DAY)
    assert (alerts.waiting, alerts.given_up, alerts.ok) == (0, 1, False)
    assert alerts.verdict.startswith("1 alert given up within the last week: target 1")
    assert standing_of(settings, outbox.entries(), NOW + 8 * DAY).ok
    assert retry(settings, outbox, NOW + 4 * DAY).failed == 1
    assert SECRET not in caplog.text + on_disk(outbox)


def test_a_hanging_target_does_not_hold_the_others_up(outbox: Outbox, receiver: Receiver) -> None:
    receiver.stalled.set()
    with receiving() as well:
        settings = to(outbox, receiver.url("json", "slow"), well.url("json", "quick"))
        for number in range(3):
            outbox.tell(incident(f"key:{number}"), now=NOW)
        done = deliver_due(settings, outbox, NOW, longest_seconds=15)
        assert (done.delivered, done.failed) == (3, 1)
        assert done.problems == ["target 1 (json://…): did not answer within 15 seconds"]
        assert len(well.got) == 3
        slow = targets(settings)[0].digest
        progress = [entry.of(slow) for entry in outbox.entries()]
        assert [one.attempts for one in progress if one] == [1, 0, 0]
        assert all(one and one.standing is Standing.WAITING for one in progress)
        assert deliver_due(settings, outbox, NOW, longest_seconds=15).failed == 0


def test_a_round_is_stopped(outbox: Outbox, receiver: Receiver) -> None:
    receiver.stalled.set()
    settings = to(outbox, receiver.url("json", "slow"))
    for number in range(2):
        outbox.tell(incident(f"key:{number}"), now=NOW)
    stop = threading.Event()
    receiver.entered = stop  # as soon as the first message is there
    done = deliver_due(settings, outbox, NOW, stop=stop)
    assert (done.delivered, done.failed) == (0, 0)
    slow = targets(settings)[0].digest
    progress = [entry.of(slow) for entry in outbox.entries()]
    assert [one.attempts for one in progress if one] == [0, 0]
    receiver.stalled.clear()
    assert deliver_due(settings, outbox, NOW + MINUTE).delivered == 2


def test_a_round_that_is_stopped_at_once(outbox: Outbox, receiver: Receiver) -> None:
    outbox.tell(incident(), now=NOW)
    stop = threading.Event()
    stop.set()
    settings = to(outbox, receiver.url("json", "hook"))
    assert deliver_due(settings, outbox, NOW, stop=stop).delivered == 0
    assert deliver_due(settings, outbox, NOW + MINUTE).delivered == 1


def test_the_log_shows_no_target(
    clean_environment: Path, restored_logging: None, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"json://me:{SECRET}@host/{SECRET}"
    configure_logging(load_settings(None, alert_urls=f"json://other {url}"))
    logging.getLogger("fluxhero").warning("posting to %s", url)
    assert "posting to" in (said := capsys.readouterr().err)
    assert SECRET not in said


def test_two_failures_in_a_row_are_the_targets_and_the_rest_is_put_off(
    outbox: Outbox, receiver: Receiver
) -> None:
    receiver.answer = lambda _path: 503
    for number in range(5):
        outbox.tell(incident(f"key:{number}"), now=NOW)
    settings = to(outbox, receiver.url("json", "ill"))
    assert deliver_due(settings, outbox, NOW).failed == 2
    assert len(receiver.got) == 2
    assert deliver_due(settings, outbox, NOW + 20 * SECOND).failed == 0
    receiver.answer = lambda _path: 200
    assert deliver_due(settings, outbox, NOW + MINUTE).delivered == 5


def test_a_url_that_apprise_cannot_read(outbox: Outbox, receiver: Receiver) -> None:
    settings = to(outbox, f"nonsense://{SECRET}/{SECRET}", receiver.url("json", "well"))
    outbox.tell(incident(), now=NOW)
    done = deliver_due(settings, outbox, NOW)
    assert (done.delivered, done.failed) == (1, 1)
    assert done.problems[0].startswith("target 1 (nonsense://…): Apprise cannot read this URL")
    (error,) = delivery.unreadable_targets(settings)
    assert SECRET not in str(error) + str(done)
    assert len(receiver.got) == 1


def test_a_flood_is_one_message(outbox: Outbox, receiver: Receiver) -> None:
    settings = to(outbox, receiver.url("json", "hook"))
    for number in range(FLOOD):
        outbox.tell(incident(f"key:{number}", urgency=Urgency.WARNING, title="x" * 300), now=NOW)
    outbox.tell(incident("gravest", title="the breaker is critical"), now=NOW)
    assert deliver_due(settings, outbox, NOW).delivered == FLOOD + 1
    ((_, document),) = receiver.got
    assert document["title"] == "Critical: 21 alerts at once (1 critical, 20 warning)"
    lines = document["message"].splitlines()
    assert lines[0] == "Critical, 11-30 03:30 UTC: the breaker is critical"
    assert any(line.startswith("… and ") for line in lines)
    assert "fluxhero alert list" in document["message"]
    assert len(document["message"]) <= 1_500


def test_where_nothing_can_be_noted_nothing_is_sent(
    outbox: Outbox, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.tell(incident(), now=NOW)

    def refuse(_outbox: Outbox, _entry: object) -> None:
        raise StorageIOError("the disk is full", next_step="make room")

    monkeypatch.setattr(Outbox, "replace", refuse)
    with pytest.raises(StorageIOError):
        deliver_due(to(outbox, receiver.url("json", "hook")), outbox, NOW)
    assert receiver.got == []


def test_killed_between_sending_and_noting_it_is_sent_again(
    outbox: Outbox, receiver: Receiver
) -> None:
    outbox.tell(incident(), now=NOW)
    url = receiver.url("json", "hook")
    script = Path(__file__).with_name("deliver_and_die.py")
    arguments = [sys.executable, str(script), str(outbox.folder.parents[1]), url]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run(arguments, env=environment, check=False).returncode == -signal.SIGKILL
    assert len(receiver.got) == 1
    settings = to(outbox, url)
    assert deliver_due(settings, outbox, NOW).delivered == 0, "only after the usual pause"
    assert deliver_due(settings, outbox, NOW + 2 * MINUTE).delivered == 1
    assert deliver_due(settings, outbox, NOW + DAY).delivered == 0
    assert len(receiver.got) == 2, "twice at most, never not at all"


# ---- targets that come and go; who delivers


def test_without_targets_alerts_are_kept_and_old_ones_are_not_sent_later(
    outbox: Outbox, receiver: Receiver
) -> None:
    outbox.tell(incident("old"), now=NOW - 2 * HOUR)
    outbox.tell(incident("new"), now=NOW - MINUTE)
    nowhere = to(outbox)
    assert deliver_due(nowhere, outbox, NOW) == delivery.Delivered()
    assert retry(nowhere, outbox, NOW) == delivery.Delivered()
    alerts = standing_of(nowhere, outbox.entries(), NOW)
    assert [line.standing for line in alerts.lines] == [Standing.KEPT] * 2
    assert alerts.ok
    assert alerts.verdict.startswith("Nowhere to send alerts")
    assert deliver_due(to(outbox, receiver.url("json", "hook")), outbox, NOW).delivered == 1
    assert "(new)" in receiver.got[0][1]["title"]


def test_what_waited_for_a_wrong_url_goes_to_the_corrected_one(
    outbox: Outbox, receiver: Receiver
) -> None:
    outbox.tell(incident(), now=NOW)
    deliver_due(to(outbox, nobody()), outbox, NOW)
    right = to(outbox, receiver.url("json", "hook"))
    assert deliver_due(right, outbox, NOW + 5 * HOUR).delivered == 1


def test_another_process_delivers(
    outbox: Outbox, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.tell(incident(), now=NOW)
    settings = to(outbox, receiver.url("json", "hook"))
    monkeypatch.setattr(delivery, "_PATIENCE_SECONDS", 0.05)
    with locked(outbox.folder / LOCK, lambda: AlreadyRunningError("", next_step="")):
        assert deliver_due(settings, outbox, NOW).busy
        with pytest.raises(AlreadyRunningError, match="delivering alerts"):
            retry(settings, outbox, NOW, longest_seconds=0)
    assert receiver.got == []
    assert retry(settings, outbox, NOW).delivered == 1


def test_two_rounds_at_the_same_time_send_once(outbox: Outbox, receiver: Receiver) -> None:
    settings = to(outbox, receiver.url("json", "hook"))
    for number in range(5):
        outbox.tell(incident(f"key:{number}"), now=NOW)
    folder = outbox.folder.parents[1]
    rounds = [
        threading.Thread(target=deliver_due, args=(settings, Outbox(folder), NOW)) for _ in range(3)
    ]
    for one in rounds:
        one.start()
    for one in rounds:
        one.join()
    deliver_due(settings, outbox, NOW)
    assert len(receiver.got) == 5


def test_old_entries_are_forgotten_on_the_way(outbox: Outbox) -> None:
    outbox.tell(incident(), now=NOW)
    settings = load_settings(None, data_dir=outbox.folder.parents[1], history_days=200)
    deliver_due(settings, outbox, NOW + 199 * DAY)
    assert len(outbox.entries()) == 1, "the server still knows the run, and it would be told again"
    deliver_due(settings, outbox, NOW + 201 * DAY)
    assert outbox.entries() == []


def test_every_target_is_tried(outbox: Outbox, receiver: Receiver, mail: MailServer) -> None:
    settings = to(outbox, receiver.url("json", "hook"), nobody(), mail.url)
    tried = try_targets(settings, NOW)
    assert [one.error is None for one in tried] == [True, False, True]
    assert "test" in receiver.got[0][1]["title"]
    assert outbox.entries() == []
    assert SECRET not in str(tried)
    assert try_targets(to(outbox), NOW) == []


# ---- the process that sends


def test_a_sender_that_says_nothing(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(1, receiver.url("json", "hook"))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    (error,) = handing.handed(target, [[incident()]])
    assert "the process that sends ended with status 1" in str(error)
    assert receiver.got == []


def test_the_sender_in_this_process(receiver: Receiver) -> None:
    """As `handing` runs it, so that what it does is seen."""
    request = sending.Request(url=receiver.url("json", "hook"), messages=((incident(),),))
    given, out = io.StringIO(request.model_dump_json()), io.StringIO()
    logger = logging.getLogger("apprise")
    kept = logger.handlers, logger.level, logger.propagate
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Apprise imports imghdr, which Python 3.13 has not
            sending.main(given, out)
    finally:
        logger.handlers, logger.level, logger.propagate = kept
    assert out.getvalue() == '{"problem":null}\n{"problem":null}\n'


# ---- names and secrets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("json://a/b ntfy://c,d", ("json://a/b", "ntfy://c,d")),
        ("json://a?x=1,2,ntfy://c,  mailto://x", ("json://a?x=1,2", "ntfy://c", "mailto://x")),
        ("json://a\njson://a", ("json://a",)),
    ],
)
def test_how_urls_are_parted(clean_environment: Path, text: str, expected: tuple[str, ...]) -> None:
    settings = load_settings(None, alert_urls=text)
    assert tuple(target.url for target in targets(settings)) == expected


def test_a_url_without_scheme_is_refused_without_being_shown(clean_environment: Path) -> None:
    with pytest.raises(SettingsError, match="number 2 of 2 does not read like scheme") as refused:
        load_settings(None, alert_urls=f"json://a {SECRET}@host")
    assert SECRET not in str(refused.value)
    settings = load_settings(None, alert_urls=f"json://{SECRET}@host")
    assert SECRET not in repr(settings) + str(targets(settings)) + settings.model_dump_json()


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("403 for url /bot12345:AbCd/send", "tgram://12345:AbCd/-99887"),
        ("login p@ss/word failed, p%40ss%2Fword", "mailto://me:p%40ss%2Fword@example.com"),
        ("refused for topsecret", "ntfy://host?token=topsecret"),
        ("could not load ntfy://t...t/a...b", "ntfy://topsecret/word"),
        ("host [::1 topsecret", "json://[::1/topsecret"),
    ],
)
def test_no_part_of_a_url_is_shown(text: str, url: str) -> None:
    said = redacted(text, url)
    for secret in ("12345", "AbCd", "p@ss", "p%40ss", "word", "topsecret"):
        assert secret not in said
    assert "****" in said


def test_the_digest_on_disk_says_little(outbox: Outbox) -> None:
    one, two = targets(to(outbox, "json://a:b@c/1", "json://a:b@c/2"))
    assert one.digest != two.digest
    assert len(one.digest) == 8
    assert one.shown == "target 1 (json://…)"
