"""`fluxhero check`, `waiver` and `repairs` as a user runs them, on a real Prefect server."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from config.loading import load_settings
from fluxhero.archive.lock import archive_lock
from tests.archive.conftest import make_house
from tests.command import Run
from tests.house import House
from tests.integrity import sound
from tests.samples import create_duckdb_store


@pytest.fixture
def installed(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A sound installation, with a mirror; without bars, which would be old by now."""
    house = make_house("duckdb", clean_environment, monkeypatch)
    monkeypatch.setenv("FLUXHERO_ARCHIVE_MIRROR_DIR", str(clean_environment / "mirror"))
    create_duckdb_store(house.store)
    sound.sound_house(house)
    shutil.rmtree(load_settings().cache_dir)
    return house


def last_run() -> tuple[str, str, list[str]]:
    """The last flow run's type and name of state, and the keys of its artifacts."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
    from prefect.client.schemas.sorting import FlowRunSort

    with get_client(sync_client=True) as client:
        (run,) = client.read_flow_runs(limit=1, sort=FlowRunSort.START_TIME_DESC)
        by_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        artifacts = client.read_artifacts(artifact_filter=by_run)
    assert run.state is not None
    return run.state.type.value, str(run.state.name), sorted(str(one.key) for one in artifacts)


@pytest.mark.server
def test_a_check_ends_as_what_it_found(installed: House, run: Run, prefect_harness: str) -> None:
    """Nothing; then an error, waived and withdrawn; then something critical, mended and undone."""
    sound_run = run("check", "--json")
    assert sound_run.status == 0
    assert sound_run.document["ok"]
    artifacts = ["check-storage", "check-storage-page", "check-storage-table"]
    assert last_run() == ("COMPLETED", "Completed", artifacts)

    installed.execute("UPDATE trades SET stop_loss = NULL WHERE status = 'open'")
    found = run("check")
    assert found.status == 1
    assert "trades.stop-present (new)" in found.out
    assert last_run()[:2] == ("COMPLETED", "Completed with findings")
    (fault,) = run("check", "--json").document["findings"]
    assert (fault["rule"], fault["state"]) == ("trades.stop-present", "known")

    waive = ("--rule", "trades.stop-present", "--key", fault["rows"][0])
    assert run("waiver", "add", *waive, "--reason", "the broker has it").status == 0
    waived = run("check", "--json")
    assert (waived.status, waived.document["findings"][0]["state"]) == (0, "waived")
    assert "the broker has it" in run("waiver", "list").out
    elsewhere = run("waiver", "add", *waive[:2], "--key", "t-404", "--reason", "a slip")
    assert "The last check did not find t-404" in elsewhere.out
    assert "did not find" not in run("waiver", "add", *waive, "--reason", "the broker has it").out
    assert run("waiver", "withdraw", *waive[:2]).out.startswith("2 waivers withdrawn")
    assert "none was active" in run("waiver", "withdraw", *waive).out
    assert run("waiver", "list", "--json").document["waivers"] == []
    assert run("waiver", "list", "--all", "--json").document["waivers"]
    assert run("waiver", "add", "--rule", "trades.stop", "--reason", "x").status == 2

    damage(installed)
    critical = run("check", "--deep")
    assert critical.status == 1
    assert "CRITICAL files.sha256 (new)" in critical.out
    assert last_run()[:2] == ("FAILED", "Critical findings")

    mended = run("check", "--repair", "--json").document
    states = {(line["rule"], line["state"]) for line in mended["findings"]}
    assert states >= {("files.sha256", "resolved"), ("trades.stop-present", "known")}
    assert ("files.sha256", "known") not in states
    (repair,) = mended["repairs"]
    assert repair["mended"]
    assert Path(repair["kept"]).is_file()

    (listed,) = run("repairs", "list", "--json").document["repairs"]
    assert listed["number"] == repair["number"]
    assert "1 repair so far" in run("repairs", "list").out
    undone = run("repairs", "undo", str(repair["number"]))
    assert undone.status == 0
    assert f"Repair {repair['number']} undone" in undone.out
    assert run("check", "--deep", "--json").document["findings"][0]["rule"] == "files.sha256"
    assert run("repairs", "undo", "77", "--json").status == 2

    rows = run("query", "SELECT DISTINCT state FROM findings ORDER BY 1", "--json").document
    assert {row["state"] for row in rows["rows"]} >= {"new", "known", "waived", "resolved"}


def damage(house: House) -> None:
    path = next((house.archive_dir / "trades").rglob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.server
def test_a_check_that_cannot_be_done_says_why(
    clean_environment: Path, run: Run, prefect_harness: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = run("check")
    assert nothing.status == 2
    assert "there is no store" in nothing.err
    house = make_house("duckdb", clean_environment, monkeypatch)
    create_duckdb_store(house.store)
    sound.sound_house(house)
    with archive_lock(house.workspace.layout, "archive_trades"):
        busy = run("check", "--json")
    assert busy.status == 3
    assert busy.document["error"]["kind"] == "AlreadyRunningError"


def test_undoing_needs_the_archive(installed: House, run: Run) -> None:
    with archive_lock(installed.workspace.layout, "archive_trades"):
        assert run("repairs", "undo", "1").status == 3
    document: Any = json.loads(run("repairs", "list", "--json").out)
    assert document == {"verdict": "0 repairs so far.", "repairs": []}
