"""Read-only SQL: what it answers, and everything it refuses."""

from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from fluxhero.archive.workspace import Workspace
from fluxhero.errors import BadInputError, DamagedFileError, FluxHeroError
from fluxhero.ledger.lookup import hot_ids
from fluxhero.ledger.query import run_query
from fluxhero.ledger.schema import TRADES
from fluxhero.ledger.view import archived_rows, open_view
from tests.protocol import archive, workspace_of
from tests.samples import (
    Sample,
    create_duckdb_store,
    insert_duckdb,
    ledger_order,
    ledger_trade,
    write_sample,
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("query")
    path = folder / "store.duckdb"
    create_duckdb_store(path)
    insert_duckdb(path, "trades", *(ledger_trade(number) for number in range(1, 6)))
    insert_duckdb(path, "trades", ledger_trade(6, status="open", exit_time=None))
    insert_duckdb(path, "orders", ledger_order(1))
    workspace = workspace_of(Sample("duckdb", path, frozenset(), frozenset()), folder / "data")
    archive(workspace)
    return workspace


def test_both_sides_are_there(workspace: Workspace) -> None:
    result = run_query(
        workspace,
        "SELECT _location, count(*) AS n, sum(realized_pnl) FROM trades GROUP BY 1 ORDER BY 1",
    )
    assert result.columns == ("_location", "n", "sum(realized_pnl)")
    assert result.rows == (("archive", 5, Decimal("62.5")), ("hot", 1, Decimal("12.5")))
    assert not result.truncated


@pytest.mark.parametrize(
    "sql",
    [
        "FROM trades",
        "-- a comment\nSELECT 1;",
        "WITH x AS (SELECT trade_id FROM trades) SELECT * FROM x",
        "DESCRIBE trades",
        "SUMMARIZE trades",
        "SHOW TABLES",
        "EXPLAIN SELECT * FROM Trades",
        "PIVOT trades ON mode IN ('live') USING count(*)",
        "SELECT * FROM TRADES JOIN orders USING (symbol)",
        "SELECT * FROM query('SELECT count(*) FROM tra' || 'des')",
        "SELECT count(*) FROM batches JOIN quarantine ON true",
        'SELECT \'INSERT\', "mode" AS "copy" FROM trades',
    ],
)
def test_reading_is_allowed(workspace: Workspace, sql: str) -> None:
    run_query(workspace, sql)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT 1; SELECT 2", "2 statements"),
        ("", "the query is empty"),
        ("INSERT INTO trades SELECT * FROM trades", "INSERT"),
        ("COPY trades TO '{folder}/x.csv'", "COPY"),
        ("CREATE TABLE x AS SELECT 1", "CREATE"),
        ("ATTACH '{folder}/store.duckdb' AS x", "ATTACH"),
        ("SET enable_external_access = true", "SET"),
        ("PRAGMA version", "PRAGMA"),
        ("INSTALL json", "LOAD"),
        ("CALL pragma_version()", "CALL"),
        ("EXPORT DATABASE '{folder}/x'", "EXPORT"),
        ("DROP VIEW trades", "DROP"),
        ("WITH x AS (COPY (SELECT 1) TO '{archive}/x.csv') SELECT 1", "COPY_TO_FILE"),
        ("WITH x AS (DELETE FROM hot.trades) SELECT count(*) FROM trades", "DELETE"),
        ("EXPLAIN ANALYZE COPY (SELECT 1) TO '{archive}/x.csv'", "EXPLAIN ANALYZE"),
        ("EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{archive}/x.csv'", "EXPLAIN ANALYZE"),
        ("SELECT * FROM query('WITH x AS (COPY (SELECT 1) TO ''{archive}/x'') SELECT 1')", "COPY"),
        (
            "FROM enable_logging('QueryLog', storage = 'file', storage_path = '{archive}/l')",
            "locked",
        ),
        ("SELECT * FROM read_text('/etc/passwd')", "/etc/passwd"),
        ("SELECT * FROM '/etc/passwd'", "/etc/passwd"),
        ("SELECT * FROM read_csv('/etc/passwd')", "/etc/passwd"),
        ("SELECT * FROM glob('/etc/*')", "/etc/"),
        ("SELECT * FROM read_blob('{folder}/store.duckdb')", "store.duckdb"),
        ("SELECT * FROM read_text('{folder}/.env')", ".env"),
        ("SELECT * FROM read_text('{archive}/../../.env')", ".env"),
        ("SELECT * FROM read_text('.env')", ".env"),
        ("SELECT * FROM workspace", "workspace"),
        ("SELECT getenv('HOME')", "getenv"),
    ],
)
def test_everything_else_is_refused(workspace: Workspace, sql: str, said: str) -> None:
    folder = workspace.data_dir.parent
    (folder / ".env").write_text("FLUXHERO_AUTH_SECRET=x")
    before = sorted(path for path in folder.rglob("*") if path.is_file())
    text = sql.format(folder=folder, archive=workspace.layout.root)
    with pytest.raises(BadInputError) as refused:
        run_query(workspace, text)
    assert said.lower() in str(refused.value).lower()
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == before


