"""The status screen: what it says in 80 columns, from where it knows it, and that it draws when due."""

import io
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from rich.console import Console

from fluxhero.alerts.incidents import Incident, Urgency
from fluxhero.alerts.outbox import Outbox
from fluxhero.alerts.standing import Alerts
from fluxhero.night import sight as sights
from fluxhero.night.agenda import coming, main
from fluxhero.night.screen import Screen, render
from fluxhero.night.server_api import ServerApi
from fluxhero.night.sight import Coming, Lookout, RunLine, Sight, agenda
from fluxhero.night.state import NightState, Part, PartState, Standing
from tests.night.stand_ins import StandIn, stand_in
from tests.threaded import in_a_thread

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
LONG = "ended with status 1: " + "x" * 200


def state(**changes: Any) -> NightState:
    parts = (
        PartState(part=Part.SERVER, standing=Standing.UP, since=NOW, pid=7),
        PartState(part=Part.WORKER, standing=Standing.WAITING, since=NOW, restarts=3, problem=LONG),
    )
    given: dict[str, Any] = {
        "token": "t",
        "pid": 7,
        "created": 1.0,
        "started_at": NOW - timedelta(days=2),
        "api_url": "http://127.0.0.1:4201/api",
        "ui_url": "http://127.0.0.1:4201",
        "page_url": "http://127.0.0.1:8400/",
        "parts": parts,
        "notices": ("port 4200 is taken by nc (pid 4); the Prefect server has port 4201 instead",),
    }
    return NightState(**(given | changes))


SIGHT = Sight(
    runs=(
        RunLine("nightly/nightly", "Failed", "FAILED", NOW, "the check found 3 \x1b[31mfaults"),
        RunLine("sleepy", "Completed", "COMPLETED", NOW - timedelta(days=1), ""),
    ),
    coming=(
        Coming(NOW - timedelta(minutes=1), "past/past", None),
        Coming(NOW + timedelta(minutes=5), "snapshot-metrics/in-session", "not open yet"),
        Coming(NOW + timedelta(minutes=30), "snapshot-metrics/in-session", None),
        Coming(NOW + timedelta(minutes=35), "snapshot-metrics/in-session", None),
        Coming(NOW + timedelta(hours=5), "archive-trades/after-close", "XNYS is closed on it"),
        Coming(NOW + timedelta(hours=29), "archive-trades/after-close", None),
        Coming(NOW + timedelta(hours=6), "never/again", "closed"),
    ),
    alerts=Alerts(targets=1, waiting=2, overdue=2, given_up=0, problem="refused", lines=()),
)


def drawn(width: int = 80, height: int = 50, roomy: bool = True, **changes: Any) -> str:
    console = Console(file=io.StringIO(), width=width, height=height, highlight=False)
    console.print(render(state(**changes), SIGHT, "token in /data/auth-secret", NOW, roomy=roomy))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_it_fits_80_columns_and_cuts_what_does_not() -> None:
    page = drawn()
    assert max(map(len, page.splitlines())) <= 80
    assert "…" in page
    assert "\x1b" not in page
    for said in (
        "FluxHero night shift: not all up",
        "http://127.0.0.1:4201",
        "http://127.0.0.1:8400/",
        "token in /data/auth-secret",
        "port 4200 is taken by nc",
        "waiting to start again",
        "ended with status 1",
        "nightly/nightly",
        "the check found 3",
        "Alerts: 2 alerts not delivered for more than 10 minutes: refused",
        "Ctrl-C",
    ):
        assert said in page, said
    assert len(drawn(roomy=False).splitlines()) < len(page.splitlines()) < 40


def test_without_the_page_and_with_all_up_it_says_so() -> None:
    up = (PartState(part=Part.SERVER, standing=Standing.UP, since=NOW, pid=7),)
    page = drawn(parts=up, page_url=None, notices=())
    assert "all up" in page
    assert "not all up" not in page
    assert "token" not in page


def test_the_next_run_of_each_and_a_day_that_falls_out() -> None:
    shown = [(run.deployment, run.skipped) for run in SIGHT.next_runs(NOW)]
    assert shown == [
        ("snapshot-metrics/in-session", None),
        ("archive-trades/after-close", "XNYS is closed on it"),
        ("never/again", "closed"),
        ("archive-trades/after-close", None),
    ]


def test_nothing_known_yet_is_fine() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(render(state(), Sight(problem="the server is away"), "token", NOW))
    assert isinstance(console.file, io.StringIO)
    page = console.file.getvalue()
    assert "Alerts" not in page
    assert "the server is away" in page


