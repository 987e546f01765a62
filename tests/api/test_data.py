"""The read endpoints over real files: what they say of a bad night, of an empty ledger, and of damage."""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from fluxhero.api.services import EventKind, RunLine, Runs
from fluxhero.durable import sha256
from fluxhero.integrity.results import errored, failed
from fluxhero.metrics.breaker import states
from fluxhero.metrics.breaker_record import path_of
from fluxhero.metrics.equity import curve_path
from fluxhero.metrics.jobs import RunOutcome
from fluxhero.metrics.samples import sample
from fluxhero.recorded import read_record, record_path
from tests import samples as stores
from tests.api.asking import asking
from tests.api.filled import (
    DAMAGED,
    NOW,
    SOUND,
    STEP,
    check,
    evaluate,
    fill,
    ran,
    rule,
    scribble,
    take,
    trip,
)
from tests.archive.conftest import make_house

EQUITY = "trading_equity_usd"


def test_a_bad_night_in_one_answer(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house("duckdb", clean_environment, monkeypatch)
    stores.write_sample("duckdb", house.store)
    house.archive()
    fill(house.data)
    manifests = house.chain.manifests
    with asking() as api:
        status = api.get("/api/status")
        assert status["verdict"]["level"] == "critical"
        assert status["verdict"]["text"].startswith("The drawdown breaker of live is critical: ")
        levels = [reason["level"] for reason in status["verdict"]["reasons"]]
        assert levels == sorted(levels, key=["critical", "warning", "unknown"].index)
        told = " ".join(reason["text"] for reason in status["verdict"]["reasons"])
        for part in (
            "files.sha256",
            "limits.exposure",
            "check-storage",
            "paper has 2 closed trades",
        ):
            assert part in told
        assert status["at"] == "2026-09-25T12:00:00Z"
        assert status["snapshot_age_seconds"] == 300
        assert not status["snapshot_stale"]
        assert status["problems"] == []
        assert status["accounts"] == [
            {
                "mode": "live",
                "basis": "closed",
                "equity": 120_000,
                "peak": 150_000,
                "drawdown_usd": 30_000,
                "drawdown_ratio": 0.2,
                "max_ratio": 0.25,
                "under_water_seconds": 86_400,
                "as_of": "2026-09-25T11:55:00Z",
            }
        ]
        assert status["unusable"] == [{"mode": "paper", "reason": "no_result", "trades": 2}]
        assert status["limits"]["critical"] == 0.2
        breaker = status["breaker"][0]
        assert (breaker["mode"], breaker["level"], breaker["equity"]) == (
            "live",
            "critical",
            "120000",
        )
        assert api.get("/api/breaker")["breaker"] == status["breaker"]
        (latency,) = status["latency"]
        assert latency["samples"] == 42
        assert (latency["p50"], latency["p95"], latency["p99"]) == (0.1, 0.6, None)
        assert [line["orders"] for line in status["orders"]] == [40, 2]
        (trades,) = status["trades"]
        assert (trades["wins"], trades["cancelled"], trades["loss"]) == (10, 0, 300.5)
        (position,) = status["positions"]
        assert position["breached"] == ["exposure"]
        assert (position["exposure_ratio"], position["largest_ratio"]) == (0.6, None)
        archive = status["archive"]
        assert archive["rows"] == sum(manifest.file.rows for manifest in manifests)
        assert archive["last_batch"]["batch"] == manifests[-1].batch_id
        assert (archive["hot_rows"], archive["hot_bytes"]) == ({"trades": 12}, 4096)
        assert [line["rule"] for line in status["findings"]["open"]] == [
            "files.sha256",
            "limits.exposure",
        ]
        assert status["findings"]["open"][0]["remedy"] == rule("files.sha256").remedy
        assert status["findings"]["checked_at"] == "2026-09-25T11:55:00Z"
        assert [(job["job"], job["last_ok"]) for job in status["jobs"]] == [
            ("archive-trades", True),
            ("check-storage", False),
        ]
        assert "no Prefect server" in status["runs"]["problem"]
        assert api.get("/api/runs") == status["runs"]

        listed = api.get("/api/batches", limit=2, offset=1)
        assert listed["total"] == len(manifests)
        assert [one["batch"] for one in listed["items"]] == [
            manifest.batch_id for manifest in manifests[::-1][1:3]
        ]
        assert all(one["purged"] == one["rows"] for one in listed["items"])

        # A manifest that is damaged is named, and the rest of the status is still there.
        manifest = house.workspace.layout.manifest(manifests[0].batch_id)
        scribble(manifest)
        error = api.error("/api/batches", 503)
        assert error["kind"] == "ManifestError"
        assert error["message"].startswith(f"archive/manifests/{manifest.name} ")
        status = api.get("/api/status")
        assert status["archive"] is None
        assert [problem["part"] for problem in status["problems"]] == ["archive"]
        assert status["accounts"]


def test_an_empty_ledger(data: Path) -> None:
    with asking() as api:
        status = api.get("/api/status")
        assert status["verdict"]["level"] == "unknown"
        assert "Nothing has been measured yet" in status["verdict"]["text"]
        assert status["snapshot_stale"]
        assert status["snapshot_at"] is None
        assert status["archive"]["last_batch"] is None
        for part in ("accounts", "breaker", "latency", "orders", "positions", "jobs", "problems"):
            assert status[part] == []
        for path in ("batches", "findings", "evaluations"):
            assert api.get(f"/api/{path}")["items"] == []
        assert api.get("/api/equity")["curves"] == []
        assert api.get("/api/snapshots/latest")["samples"] == []
        assert api.get("/api/snapshots/series", name="trading_equity_usd")["series"] == []


def test_lists_and_series(night: Path) -> None:
    check(night, NOW, [SOUND, failed(rule("files.present"), "q", "two files")])
    take(night, NOW - timedelta(days=6), [sample("equity_usd", 1, mode="live", basis="closed")])
    take(
        night,
        NOW,
        [
            sample("equity_usd", float(n), mode=m, basis="closed")
            for n, m in enumerate(("live", "paper"))
        ],
    )
    evaluate(
        night, "one.parquet", pa.table({"sharpe": [1.5, None], "equity": [Decimal("1.10"), None]})
    )
    evaluate(night, "sub/two.parquet", pa.table({"nan": [float("nan")]}), NOW + STEP)
    with asking() as api:
        opened = api.get("/api/findings")
        assert {line["rule"] for line in opened["items"]} == {"files.present", "limits.exposure"}
        everything = api.get("/api/findings", state="all")
        assert "resolved" in {line["state"] for line in everything["items"]}
        assert everything["total"] > opened["total"]
        (limit,) = api.get("/api/findings", area="limits", severity="error")["items"]
        assert limit["object"] == "live"

        latest = api.get("/api/snapshots/latest", name="trading_equity", limit=1, offset=1)
        assert (latest["total"], latest["at"]) == (2, "2026-09-25T12:00:00Z")
        assert latest["samples"] == [
            {
                "name": "trading_equity_usd",
                "type": "gauge",
                "labels": {"mode": "paper", "basis": "closed"},
                "value": 1,
                "count": None,
            }
        ]
        asked = {"name": "trading_equity_usd", "label": "mode:live"}
        (line,) = api.get("/api/snapshots/series", **asked, max_points=5000)["series"]
        assert [value for _, value in line["points"]] == [1, 120_000, 0]
        span = {"from": "2026-09-25T11:00:00Z", "to": "2026-09-25T11:59:00+00:00"}
        (line,) = api.get("/api/snapshots/series", **asked, **span)["series"]
        assert line["points"] == [["2026-09-25T11:55:00Z", 120_000]]
        (line,) = api.get("/api/snapshots/series", **asked, max_points=1)["series"]
        assert len(line["points"]) == 1

        equity = api.get("/api/equity", mode="live", basis="closed")
        assert (equity["warning"], equity["critical"]) == (0.15, 0.2)
        assert equity["curves"][0]["points"][2][1:3] == ["130000.12345678", "150000.12345678"]
        assert api.get("/api/equity", basis="marked")["curves"] == []

        listed = api.get("/api/evaluations")["items"]
        assert [one["name"] for one in listed] == ["sub/two.parquet", "one.parquet"]
        assert listed[1]["columns"]["sharpe"] == "double"
        rows = api.get("/api/evaluations/one.parquet", limit=1)
        assert (rows["rows"], rows["total"]) == ([{"sharpe": 1.5, "equity": "1.10"}], 2)
        assert api.get("/api/evaluations/sub/two.parquet")["rows"] == [{"nan": None}]


SENSELESS: list[tuple[str, int, dict[str, object]]] = [
    ("batches", 422, {"limit": 1001}),
    ("batches", 422, {"offset": -1}),
    ("findings", 422, {"state": "closed"}),
    ("snapshots/series", 422, {}),
    ("snapshots/series", 422, {"name": "up"}),
    ("snapshots/series", 422, {"name": ["trading_equity_usd"] * 11}),
    ("snapshots/series", 422, {"name": EQUITY, "from": "2026-09-25T11:00:00"}),
    ("snapshots/series", 422, {"name": EQUITY, "from": "2026-09-26T00:00:00Z"}),
    ("snapshots/series", 422, {"name": EQUITY, "from": "0001-01-01T00:00:00+14:00"}),
    ("snapshots/series", 422, {"name": EQUITY, "from": "2020-01-01T00:00:00Z"}),
    ("snapshots/series", 422, {"name": EQUITY, "label": "mode"}),
    ("equity", 422, {"mode": "../x"}),
    ("evaluations/%2e%2e/auth-secret", 404, {}),
    ("evaluations/..%2f..%2fsystem.db", 404, {}),
    ("evaluations/none.parquet", 404, {}),
    ("nothing", 404, {}),
]


def test_what_makes_no_sense_is_refused(data: Path) -> None:
    with asking() as api:
        for path, status, parameters in SENSELESS:
            error = api.error(f"/api/{path}", status, **parameters)
            assert error["message"], path


def test_damage_is_named_and_nothing_goes_down(night: Path) -> None:
    newest = take(night, NOW, [sample("equity_usd", 1, mode="live", basis="closed")])
    later = check(night, NOW, [DAMAGED])
    result = evaluate(night, "one.parquet", pa.table({"a": [1]}))
    for path in (newest, later, result, curve_path(night), night / "runs" / "check-storage.json"):
        scribble(path)
    with asking() as api:
        status = api.get("/api/status")
        assert status["accounts"][0]["equity"] == 120_000  # of the snapshot before
        assert status["findings"]["checked_at"] == "2026-09-25T11:55:00Z"
        problems = {problem["part"]: problem for problem in status["problems"]}
        assert set(problems) == {"snapshot", "findings", "equity", "jobs"}
        assert problems["snapshot"]["what"] == newest.relative_to(night).as_posix()
        assert problems["findings"]["what"] == later.relative_to(night).as_posix()
        assert problems["equity"]["message"].startswith("metrics/equity.parquet ")
        assert "runs/check-storage.json" in problems["jobs"]["message"]
        unreadable = api.get("/api/snapshots/latest")["unreadable"]
        assert unreadable == [newest.relative_to(night).as_posix()]
        assert "metrics/equity.parquet" in api.error("/api/equity", 503)["message"]
        named = {"name": "trading_equity_usd"}
        assert newest.name in api.error("/api/snapshots/series", 503, **named)["message"]
        assert "one.parquet" in api.error("/api/evaluations/one.parquet", 503)["message"]

        # As its record says, and yet no Parquet.
        result.write_bytes(b"PAR1 nonsense PAR1")
        record = read_record(result)
        assert record is not None
        contents = record.contents.model_copy(update={"sha256": sha256(result)})
        record_path(result).write_text(
            record.model_copy(update={"contents": contents}).model_dump_json()
        )
        assert "one.parquet" in api.error("/api/evaluations/one.parquet", 503)["message"]

        # Nobody knows what the breaker was: critical, in every mode, and the file is named.
        scribble(path_of(night))
        assert all(state.level == "critical" for state in states(night).values())
        breaker = api.get("/api/breaker")["breaker"]
        assert {line["level"] for line in breaker} == {"critical"}
        assert "metrics/breaker.jsonl" in breaker[0]["reason"]
        assert str(night) not in str(breaker)
        # Mended or gone, it is seen at once.
        newest.unlink()
        assert api.get("/api/snapshots/latest")["unreadable"] == []


def test_a_clock_set_back_and_snapshots_of_time_to_come(night: Path) -> None:
    take(night, NOW + timedelta(days=3), [sample("equity_usd", 1, mode="live", basis="closed")])
    with asking() as api:
        assert api.get("/api/status")["accounts"][0]["equity"] == 120_000
        api.clock.move(timedelta(days=3))
        assert api.get("/api/status")["accounts"][0]["equity"] == 1
        api.clock.move(timedelta(days=-30))
        status = api.get("/api/status")
        assert status["accounts"] == []
        assert status["verdict"]["level"] != "ok"


def sound(data: Path) -> None:
    """What speaks for a good night."""
    take(data, NOW, [sample("archive_lag_seconds", 0)])
    check(data, NOW, [SOUND])
    trip(data, "150000", NOW)
    ran(data, "archive-trades", RunOutcome.OK)


def run_line(
    state: str, expected_at: datetime | None = None, flow: str = "ingest-trades"
) -> RunLine:
    nothing = dict.fromkeys(
        ("deployment", "message", "started_at", "ended_at", "seconds", "url"), None
    )
    named = {"id": "1", "name": "a run", "flow": flow, "state": state, "state_name": state.title()}
    return RunLine.model_validate({**nothing, **named, "expected_at": expected_at})


class Told:
    """A Prefect server that says so."""

    def __init__(self, runs: Runs) -> None:
        self.told = runs

    async def runs(self) -> Runs:
        return self.told


def test_what_makes_a_night_good_or_bad(data: Path) -> None:
    sound(data)
    ui = "http://127.0.0.1:4200"
    server = Told(Runs(last=(run_line("COMPLETED"), run_line("FAILED")), ui_url=ui))
    with asking(server) as api:

        def verdict() -> tuple[str, str]:
            told = api.get("/api/status")["verdict"]
            return told["level"], told["text"]

        assert verdict() == ("ok", "All is well.")
        # Only the last run of a flow counts; one whose history is kept is judged by that.
        server.told = Runs(last=(run_line("FAILED", flow="archive-trades"),), ui_url=ui)
        assert verdict()[0] == "ok"
        server.told = Runs(last=(run_line("CRASHED"),), ui_url=ui)
        assert verdict() == ("warning", "The last run of ingest-trades ended as crashed.")
        server.told = Runs(problem="the Prefect server is away", ui_url=ui)
        assert verdict() == ("warning", "The Prefect server is away.")
        late = run_line("SCHEDULED", NOW - timedelta(minutes=11))
        server.told = Runs(next=(late, run_line("SCHEDULED", NOW + STEP)), ui_url=ui)
        assert verdict()[1].startswith("Runs are late (ingest-trades)")
        server.told = Runs(ui_url=ui)

        trip(data, "127500", NOW)  # exactly 15 %
        assert verdict()[1].startswith("The drawdown breaker of live warns: ")
        trip(data, "150000", NOW)
        overdue = timedelta(days=5).total_seconds()
        breached = [
            sample("archive_lag_seconds", overdue),
            sample("positions_open", 1, mode="live"),
            sample("limit_breached", 1, mode="live", limit="exposure"),
        ]
        take(data, NOW + STEP, breached)
        assert verdict()[0] == "warning"
        texts = [one["text"] for one in api.get("/api/status")["verdict"]["reasons"]]
        assert texts == [
            "live breaches its limits: exposure.",
            "Trades have been due for archival for 5 days.",
        ]
        take(data, NOW + STEP + STEP, [sample("trades_unusable", 1, mode="live", reason="no_time")])
        api.clock.move(timedelta(minutes=10))
        assert "live has 1 closed trade without a close time" in verdict()[1]
        take(data, api.clock.now, [sample("archive_lag_seconds", 0)])
        assert verdict()[0] == "ok"

        api.clock.move(timedelta(hours=3))
        assert verdict()[1].startswith("The figures are 3 hours old")
        api.clock.move(timedelta(days=3))
        assert "Storage was last checked 3 days ago" in str(api.get("/api/status")["verdict"])
        check(data, api.clock.now - STEP, [errored(rule("files.sha256"), "a", "the disk is away")])
        assert verdict()[1].startswith("The figures are 3 days old")
        untold = "Could not be told: 1 check (files.sha256)."
        assert untold in str(api.get("/api/status")["verdict"])
        many = [failed(rule("files.sha256"), f"archive/{n}.parquet", "changed") for n in range(60)]
        check(data, api.clock.now, many)
        found = api.get("/api/status")
        assert (len(found["findings"]["open"]), found["findings"]["total"]) == (50, 60)
        assert "60 of severity" in found["verdict"]["text"]


def test_every_route_parameter_and_event_is_documented(data: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")
    with asking() as api:
        paths = api.get("/api/openapi.json")["paths"]
    assert set(re.findall(r"^\| `(/[^`]*)` \|", page, re.M)) == {*paths, "/", "/ws"}
    parameters = {
        parameter["name"]
        for operations in paths.values()
        for parameter in operations["get"].get("parameters", ())
        if parameter["in"] == "query"
    }
    assert {name for name in parameters if f"`{name}=" not in page} == set()
    assert all(f"| `{kind}` |" in page for kind in EventKind)