def test_files_of_the_archive_can_be_read(workspace: Workspace) -> None:
    sql = f"SELECT count(*) FROM read_parquet('{workspace.layout.root}/trades/**/*.parquet')"
    assert run_query(workspace, sql).rows == ((5,),)


def test_an_unknown_table_is_answered_with_the_views(workspace: Workspace) -> None:
    with pytest.raises(BadInputError, match=r"trade .*the views are trades, orders"):
        run_query(workspace, "SELECT * FROM trade")


def test_sql_that_is_wrong_is_told_why(workspace: Workspace) -> None:
    with pytest.raises(BadInputError, match="syntax error"):
        run_query(workspace, "SELEC 1")
    with pytest.raises(BadInputError, match="nonsense"):
        run_query(workspace, "SELECT nonsense FROM trades")
    with pytest.raises(BadInputError) as refused:
        run_query(workspace, 'FROM trades WHERE symbol = "AAPL"')
    assert refused.value.next_step.endswith("text goes in single quotes: 'AAPL'")


@pytest.mark.parametrize("sql", ["", " \n", ";", "-- nothing"])
def test_an_empty_query_is_called_empty(workspace: Workspace, sql: str) -> None:
    with pytest.raises(BadInputError) as refused:
        run_query(workspace, sql)
    assert refused.value.what == "the query is empty"


@pytest.mark.parametrize("lines_above", [0, 1, 7, 8, 9, 98])
@pytest.mark.parametrize("bad", ["nonsense", "lower(1, 2)", "'x"])
def test_an_error_is_shown_in_the_users_own_sql(
    workspace: Workspace, lines_above: int, bad: str
) -> None:
    sql = "\n" * lines_above + f"SELECT {bad}"
    with pytest.raises(BadInputError) as refused:
        run_query(workspace, sql)
    *_, text, caret = refused.value.what.splitlines()
    start = f"LINE {lines_above + 1}: "
    assert text.rstrip() == f"{start}SELECT {bad}"
    assert caret.index("^") == len(f"{start}SELECT ")


def test_a_limit_cuts_and_says_so(workspace: Workspace) -> None:
    result = run_query(workspace, "SELECT trade_id FROM trades", limit=2)
    assert (len(result.rows), result.truncated) == (2, True)
    assert not run_query(workspace, "SELECT trade_id FROM trades", limit=6).truncated
    assert run_query(workspace, "SELECT 1 AS a, 2 AS b", limit=1).records() == [{"a": 1, "b": 2}]


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ("1 AS a, 2 AS a, 3 AS a", ("a", "a_1", "a_2")),
        ("1 AS a, 2 AS a, 3 AS a_1", ("a", "a_2", "a_1")),
        ("1 AS a_1, 2 AS a, 3 AS a, 4 AS a_1", ("a_1", "a", "a_2", "a_1_1")),
        ("1 AS a, 2 AS b", ("a", "b")),
    ],
)
def test_columns_of_one_name_keep_their_values(
    workspace: Workspace, columns: str, names: tuple[str, ...]
) -> None:
    result = run_query(workspace, f"SELECT {columns}")
    assert result.names == names
    assert list(result.records()[0].items()) == list(zip(names, result.rows[0], strict=True))


def test_a_query_that_takes_too_long_is_stopped(workspace: Workspace) -> None:
    with pytest.raises(FluxHeroError, match=r"stopped after 0\.2 seconds"):
        run_query(
            workspace, "SELECT count(*) FROM range(1000000000000) a, range(1000000) b", timeout=0.2
        )


def test_a_fluxhero_store_can_be_queried_in_place(clean_environment: Path) -> None:
    sample = write_sample("sqlite", clean_environment / "system.db")
    workspace = workspace_of(sample, clean_environment / "data")
    result = run_query(workspace, "SELECT count(*), count(DISTINCT trade_id) FROM trades")
    assert result.rows[0] == (len(sample.due | sample.staying),) * 2