def test_it_is_drawn_on_a_change_and_every_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    drawings: list[object] = []
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=20)
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with Screen("token", Sight, console) as screen:
        monkeypatch.setattr(screen._live, "update", lambda page, **_: drawings.append(page))
        first = state()
        screen.show(first)
        clock[0] += 1
        screen.show(first)
        assert len(drawings) == 1
        screen.show(state(pid=8))
        assert len(drawings) == 2
        clock[0] += 2
        screen.show(screen._drawn or first)
        assert len(drawings) == 3


# ---- where it knows it from


class Server(BaseHTTPRequestHandler):
    """A Prefect server that knows one ended run and one that goes on."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        Server.asked.append(self.path)
        if self.path == "/api/deployments/gone":
            self.answer(404, {})
        else:
            self.answer(200, {"name": {"/api/flows/f": "nightly"}.get(self.path, "at-night")})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        ended = "COMPLETED" in body["flow_runs"]["state"]["type"]["any_"]
        run = {
            "state_name": "Completed" if ended else "Pending",
            "state_type": "COMPLETED" if ended else "PENDING",
            "end_time": "2026-11-30T06:00:00Z" if ended else None,
            "start_time": None,
            "expected_start_time": "2026-11-30T06:30:00Z" if ended else None,
            "state": {"message": "3 trades moved"} if ended else None,
            "flow_id": "f",
            "deployment_id": "d" if ended else None,
        }
        more = run | {"deployment_id": "gone"}
        self.answer(200, [run, more] if ended else [run])

    def answer(self, status: int, document: Any) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def place(tmp_path: Path) -> Iterator[StandIn]:
    line = {"at": "2026-12-01T01:30:00+00:00", "deployment": "nightly/nightly", "skipped": None}
    place = stand_in(tmp_path, agenda=f"print({json.dumps(line)!r})")
    with in_a_thread(HTTPServer(("127.0.0.1", place.prefect_port), Server)):
        yield place


def test_runs_alerts_and_the_agenda_are_looked_up(
    place: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sights, "ASK_SECONDS", 0.01)
    Outbox(place.settings.data_dir).tell(
        Incident(
            key="k",
            rule="r",
            subject="s",
            urgency=Urgency.WARNING,
            title="nightly failed",
            text="",
            next_step="",
            at=NOW,
        )
    )
    Server.asked.clear()
    lookout = Lookout(place)
    lookout.start()
    try:
        end = time.monotonic() + 30
        while not (lookout.sight.runs and lookout.sight.coming):
            assert time.monotonic() < end, lookout.sight
            time.sleep(0.01)
        time.sleep(0.1)
    finally:
        lookout.stop()
        lookout.join()
    sight = lookout.sight
    assert [(run.name, run.state, run.message) for run in sight.runs] == [
        ("nightly", "Pending", ""),
        ("nightly/at-night", "Completed", "3 trades moved"),
        ("nightly/?", "Completed", "3 trades moved"),
    ]
    assert [run.deployment for run in sight.coming] == ["nightly/nightly"]
    assert sight.alerts is not None
    assert [line.title for line in sight.alerts.lines] == ["nightly failed"]
    assert sight.problem is None
    assert sorted(set(Server.asked)) == sorted(Server.asked)  # a name is asked for once


def test_a_server_that_is_away_is_a_problem_and_the_rest_is_shown(tmp_path: Path) -> None:
    place = stand_in(tmp_path, agenda="raise SystemExit(3)")
    lookout = Lookout(place)
    with ServerApi(place.api_url) as server:
        lookout._look(server)
    assert lookout.sight.coming == ()
    assert "does not answer" in (lookout.sight.problem or "")
    assert lookout.sight.alerts is not None


def test_a_server_of_another_release_is_a_problem(
    place: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "do_POST", lambda handler: handler.answer(200, [{}]))
    lookout = Lookout(place)
    with ServerApi(place.api_url) as server:
        lookout._look(server)
    assert "another shape" in (lookout.sight.problem or "")


# ---- the runs to come


def test_the_agenda_holds_the_next_run_that_works_of_each(
    clean_environment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    christmas = datetime(2026, 12, 25, 12, tzinfo=UTC)
    runs = list(coming(christmas, "XNYS"))
    nightly = [run for run in runs if run.deployment == "nightly/nightly"]
    assert [(run.at.day, run.skipped is None) for run in nightly] == [(26, False), (29, True)]
    assert all(run.at > christmas for run in runs)
    main()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"at", "deployment", "skipped"} == set(lines[0])
    assert len({line["deployment"] for line in lines}) >= 6


def test_the_agenda_is_a_program(tmp_path: Path) -> None:
    from fluxhero.night.parts import Place

    data = stand_in(tmp_path)
    place = Place(
        settings=data.settings,
        token="agenda",
        api_url=data.api_url,
        own_server=True,
        prefect_port=data.prefect_port,
        api_port=data.api_port,
    )
    assert "nightly/nightly" in {run.deployment for run in agenda(place.agenda())}
