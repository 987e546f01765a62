"""What Great Expectations is relied on for, rule kind by rule kind: it promises none of it itself."""

import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import duckdb
import pytest

from fluxhero.engine import connect
from fluxhero.integrity.expectations import run_suite, tell_time
from fluxhero.integrity.results import MOST_KEYS, MOST_SAMPLED, Outcome, Result
from fluxhero.integrity.rules import QueryRule, RowRule, Severity
from fluxhero.integrity.suite import Suite
from tests import samples

WORDS = (Severity.ERROR, "it holds", "it came from somewhere", "do something")
COLUMNS = {"k": "VARCHAR", "n": "BIGINT", "x": "DOUBLE", "at": "TIMESTAMPTZ"}


def row_rule(name: str, bad: str) -> RowRule:
    return RowRule(f"t.{name}", *WORDS, bad)


def query_rule(name: str, rows: str) -> QueryRule:
    return QueryRule(f"t.{name}", *WORDS, rows)


def suite(*rules: RowRule | QueryRule, **changes: Any) -> Suite:
    given: dict[str, Any] = {"table": "t", "version": 1, "key": "k", "columns": COLUMNS}
    return Suite(**{**given, **changes}, rules=rules)


class Watched:
    """A connection that notes every statement."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.statements: list[str] = []

    def execute(self, sql: str, *parameters: Any) -> duckdb.DuckDBPyConnection:
        self.statements.append(sql)
        return self.connection.execute(sql, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


@pytest.fixture
def watched() -> Iterator[Watched]:
    """A table `t` of 10 rows: n from 0 to 9, x NaN, infinite, NULL, then n."""
    with connect() as connection:
        tell_time(connection, samples.AS_OF)
        connection.execute(
            "CREATE TABLE t AS SELECT 'k' || range AS k, range AS n, CASE range WHEN 0 THEN 'nan'::DOUBLE "
            "WHEN 1 THEN 'inf'::DOUBLE WHEN 2 THEN NULL ELSE range END AS x, "
            "TIMESTAMPTZ '2025-05-31 00:00:00+00' + to_hours(range * 12) AS \"at\" FROM range(10)"
        )
        yield Watched(connection)


def run(
    watched: Watched, *rules: RowRule | QueryRule, relation: str = "t", **changes: Any
) -> dict[str, Result]:
    connection = cast("duckdb.DuckDBPyConnection", watched)
    checked = suite(*rules, **changes)
    results = run_suite(connection, checked, relation, "t (hot)")
    assert [r.rule for r in results] == list(checked.every_rule)
    assert {r.object for r in results} == {"t (hot)"}
    return {r.rule.name.removeprefix("t."): r for r in results}


def test_outcomes_of_every_kind(watched: Watched) -> None:
    results = run(
        watched,
        row_rule("kept", "n < 0"),
        row_rule("broken", "n >= 8"),
        row_rule("unknown", "x = NULL"),
        row_rule("future", "\"at\" > getvariable('now') + INTERVAL 60 HOUR"),
        row_rule("percent-and-colon", "k LIKE 'k%5' AND n::VARCHAR <> ':n'"),
        query_rule("queried-kept", "SELECT k AS key FROM {table} GROUP BY k HAVING count(*) > 1"),
        query_rule(
            "queried-broken", "SELECT 'even' AS key, sum(n) AS n FROM {table} WHERE n % 2 = 0"
        ),
    )
    assert {name: (r.outcome.value, r.count, r.keys) for name, r in results.items()} == {
        "schema": ("passed", 0, ()),
        "kept": ("passed", 0, ()),
        "broken": ("failed", 2, ("k8", "k9")),
        "unknown": ("passed", 0, ()),
        "future": ("failed", 2, ("k8", "k9")),
        "percent-and-colon": ("failed", 1, ("k5",)),
        "queried-kept": ("passed", 0, ()),
        "queried-broken": ("failed", 1, ("even",)),
    }
    assert {r.checked for name, r in results.items() if name != "schema"} == {10}
    broken = results["broken"]
    assert broken.observed == "2 rows of 10: k8, k9"
    assert broken.sample[0] == {
        "key": "k8", "k": "k8", "n": 8, "x": "8.0", "at": "2025-06-04T00:00:00+00",
    }  # fmt: skip
    assert results["queried-broken"].sample == ({"key": "even", "n": "20"},)
    for name in ("broken", "future", "queried-broken"):
        again = watched.connection.execute(results[name].sql).fetchall()
        assert len(again) == results[name].count
    assert "getvariable" not in results["future"].sql


def test_nan_and_infinity_pass_a_range_and_fail_isfinite(watched: Watched) -> None:
    results = run(watched, row_rule("range", "x < 0"), row_rule("finite", "NOT isfinite(x)"))
    assert results["range"].outcome is Outcome.PASSED
    assert results["finite"].keys == ("k0", "k1")
    assert [row["x"] for row in results["finite"].sample] == ["nan", "inf"]


def test_row_rules_are_one_select(watched: Watched) -> None:
    """However many there are; a query rule is one more."""
    rules = [row_rule(f"rule-{n}", f"n = -{n}") for n in range(1, 40)]
    run(watched, *rules, query_rule("query", "SELECT k AS key FROM {table} WHERE false"))
    scans = [sql for sql in watched.statements if not sql.startswith("DESCRIBE")]
    assert len(scans) == 2
    assert sum(sql.count("count_if") for sql in scans) == len(rules)


def test_an_error_inside_is_never_a_pass(watched: Watched) -> None:
    """The rules beside it are still told, whichever comes first."""
    results = run(
        watched,
        row_rule("no-column", "missing > 1"),
        row_rule("kept", "n < 0"),
        row_rule("broken", "n = 3"),
        row_rule("conversion", "k::INTEGER = 1"),
        query_rule("no-table", "SELECT k AS key FROM nowhere"),
        query_rule("no-key", "SELECT n FROM {table} WHERE n = 1"),
        query_rule("queried-kept", "SELECT k AS key FROM {table} WHERE n < 0"),
    )
    assert {name: r.outcome.value for name, r in results.items()} == {
        "schema": "passed",
        "no-column": "errored",
        "kept": "passed",
        "broken": "failed",
        "conversion": "errored",
        "no-table": "errored",
        "no-key": "failed",
        "queried-kept": "passed",
    }
    assert "nowhere" in results["no-table"].observed
    assert "could not be listed" in results["no-key"].observed
    assert results["no-key"].count == 1
    for name in ("no-column", "conversion", "no-table"):
        assert "\n" not in results[name].observed
        assert "Error" in results[name].observed


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({**COLUMNS, "y": "DOUBLE"}, "column y is missing"),
        ({**COLUMNS, "n": "INTEGER"}, "column n is BIGINT, not INTEGER"),
        ({**COLUMNS, "at": "TIMESTAMP"}, "column at is TIMESTAMPTZ, not TIMESTAMP"),
    ],
)
def test_other_columns_leave_nothing_checked(
    watched: Watched, columns: dict[str, str], said: str
) -> None:
    results = run(watched, row_rule("kept", "n < 0"), columns=columns)
    assert results["schema"].outcome is Outcome.FAILED
    assert results["schema"].observed == said
    assert results["kept"].outcome is Outcome.ERRORED
    assert said in results["kept"].observed
    assert len(watched.statements) == 1


@pytest.mark.parametrize(
    "changes",
    [{"relation": "nowhere"}, {"context": {"habit": "SELECT nothing FROM {table}"}}],
    ids=["no relation", "no context"],
)
def test_what_cannot_be_read_is_errored_throughout(
    watched: Watched, changes: dict[str, Any]
) -> None:
    results = run(watched, row_rule("kept", "n < 0"), **changes)
    assert {r.outcome for r in results.values()} == {Outcome.ERRORED}


def test_context_is_taken_from_what_is_checked(watched: Watched) -> None:
    results = run(
        watched,
        row_rule("largest", "n = getvariable('habit')"),
        row_rule("listed", "list_contains(getvariable('names'), k)"),
        row_rule("unset", "n = getvariable('nothing') OR n = 4"),
        context={
            "habit": "SELECT max(n) FROM {table}",
            "names": "SELECT ['k1', 'it''s']",
            "nothing": "SELECT NULL",
        },
    )
    assert results["largest"].keys == ("k9",)
    assert "n = '9'::BIGINT" in results["largest"].sql
    assert "['k1', 'it''s']" in results["listed"].sql
    assert "n = NULL" in results["unset"].sql
    assert len(watched.connection.execute(results["listed"].sql).fetchall()) == 1


def test_what_is_remembered_of_many_rows_is_bounded(watched: Watched) -> None:
    watched.execute(
        "CREATE TABLE many AS SELECT t.* REPLACE (lpad(range::VARCHAR, 5, '0') AS k) FROM t, range(200)"
    )
    result = run(watched, row_rule("all", "true"), relation="many")["all"]
    assert (result.count, len(result.keys), len(result.sample)) == (2000, 100, MOST_SAMPLED)
    watched.execute(
        "CREATE TABLE more AS SELECT t.* REPLACE (k || '-' || range AS k) FROM t, range(200)"
    )
    result = run(watched, row_rule("all", "true"), relation="more")["all"]
    assert (result.count, len(result.keys), result.checked) == (2000, MOST_KEYS, 2000)


def test_an_empty_table_keeps_every_rule(watched: Watched) -> None:
    results = run(watched, row_rule("any", "true"), relation="(FROM t WHERE false)")
    assert (results["any"].outcome, results["any"].checked) == (Outcome.PASSED, 0)


def test_rows_without_a_key_are_counted(watched: Watched) -> None:
    result = run(watched, row_rule("first", "n < 2"), key="nullif(k, 'k0')")["first"]
    assert (result.count, result.keys) == (2, ("k1",))
    assert "(no key)" in result.observed


def test_the_fingerprint_is_of_what_is_checked() -> None:
    one = suite(row_rule("a", "n < 0"))
    assert (
        one.fingerprint == suite(RowRule("t.a", Severity.WARNING, "", "", "", "n < 0")).fingerprint
    )
    others = [
        suite(row_rule("a", "n < 1")),
        suite(row_rule("b", "n < 0")),
        suite(row_rule("a", "n < 0"), version=2),
        suite(row_rule("a", "n < 0"), key="n"),
        suite(row_rule("a", "n < 0"), columns={"k": "VARCHAR"}),
        suite(row_rule("a", "n < 0"), context={"v": "SELECT 1"}),
        suite(row_rule("a", "n < 0"), query_rule("q", "SELECT 1 AS key")),
    ]
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == len(others) + 1


def test_quiet(watched: Watched, capfd: pytest.CaptureFixture[str]) -> None:
    showing, handlers = warnings.showwarning, [*logging.getLogger().handlers]
    run(watched, row_rule("broken", "n = 3"), row_rule("error", "missing"))
    assert capfd.readouterr() == ("", "")
    assert warnings.showwarning is showing
    assert logging.getLogger().handlers == handlers


_ALONE = """
import sys
touched = []
def note(event, arguments):
    if event.startswith(("socket.connect", "socket.getaddrinfo", "os.mkdir", "subprocess")):
        touched.append((event, arguments))
    elif event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        touched.append((event, arguments[:2]))
from datetime import UTC, datetime
from fluxhero.engine import connect
from fluxhero.integrity.expectations import run_suite, tell_time
from fluxhero.integrity.rules import RowRule, Severity
from fluxhero.integrity.suite import Suite
assert "great_expectations" not in sys.modules
sys.addaudithook(note)
rules = (RowRule("t.a", Severity.ERROR, "", "", "", "n = 3"),)
with connect() as connection:
    tell_time(connection, datetime.now(UTC))
    connection.execute("CREATE TABLE t AS SELECT range AS n FROM range(5)")
    suite = Suite("t", 1, "n", {"n": "BIGINT"}, rules)
    results = run_suite(connection, suite, "t", "t (hot)")
assert [result.count for result in results] == [0, 1], results
assert "great_expectations" in sys.modules
print([each for each in touched if each[1][0] != "/dev/null"])
"""


def test_nothing_is_written_and_nobody_is_called(tmp_path: Path) -> None:
    """Neither a project nor a home folder nor telemetry, whatever the environment says."""
    done = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", _ALONE],
        env={"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
    assert not list(tmp_path.iterdir())