@pytest.fixture(scope="module", params=["duckdb", "sqlite"])
def half_archived(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Workspace:
    """Some rows hot, some archived."""
    folder = tmp_path_factory.mktemp("columns")
    sample = write_sample(request.param, folder / f"store.{request.param}")
    workspace = workspace_of(sample, folder / "data")
    archive(workspace)
    return workspace


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM trades",
        "SELECT * FROM trades ORDER BY trade_id",
        "FROM trades ORDER BY trade_id",
        "SELECT t.* FROM trades t ORDER BY ALL",
        "SELECT t FROM trades t ORDER BY t.trade_id",
        "SELECT count(COLUMNS(*)) FROM trades",
        "SELECT TRY(COLUMNS(*)::VARCHAR) FROM trades ORDER BY ALL",
        "SELECT -1 * quantity AS n FROM trades ORDER BY n",
        "SELECT count(*) FROM (SELECT DISTINCT * FROM trades)",
        "SELECT upper(Symbol), sum(realized_pnl) FROM trades GROUP BY 1 ORDER BY 1",
        "SELECT extra, signal_explanation, _location FROM trades ORDER BY trade_id",
        "SELECT max(exit_time), min(mode), count(DISTINCT side) FROM trades WHERE status <> 'open'",
        "WITH x AS (FROM trades) SELECT count(*), max(x.fees) FROM x",
        "SELECT a.symbol FROM trades a NATURAL JOIN trades b ORDER BY 1",
        "SELECT to_json(t) FROM trades t ORDER BY 1",
        "SELECT count(*) FROM orders o SEMI JOIN trades t ON o.symbol = t.symbol",
    ],
)
def test_a_query_answers_the_same_whichever_columns_were_read(
    half_archived: Workspace, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run_query(half_archived, sql)
    monkeypatch.setattr("fluxhero.ledger.query._columns_in", lambda _: None)
    assert found == run_query(half_archived, sql)


def test_only_the_columns_named_are_read_of_hot_rows(half_archived: Workspace) -> None:
    with open_view(half_archived, ["trades"], {"symbol"}) as view:
        loaded = {row[0] for row in view.execute("DESCRIBE hot.trades_loaded").fetchall()}
        view.execute("SELECT symbol, trade_id FROM trades").fetchall()
        with pytest.raises(duckdb.InvalidInputException, match="was not loaded"):
            view.execute("SELECT count(realized_pnl) FROM trades").fetchall()
    kind = half_archived.store.kind
    assert (
        loaded
        == {
            "duckdb": {"trade_id", "symbol"},
            "sqlite": {"id", "created_at", "entry_time", "symbol", "_table"},
        }[kind]
    )


def _flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


@pytest.fixture
def batches(tmp_path: Path) -> tuple[Workspace, list[Path]]:
    """An archive of three batches, to be damaged."""
    create_duckdb_store(tmp_path / "store.duckdb")
    rows = (ledger_trade(number) for number in range(600))
    insert_duckdb(tmp_path / "store.duckdb", "trades", *rows)
    sample = Sample("duckdb", tmp_path / "store.duckdb", frozenset(), frozenset())
    workspace = workspace_of(sample, tmp_path / "data")
    archive(workspace)
    files = sorted(workspace.layout.root.glob("trades/**/*.parquet"))
    assert len(files) == 3
    return workspace, files


@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "page", "header", "footer", "another"])
def test_a_damaged_file_of_the_archive_is_named(
    batches: tuple[Workspace, list[Path]], damage: str, place: int
) -> None:
    workspace, files = batches
    path = files[place]
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "another":
        path.unlink()
        with duckdb.connect() as connection:
            connection.execute(f"COPY (SELECT 1 AS a) TO '{path}' (FORMAT parquet)")
    else:
        path.write_bytes(
            {
                "empty": b"",
                "cut": content[: len(content) // 2],
                "page": _flipped(content, 200),
                "header": _flipped(content, 10),
                "footer": _flipped(content, len(content) - 20),
            }[damage]
        )
    queries = ["SELECT sum(hash(t)) FROM trades t"]
    if damage not in {"gone", "another"}:  # there it is not, or is no mistake
        queries.append(f"FROM read_parquet('{workspace.layout.root}/trades/**/*.parquet')")
    for sql in queries:
        with pytest.raises(DamagedFileError, match=path.name) as caught:
            run_query(workspace, sql)
        assert "backup" in caught.value.next_step
    with pytest.raises(DamagedFileError, match=path.name):
        hot_ids(workspace, "trades", ["t-"])
    with pytest.raises(DamagedFileError, match=path.name):
        archived_rows(workspace)(TRADES, pa.table({"trade_id": ["t-00000", "t-00599"]}))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT symbol, realized_pnl AS p FROM trades",
        "SELECT nonsense FROM trades",
        "SELECT error('bad') FROM trades",
        "SELECT symbol::INTEGER FROM trades",
        "SELECT strptime(symbol, '%Y') FROM trades",
        "FROM trades, read_parquet('{archive}/none/*.parquet')",
        "FROM trades, '/etc/passwd'",
        "SELECT to_json(t) FROM trades t",
    ],
)
def test_neither_an_answer_nor_a_mistake_costs_a_look_at_whole_files(
    batches: tuple[Workspace, list[Path]], sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, _ = batches
    looked_at: list[object] = []
    monkeypatch.setattr(Workspace, "prove_file", lambda _, manifest: looked_at.append(manifest))
    with suppress(BadInputError):
        run_query(workspace, sql.format(archive=workspace.layout.root))
    assert looked_at == []
