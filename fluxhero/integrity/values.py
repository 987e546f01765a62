"""Checking the values of a ledger table, on the hot store and in the archive, with the table's suite.

Hot rows are checked every time. Archived ones are checked as the view shows them: of each key the
latest version, and none that is hot. An archive file that is unchanged since all its rows passed is not
read again; one with a row that breaks a rule is, so that what was found stays found.
"""

import hashlib
import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa

from fluxhero.archive.identity import check_owner
from fluxhero.archive.manifest import Chain, Manifest
from fluxhero.engine import connect, one_row, scalar
from fluxhero.errors import FluxHeroError, SourceChangedError, StoreLockedError, first_line
from fluxhero.integrity.closed_days import tell_closed_days
from fluxhero.integrity.expectations import run_suite, take_context, tell_time, unchecked
from fluxhero.integrity.passed import Passed, Stamp
from fluxhero.integrity.results import Outcome, Result, errored, passed
from fluxhero.integrity.row_quarantine import bad_rows, breaks_any, broken_rules, quarantine_rows
from fluxhero.integrity.scope import Scope
from fluxhero.integrity.suite import Suite
from fluxhero.integrity.suites.cash_flows import cash_flows
from fluxhero.integrity.suites.equity import CLOSED_DAYS, equity
from fluxhero.integrity.suites.orders import orders
from fluxhero.integrity.suites.parts import BATCH, EARLIEST, LATEST
from fluxhero.integrity.suites.positions import positions
from fluxhero.integrity.suites.trades import trades
from fluxhero.integrity.written import in_view, origin_columns, own_rows, rows_in_view
from fluxhero.ledger.schema import CASH_FLOWS, EQUITY, LEDGER_TABLES
from fluxhero.ledger.view import latest_sql

logger = logging.getLogger(__name__)

_HOT, _ARCHIVED, _HIDDEN, _CHECKED = "hot_rows", "archived_rows", "hidden_keys", "checked_rows"
_RECENT = 12  # batches whose rows, beside those that are checked, say what a source records


def suite_of(scope: Scope, table: str) -> Suite:
    """The suite of a ledger table."""
    suites = (trades(scope.pnl_tolerance), orders(), cash_flows(), equity(), positions())
    return next(suite for suite in suites if suite.table == table)


def check_values(
    scope: Scope,
    table: str,
    memory: Passed,
    *,
    run_id: str | None = None,
    damaged: Mapping[Path, str] | None = None,
) -> list[Result]:
    """Check a table's rows wherever they are.

    Args:
        scope: what to check, and how closely.
        table: a ledger table.
        memory: what passed before; what passes now is recorded there.
        run_id: of the run under which rows that break a rule are copied into quarantine; without it
            none is.
        damaged: archive files already known to be damaged, and why: they are not read.

    Returns:
        One result for each rule and place: `{table} (hot)`, and `{table} (archive)` if it is archived.

    Raises:
        StoreLockedError: another process holds the hot store.
        SourceChangedError: the hot store was rebuilt while it was read.
        StorageIOError: rows could not be copied into quarantine.
    """
    with connect(temp_dir=scope.data_dir / "tmp") as connection:
        connection.execute("SET python_enable_replacements = false")
        tell_time(connection, scope.now)
        check = _Check(scope, table, memory, connection)
        results = check.run(damaged or {})
        if run_id is not None:
            quarantine_rows(scope, run_id, table, check.bad)
    return results


