"""The command: help, exit statuses, messages, JSON; flows run for real where marked `server`."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import click
import pytest

from config.loading import load_settings
from config.prefect_env import DEFAULTS
from fluxhero.archive.layout import Layout
from fluxhero.archive.lock import archive_lock
from fluxhero.archive.report import ArchiveReport, BatchLine
from fluxhero.cli import cli
from fluxhero.commands.output import show_report
from tests.command import Run
from tests.evidence import hot_rows
from tests.protocol import archive, workspace_of
from tests.samples import Sample, create_duckdb_store, insert_duckdb, ledger_trade, write_sample
from tests.waiting import wait_for

TRADE = {
    "trade_id": "T-1",
    "mode": "live",
    "symbol": "AAPL",
    "side": "long",
    "quantity": 1,
    "entry_price": 10,
    "entry_time": "2026-01-02T14:30:00Z",
    "exit_price": 11,
    "exit_time": "2026-01-03T14:30:00Z",
    "realized_pnl": "1.00",
    "status": "closed",
}


def every_command(group: click.Group = cli, *path: str) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += every_command(command, *path, name)
    return found


def find(path: tuple[str, ...]) -> click.Command:
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    return command


@pytest.mark.parametrize("path", every_command(), ids=" ".join)
def test_help_teaches(path: tuple[str, ...], run: Run) -> None:
    ended = run(*path, "--help")
    assert ended.status == 0
    assert "Example" in ended.out, "show how it is used"
    assert f"fluxhero {' '.join(path)}" in ended.out.split("Example")[1]
    for option in find(path).params:
        if isinstance(option, click.Option):
            assert option.help, f"say what {option.opts} does"


@pytest.mark.parametrize("path", every_command(), ids=" ".join)
def test_every_verb_can_print_json(path: tuple[str, ...]) -> None:
    command = find(path)
    if not isinstance(command, click.Group) and path != ("alert", "watch"):  # which never ends
        assert "--json" in [name for param in command.params for name in param.opts]


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from fluxhero.cli import cli; cli.main(['--help'], standalone_mode=False); "
        "heavy = {'prefect', 'pandas', 'duckdb', 'pyarrow', 'pydantic', 'rich'}; "
        "heavy &= set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", [("status",), ("query", "SELECT 1 AS one")], ids=lambda v: v[0])
def test_status_and_query_do_without_prefect(verb: tuple[str, ...], tmp_path: Path) -> None:
    program = (
        "import sys, atexit; from fluxhero.cli import main\n"
        "def check():\n"
        "    if {'prefect', 'adbc_driver_manager'} & set(sys.modules): print('HEAVY')\n"
        f"atexit.register(check); main({list(verb)!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "HEAVY" not in done.stdout
    assert not list(tmp_path.iterdir()), "looking creates nothing"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frobnicate"], "frobnicate"),
        (["archive", "--retention-days", "many"], "many"),
        (["archive", "--retention-days", "-1"], "-1"),
        (["archive", "--as-of", "yesterday"], "2026-03-31"),
        (["archive", "--limit", "0"], "0"),
        (["archive", "--retention-days", "99999999999"], "36500"),
        (["archive", "--limit", str(10**30)], "1000000000000"),
        (["archive", "--as-of", "0001-01-01T00:00:00+14:00"], "is no time"),
        (["restore", "--trade", "T-1", "--hold", str(10**9)], "36500"),
        (["hold", "add", "--trade", "T-1", "--days", str(10**9)], "36500"),
        (["query", "SELECT 1", "--limit", str(10**30)], "1000000000000"),
        (["query", "SELECT 1", "--timeout", "1e300"], "604800"),
        (["query", "SELECT 1", "--timeout", "nan"], "nan"),
        (["restore"], "nothing to restore"),
        (["restore", "--trade", ""], "it is empty"),
        (["restore", "--batch", " "], "it is empty"),
        (["restore", "--from", "2026-03-02", "--to", "2026-03-01"], "--from must be earlier"),
        (["restore", "--from", "2026-03-01", "--to", "2026-03-01"], "--from must be earlier"),
        (["hold", "add", "--trade", ""], "it is empty"),
        (["hold", "release", "--trade", ""], "it is empty"),
        (["ingest"], "PATH"),
        (["hold", "add"], "--trade"),
        (["query"], "SQL"),
        (["query", "SELECT 1", "--csv", "--json"], "exclude"),
    ],
)
def test_bad_usage_is_status_2_with_a_next_step(arguments: list[str], said: str, run: Run) -> None:
    ended = run(*arguments)
    assert ended.status == 2
    assert ended.out == "" or "--json" in arguments
    assert ended.err.startswith("error: ")
    assert said in ended.err
    assert "--help`" in ended.err


@pytest.mark.parametrize("path", [(), ("hold",)], ids=["fluxhero", "hold"])
def test_without_a_verb_there_is_help(path: tuple[str, ...], run: Run) -> None:
    ended = run(*path)
    assert ended.status == 2
    assert ended.err.strip() == run(*path, "--help").out.strip()


def test_bad_settings_are_status_2(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXHERO_RETENTION_DAYZ", "3")
    ended = run("status")
    assert ended.status == 2
    assert "FLUXHERO_RETENTION_DAYS" in ended.err
    assert "Traceback" not in ended.err


def test_an_error_nobody_thought_of_is_status_3(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr("fluxhero.status.collect_status", broken)
    ended = run("status")
    assert ended.status == 3
    assert "error: ZeroDivisionError: nobody thought of this → " in ended.err
    assert "Traceback" not in ended.err
    assert "Traceback" in run("--debug", "status").err


@pytest.mark.parametrize(
    ("arguments", "status", "kind", "message", "next_step"),
    [
        (["query", "--json"], 2, "MissingParameter", "SQL", "run `fluxhero query --help`"),
        (["query", "SELECT 1", "--csv", "--json"], 2, "UsageError", "exclude", "--help"),
        (["frobnicate", "--json"], 2, "NoSuchCommand", "frobnicate", "run `fluxhero --help`"),
        (["query", "DELETE FROM trades", "--json"], 2, "BadInputError", "DELETE", "SELECT"),
        (["status", "--json"], 3, "ZeroDivisionError", "ZeroDivisionError: é", "--debug"),
    ],
)
def test_with_json_an_error_is_a_document_too(
    arguments: list[str],
    status: int,
    kind: str,
    message: str,
    next_step: str,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("é")

    monkeypatch.setattr("fluxhero.status.collect_status", broken)
    ended = run(*arguments)
    document = ended.document
    assert (ended.status, document["exit_status"], document["ok"]) == (status, status, False)
    assert document["error"]["kind"] == kind
    assert message in document["error"]["message"]
    assert next_step in document["error"]["next_step"]
    assert ended.err.startswith("error: ")


def test_with_json_bad_settings_are_a_document_too(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXHERO_RETENTION_DAYZ", "3")
    error = run("status", "--json").document["error"]
    assert error["kind"] == "SettingsError"
    assert "FLUXHERO_RETENTION_DAYS" in error["message"]
    assert ".env.example" in error["next_step"]


def test_interrupted_is_status_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fluxhero.status.collect_status", interrupted)
    ended = run("status")
    assert ended.status == 130
    assert "nothing is lost" in ended.err


@pytest.fixture
def sample(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Sample:
    """Some archived trades and some hot ones, and the settings that lead there."""
    path = clean_environment / "data" / "fluxhero.duckdb"
    create_duckdb_store(path)
    insert_duckdb(path, "trades", *(ledger_trade(number) for number in range(1, 4)))
    insert_duckdb(path, "trades", ledger_trade(4, status="open", exit_time=None))
    sample = Sample("duckdb", path, frozenset(), frozenset())
    archive(workspace_of(sample, clean_environment / "data"))
    return sample


def test_query_on_a_terminal_in_json_and_as_csv(sample: Sample, run: Run) -> None:
    sql = "SELECT trade_id, realized_pnl, exit_time, _location FROM trades ORDER BY 1"
    shown = run("query", sql)
    assert shown.status == 0
    assert "t-00001" in shown.out
    document = run("query", sql, "--json", "--limit", "2").document
    assert document["truncated"] is True
    assert document["rows"][0] == {
        "trade_id": "t-00001",
        "realized_pnl": 12.5,
        "exit_time": "2025-01-03T10:00:00.000001+00:00",
        "_location": "archive",
    }
    lines = run("query", sql, "--csv").out.splitlines()
    assert lines[0] == "trade_id,realized_pnl,exit_time,_location"
    assert lines[4] == "t-00004,12.50000000,,hot"
    cut = run("query", sql, "--limit", "1")
    assert "--limit 0" in cut.err


def test_csv_has_all_rows_unless_a_limit_is_given(run: Run) -> None:
    sql = "SELECT range FROM range(1500)"
    whole = run("query", sql, "--csv")
    assert (whole.status, len(whole.out.splitlines()), whole.err) == (0, 1501, "")
    cut = run("query", sql, "--csv", "--limit", "2")
    assert len(cut.out.splitlines()) == 3
    assert "the first 2 rows" in cut.err
    document = run("query", sql, "--json").document
    assert (len(document["rows"]), document["truncated"]) == (1000, True)
    assert "the first 1,000 rows" in run("query", sql).err


@pytest.mark.parametrize("form", [(), ("--csv",)])
def test_decimals_have_no_exponent(run: Run, form: tuple[str, ...]) -> None:
    shown = run("query", "SELECT 0::DECIMAL(18, 8) AS a, 'nan'::DOUBLE AS b", *form).out
    assert "0.00000000" in shown
    assert "E-8" not in shown


def test_a_long_report_shows_its_first_rows(capsys: pytest.CaptureFixture[str]) -> None:
    lines = tuple(
        BatchLine(
            table="trades", mode="live", month=f"month {number:02d}", rows=1, correction=False
        )
        for number in range(1, 24)
    )
    report = ArchiveReport(
        store="store",
        archive="archive",
        cutoff=datetime(2026, 1, 1, tzinfo=UTC),
        retention_days=30,
        dry_run=True,
        copy_only=False,
        batches=lines,
    )
    show_report(report, as_json=False)
    shown = capsys.readouterr().out
    assert "month 20" in shown
    assert "month 21" not in shown
    assert shown.endswith("… and 3 more; --json lists all\n")
    show_report(report.model_copy(update={"batches": lines[:20]}), as_json=False)
    assert "more" not in capsys.readouterr().out
    show_report(report, as_json=True)
    assert len(json.loads(capsys.readouterr().out)["batches"]) == 23


def test_query_reads_standard_input(
    sample: Sample, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("SELECT count(*) AS n FROM trades"))
    assert run("query", "-", "--json").document["rows"] == [{"n": 4}]


def test_a_query_that_is_refused_is_status_2(sample: Sample, run: Run) -> None:
    ended = run("query", "DELETE FROM trades")
    assert ended.status == 2
    assert ended.err.startswith("error: DELETE")


@pytest.mark.parametrize(("kind", "said"), [("sqlite", "duckdb"), ("duckdb", "sqlite")])
@pytest.mark.parametrize(
    "arguments",
    [["status"], ["query", "FROM trades"], ["hold", "add", "--trade", "T-1"]],
    ids=lambda arguments: arguments[0],
)
def test_a_store_of_the_other_kind_is_status_2_and_told_its_url(
    kind: str,
    said: str,
    arguments: list[str],
    clean_environment: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = write_sample(kind, clean_environment / "store")
    before = store.path.read_bytes()
    monkeypatch.setenv("FLUXHERO_STORE_URL", f"{said}:///{store.path}")
    ended = run(*arguments)
    assert ended.status == 2
    assert f"FLUXHERO_STORE_URL={kind}:///{store.path}" in ended.err
    assert store.path.read_bytes() == before


def test_odd_values_are_valid_json(run: Run) -> None:
    sql = (
        "SELECT 'nan'::DOUBLE AS a, 1e300 AS b, [1, 2] AS c, {'x': 1.5} AS d, NULL AS e, "
        "123456789012345678901234567890::HUGEINT AS f, DATE '2026-01-02' AS g, "
        "true AS h, 'é\"' AS i"
    )
    row = run("query", sql, "--json").document["rows"][0]
    assert row == {
        "a": "nan",
        "b": 1e300,
        "c": [1, 2],
        "d": {"x": 1.5},
        "e": None,
        "f": 123456789012345678901234567890,
        "g": "2026-01-02",
        "h": True,
        "i": 'é"',
    }


def test_json_loses_no_column(run: Run) -> None:
    document = run("query", "SELECT 1 AS a, 2 AS a", "--json").document
    assert document["columns"] == ["a", "a_1"]
    assert document["rows"] == [{"a": 1, "a_1": 2}]


def test_bytes_are_shown_in_hexadecimal(run: Run) -> None:
    sql = r"SELECT '\xAB\x00'::BLOB AS a, ['\x0F'::BLOB] AS b, {'x': '\xFF'::BLOB} AS c"
    row = run("query", sql, "--json").document["rows"][0]
    assert row == {"a": "ab00", "b": ["0f"], "c": {"x": "ff"}}
    assert run("query", sql, "--csv").out.splitlines()[1] == 'ab00,"[""0f""]","{""x"":""ff""}"'
    shown = run("query", sql).out
    assert "ab00" in shown
    assert '["0f"]' in shown


def test_status_in_both_forms(sample: Sample, run: Run) -> None:
    document = run("status", "--json", "--batches").document
    assert document["hot_rows"]["trades"] == 1
    assert document["archived_rows"] == 3
    assert len(document["batches"]) == 1
    shown = run("status", "--batches").out
    assert str(sample.path) in shown
    assert document["batches"][0]["batch"] in shown


def test_what_is_only_to_be_purged_has_a_label_and_one_is_no_plural(
    clean_environment: Path, run: Run
) -> None:
    path = clean_environment / "data" / "fluxhero.duckdb"
    create_duckdb_store(path)
    insert_duckdb(path, "trades", ledger_trade(1))
    assert "Due: 1 row." in run("status").out
    sample = Sample("duckdb", path, frozenset(), frozenset())
    archive(workspace_of(sample, clean_environment / "data"), purge=False)
    _, _, *lines = run("status").out.splitlines()
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    assert told["To purge"].strip() == "1 row archived already"
    assert told["Hot"].strip().startswith("1 trade;")
    assert told["Archive"].strip().startswith("1 row in 1 file;")
    assert told["Unpurged"].strip().startswith("1 batch, from ")


def test_holds_come_and_go(sample: Sample, run: Run) -> None:
    added = run("hold", "add", "--trade", "t-00004", "--reason", "audit", "--days", "5", "--json")
    assert [hold["trade_id"] for hold in added.document["holds"]] == ["t-00004"]
    assert run("hold", "add", "--trade", "t-00004", "--days", "4", "--json").document["holds"] == []
    assert "audit" in run("hold", "list").out
    assert run("hold", "add", "--trade", "t-00004", "--days", "9").status == 0
    (held,) = run("hold", "list", "--json").document["holds"]
    assert held["reason"] == "held by hand", "the longer hold replaced the shorter one"
    assert run("hold", "add", "--trade", "t-0000").status == 2, "several trades begin so"
    assert run("hold", "add", "--trade", "nobody").status == 2
    archived = run("hold", "add", "--trade", "t-00001")
    assert archived.status == 2
    assert "`fluxhero restore --trade t-00001` brings it back and holds it" in archived.err
    assert run("hold", "release", "--trade", "nobody").status == 2
    other = run("hold", "release", "--trade", "t-0000")
    assert (other.status, "with that begin t-00004" in other.err) == (2, True), "not released"
    assert run("hold", "release", "--trade", "t-00004").status == 0
    assert run("hold", "list", "--json").document["holds"] == []
    assert len(run("hold", "list", "--all", "--json").document["holds"]) == 2


def test_a_locked_archive_is_status_3_and_names_who_holds_it(sample: Sample, run: Run) -> None:
    with archive_lock(Layout(load_settings().archive_dir), "archive_trades"):
        ended = run("hold", "add", "--trade", "t-00004")
    assert ended.status == 3
    assert "archive_trades" in ended.err


_COMMAND = "from fluxhero.cli import main; main()"


@pytest.mark.measured
@pytest.mark.parametrize("form", [[], ["--csv"], ["--json"]], ids=str)
def test_a_closed_pipe_ends_a_query_quietly(clean_environment: Path, form: list[str]) -> None:
    sql = "SELECT range AS i, repeat('x', 90) FROM range(20000)"
    process = subprocess.Popen(
        [sys.executable, "-c", _COMMAND, "query", sql, "--limit", "0", *form],
        cwd=clean_environment,
        env={key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
        | {"PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stderr as err, process.stdout as out:
        assert out.read(1)
        out.close()
        assert err.read() == b""
    assert process.wait(60) == 128 + signal.SIGPIPE


@pytest.mark.measured
def test_output_that_nobody_reads_at_all_is_the_same(clean_environment: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, "query", "SELECT 1", "--csv"],
        cwd=clean_environment,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


@pytest.mark.server
def test_from_ingest_to_restore(clean_environment: Path, run: Run, prefect_harness: str) -> None:
    rows = clean_environment / "rows.jsonl"
    good = [TRADE | {"trade_id": f"T-{n}"} for n in (1, 2)]
    rows.write_text("".join(json.dumps(row) + "\n" for row in good))
    first = run("ingest", str(rows), "--json")
    assert first.status == 0
    assert first.document["lines"][0]["inserted"] == 2
    assert "Prefect server" in first.err
    assert "Nothing new" in run("ingest", "*.jsonl").out

    dry = run("archive", "--dry-run", "--json")
    assert (dry.status, dry.document["dry_run"]) == (0, True)
    moved = run("archive")
    assert moved.status == 0
    assert "Archived 2 rows in 1 batch; purged 2 rows" in moved.out
    assert "Nothing new was due" in run("archive").out

    assert "T-1" in run("restore", "--trade", "T-1", "--dry-run", "--json").out
    back = run("restore", "--trade", "T-1", "--hold", "3", "--reason", "test")
    assert back.status == 0
    assert "Restored 1 of 1 row;" in back.out
    counted = run("query", "SELECT _location, count(*) AS n FROM trades GROUP BY 1", "--json")
    assert sorted((r["_location"], r["n"]) for r in counted.document["rows"]) == [
        ("archive", 1),
        ("hot", 1),
    ]
    again = run("ingest", str(rows), "--json").document["lines"][0]
    assert (again["inserted"], again["unchanged"]) == (0, 2), "archived rows are known too"


@pytest.mark.server
def test_bad_rows_and_files_end_with_the_right_status(
    clean_environment: Path, run: Run, prefect_harness: str
) -> None:
    folder = clean_environment / "in"
    folder.mkdir()
    bad = TRADE | {"trade_id": "T-9", "side": "sideways"}
    (folder / "rows.jsonl").write_text(f"{json.dumps(TRADE)}\n{json.dumps(bad)}\n")
    (folder / "notes.bin").write_bytes(b"\x00\x01\x02")
    ended = run("ingest", str(folder), "--json")
    assert ended.status == 1, "a row went to quarantine"
    assert ended.document["lines"][0]["quarantined"] == 1
    assert ended.document["skipped"] == [str(folder / "notes.bin")]
    assert run("ingest", str(folder)).status == 0, "that row is known to be bad"

    missing = run("ingest", str(clean_environment / "none.csv"))
    assert missing.status == 2
    assert "there is no file" in missing.err
    assert "Traceback" not in missing.err
    both = run("ingest", str(folder / "rows.jsonl"), str(clean_environment / "none.csv"), "--json")
    assert both.status == 1
    assert len(both.document["refused_files"]) == 1
    for arguments in (["--table", "trade"], ["--format", "cvs"], ["--mode", "lively"]):
        wrong = run("ingest", str(folder), *arguments)
        assert wrong.status == 2
        assert "did you mean" in wrong.err


@pytest.mark.server
def test_errors_inside_tasks_keep_their_status(
    clean_environment: Path, run: Run, prefect_harness: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = run("archive")
    assert nothing.status == 2, "there is no store yet"
    assert nothing.err.rstrip().splitlines()[-1].startswith("error: there is no store")
    assert "Traceback" not in nothing.err
    assert run("archive", "--as-of", "2999-01-01").status == 2

    bot = write_sample("sqlite", clean_environment / "system.db")
    monkeypatch.setenv("FLUXHERO_STORE_URL", bot.url)
    refused = run("ingest", str(bot.path))
    assert refused.status == 2
    assert "the bot writes it" in refused.err


# A shell makes programs that it starts with `&` ignore SIGINT, and so their children: undo that.
_INTERRUPTIBLE_RUN = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('flows.archive_trades', run_name='__main__')"
)


@pytest.mark.measured
@pytest.mark.server
def test_ctrl_c_ends_with_130(clean_environment: Path, prefect_harness: str) -> None:
    write_sample("sqlite", clean_environment / "system.db")
    environment = {
        **os.environ,
        "PREFECT_API_URL": prefect_harness,
        "FLUXHERO_STORE_URL": f"sqlite:///{clean_environment / 'system.db'}",
        "FLUXHERO_BATCH_ROWS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTIBLE_RUN],
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[1])},
        cwd=clean_environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    manifests = clean_environment / "data" / "archive" / "manifests"
    wait_for(lambda: manifests.is_dir() and any(manifests.iterdir()), 60, "a batch")
    process.send_signal(signal.SIGINT)
    try:
        _, err = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 130, err[-2000:]
    assert "nothing is lost" in err


_SETTINGS_OF_A_RUN = (
    "import atexit, pathlib, runpy, sys; sys.argv[1:] = ['--dry-run', '--json']\n"
    "def tell():\n"
    "    from prefect.settings import get_current_settings\n"
    "    server = get_current_settings().server\n"
    "    told = server.analytics_enabled, server.ephemeral.startup_timeout_seconds\n"
    "    pathlib.Path('told').write_text(repr(told))\n"
    "atexit.register(tell); runpy.run_module('flows.archive_trades', run_name='__main__')"
)


@pytest.mark.server
def test_a_flow_that_is_run_as_a_module_is_the_command(
    sample: Sample, clean_environment: Path, prefect_harness: str
) -> None:
    insert_duckdb(sample.path, "trades", ledger_trade(5))
    inherited = {name: value for name, value in os.environ.items() if name not in DEFAULTS}
    done = subprocess.run(
        [sys.executable, "-c", _SETTINGS_OF_A_RUN],
        env=inherited
        | {"PREFECT_API_URL": prefect_harness, "PYTHONPATH": str(Path(__file__).parents[1])},
        cwd=clean_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["dry_run"], len(document["batches"])) == (True, 1)
    assert len(hot_rows("duckdb", sample.path)) == 2, "a dry run moves nothing"
    assert (clean_environment / "told").read_text() == "(False, 300)", "no telemetry; time to start"


@pytest.mark.server
@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_demo_shows_every_step_and_can_be_run_again(
    clean_environment: Path,
    run: Run,
    prefect_harness: str,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
) -> None:
    monkeypatch.setenv("FLUXHERO_STORE_URL", f"sqlite:///{clean_environment}/the-users-own.db")
    for _ in range(times):
        with patch.dict(os.environ):  # so that what the demo sets is undone
            ended = run("demo", "--json")
        assert ended.status == 0, ended.err
    document = ended.document
    assert [step["step"].split(":")[0] for step in document["steps"]] == [
        "Ingest real trades",
        "Ingest simulated trades",
        "Look before moving anything",
        "Archive what was closed more than 30 days ago",
        "Query both sides as one table",
        "Restore one trade",
        "Check everything that was stored",
        "Flip one bit in a file of the archive, and check again, reading every byte",
        "Mend it from the second copy of the archive",
        "Measure the account and the store",
        "Status",
    ]
    checked, damaged, mended, measured = document["steps"][6:10]
    assert {line["mode"] for line in measured["accounts"]} == {"live", "paper"}
    assert measured["breached"] == []
    real = {line["rule"]: set(line["rows"]) for line in checked["findings"]}
    assert set(real) == {"trades.pnl", "trades.pnl-sign"}
    assert len(real["trades.pnl"] | real["trades.pnl-sign"]) == 11, "the known ones, and only those"
    found = {line["rule"] for line in damaged["findings"]} - set(real)
    assert found == {"files.sha256", "files.structure", "trades.*"}
    assert {line["rule"] for line in mended["findings"]} == set(real)
    assert len(document["next"]) == 5
    trades = sum(row["trades"] for row in document["steps"][4]["rows"])
    assert trades == 308 + 130
    assert not (clean_environment / "the-users-own.db").exists()


def test_the_demo_replaces_nothing_but_itself(clean_environment: Path, run: Run) -> None:
    folder = clean_environment / "precious"
    folder.mkdir()
    (folder / "file").write_text("mine")
    ended = run("demo", "--folder", str(folder))
    assert ended.status == 2
    assert (folder / "file").read_text() == "mine"