class _Check:
    """One check of one table, on one connection."""

    def __init__(
        self,
        scope: Scope,
        table: str,
        memory: Passed,
        connection: duckdb.DuckDBPyConnection,
    ) -> None:
        self._scope, self._memory, self._connection = scope, memory, connection
        self._table, self._suite = LEDGER_TABLES[table], suite_of(scope, table)
        self._store = scope.workspace.store
        self._origin = origin_columns(self._store, self._table)
        self._hot_is_known = False
        self.bad: list[pa.Table | None] = []

    def run(self, damaged: Mapping[Path, str]) -> list[Result]:
        """Check hot rows, then archived ones."""
        hot_fault = self._load_hot()
        archived = self._table.name in self._store.archived_tables
        chain, chain_fault = self._chain() if archived else (Chain((), ()), "")
        manifests = chain.of_table(self._table.name)
        due = [manifest for manifest in manifests if not self._has_passed(manifest)]
        self._take_context([*due, *manifests[-_RECENT:]], damaged)
        results = self._hot(hot_fault)
        if archived:
            about = f"{self._table.name} (archive)"
            results += (
                unchecked(self._suite, about, chain_fault)
                if chain_fault
                else self._archive(about, due, manifests, damaged)
            )
        return results

    # ---- hot rows

    def _load_hot(self) -> str:
        """Make `hot_rows`; says why it could not be done, then there are none."""
        name = self._table.name
        self._connection.execute("CREATE SCHEMA hot")
        try:
            self._store.load(self._connection, name, f"hot.{name}")
            if name == EQUITY.name:
                self._store.load(self._connection, CASH_FLOWS.name, f"hot.{CASH_FLOWS.name}")
        except (StoreLockedError, SourceChangedError):
            raise
        except FluxHeroError as error:
            return str(error)
        rows = own_rows(self._store, self._table, f"hot.{name}", [f"'' AS {BATCH}", *self._origin])
        self._connection.execute(f"CREATE VIEW {_HOT} AS {rows}")
        self._hot_is_known = True
        return ""

    def _hot(self, fault: str) -> list[Result]:
        about = f"{self._table.name} (hot)"
        if fault:
            return unchecked(self._suite, about, fault)
        if self._table.name == EQUITY.name:
            tell_closed_days(self._connection, CLOSED_DAYS, self._scope.exchange, *self._days())
        return self._checked(_HOT, about, "hot")

    def _days(self) -> tuple[date, date]:
        """The first and the last day of the account's value, as far as they can be true."""
        first, last = one_row(
            self._connection,
            f'SELECT min("at")::DATE, max("at")::DATE FROM {_HOT} '
            f'WHERE "at" BETWEEN {EARLIEST} AND {LATEST}',
        )
        return (first, last) if first else (self._scope.now.date(), self._scope.now.date())

    # ---- archived rows

    def _chain(self) -> tuple[Chain, str]:
        """The archive's manifests, or why they cannot be used; after the hot rows, never before."""
        workspace = self._scope.workspace
        try:
            check_owner(workspace.layout, self._store)
            return workspace.chain(), ""
        except StoreLockedError:
            raise
        except FluxHeroError as error:
            return Chain((), ()), str(error)

    def _path(self, manifest: Manifest) -> Path:
        return self._scope.workspace.layout.root / manifest.file.path

    @property
    def _kind(self) -> str:
        return f"values:{self._table.name}"

    @property
    def _version(self) -> str:
        parts = (self._suite.fingerprint, *self._origin)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _has_passed(self, manifest: Manifest) -> bool:
        if self._scope.deep:
            return False
        return self._memory.at(self._kind, self._path(manifest), self._version) is not None

    def _archive(
        self,
        about: str,
        due: Sequence[Manifest],
        manifests: Sequence[Manifest],
        damaged: Mapping[Path, str],
    ) -> list[Result]:
        """Check what is due; what a damaged file holds cannot be told, what the others hold can."""
        faults = {path: damaged[path] for path in map(self._path, due) if path in damaged}
        stamps, results = self._read(about, due, manifests, {**damaged, **faults})
        if any(result.outcome is Outcome.ERRORED for result in results):
            found = self._prove([m for m in manifests if self._path(m) not in damaged])
            if found:
                faults |= found
                stamps, results = self._read(about, due, manifests, {**damaged, **faults})
        if not faults:
            self._remember(stamps, results)
            return results
        why = "; ".join(faults.values())
        return [
            errored(result.rule, about, why) if result.outcome is Outcome.PASSED else result
            for result in results
        ]

    def _read(
        self,
        about: str,
        due: Sequence[Manifest],
        manifests: Sequence[Manifest],
        faulty: Collection[Path],
    ) -> tuple[dict[str, tuple[Path, Stamp]], list[Result]]:
        """Check the rows of sound files; returns what the files were before, too."""
        sound = [m for m in due if self._path(m) not in faulty]
        if not sound:
            return {}, [passed(rule, about, 0) for rule in self._suite.every_rule]
        try:
            stamps = {m.batch_id: (self._path(m), Stamp.of(self._path(m))) for m in sound}
            self._make_views(sound, [m for m in manifests if self._path(m) not in faulty])
        except (duckdb.Error, FluxHeroError) as error:
            return {}, unchecked(self._suite, about, first_line(error))
        return stamps, self._checked(_CHECKED, about, "archive")

    def _make_views(self, due: Sequence[Manifest], manifests: Sequence[Manifest]) -> None:
        """Make `archived_rows`, `hidden_keys` (those that are hot) and `checked_rows`."""
        key = self._table.key[0]
        rows = latest_sql(
            self._scope.workspace, self._table, due, among=manifests, carried=self._origin
        )
        hidden = "WHERE false"
        if self._hot_is_known and scalar(self._connection, f"SELECT count(*) FROM {_HOT}"):
            hidden = f"SEMI JOIN {_HOT} USING ({key})"
        for sql in (
            f"CREATE OR REPLACE VIEW {_ARCHIVED} AS {rows}",
            f"CREATE OR REPLACE TABLE {_HIDDEN} AS SELECT {key}, {BATCH} FROM {_ARCHIVED} {hidden}",
            f"CREATE OR REPLACE VIEW {_CHECKED} AS FROM {_ARCHIVED} ANTI JOIN {_HIDDEN} USING ({key})",
        ):
            self._connection.execute(sql)

    def _prove(self, manifests: Sequence[Manifest]) -> dict[Path, str]:
        """The files that are not the published ones, and what is wrong with each."""
        faults = {}
        for manifest in manifests:
            try:
                self._scope.workspace.prove_file(manifest)
            except FluxHeroError as error:
                faults[self._path(manifest)] = error.what
        return faults

    def _remember(
        self, stamps: Mapping[str, tuple[Path, Stamp]], results: Sequence[Result]
    ) -> None:
        """Record the files of which every row was checked and none breaks a rule."""
        if not stamps or any(result.outcome is Outcome.ERRORED for result in results):
            return
        broken = broken_rules(self._suite, results, _CHECKED)
        left = f"SELECT {BATCH} FROM {_HIDDEN}"
        if broken:
            left += f" UNION SELECT {BATCH} FROM {_CHECKED} WHERE {breaks_any(broken)}"
        not_passed = {name for (name,) in self._connection.execute(left).fetchall()}
        for batch_id, (path, stamp) in stamps.items():
            if batch_id not in not_passed:
                self._memory.record(self._kind, path, stamp, self._scope.now, self._version)

    # ---- both

    def _take_context(self, manifests: Sequence[Manifest], damaged: Collection[Path]) -> None:
        """Learn what sources record from hot rows and recent batches, from hot ones alone if need be."""
        names = ", ".join(f'"{name}"' for name in self._table.names)
        hot = f"SELECT {names} FROM {_HOT}" if self._hot_is_known else ""
        sound = {m.batch_id: m for m in manifests if self._path(m) not in damaged}
        wholes = [hot] if hot else []
        if sound:
            latest = latest_sql(self._scope.workspace, self._table, list(sound.values()))
            wholes.insert(0, " UNION ALL ".join([*wholes, f"SELECT {names} FROM ({latest})"]))
        for whole in wholes:
            try:
                take_context(self._connection, self._suite, f"({whole})")
            except duckdb.Error as error:
                logger.info("what sources record is not known: %s", first_line(error))
            else:
                return

    def _checked(self, relation: str, about: str, location: str) -> list[Result]:
        """Run the suite, and list for the quarantine what breaks it."""
        shown = rows_in_view(self._store, self._table, location)
        results = run_suite(
            self._connection, self._suite, relation, about, shown=shown, context_taken=True
        )
        broken = broken_rules(self._suite, results, relation)
        try:
            self.bad.append(bad_rows(self._connection, self._scope, self._suite, broken, relation))
        except duckdb.Error as error:
            logger.warning("%s: rows were not copied into quarantine: %s", about, first_line(error))
        return [in_view(self._store, self._table, result) for result in results]
