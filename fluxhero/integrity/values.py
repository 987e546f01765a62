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
from fluxhero.integrity.archive_files import ArchiveFiles
from fluxhero.integrity.closed_days import tell_closed_days
from fluxhero.integrity.expectations import run_suite, take_context, tell_time, unchecked
from fluxhero.integrity.passed import Passed
from fluxhero.integrity.results import Outcome, Result, errored, failed, passed
from fluxhero.integrity.row_quarantine import (
    Broken,
    bad_rows,
    breaks_any,
    broken_rules,
    quarantine_rows,
)
from fluxhero.integrity.scope import Scope
from fluxhero.integrity.suite import Suite
from fluxhero.integrity.suites.cash_flows import cash_flows
from fluxhero.integrity.suites.equity import CLOSED_DAYS, equity
from fluxhero.integrity.suites.fills import fills
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
    suites = (trades(scope.pnl_tolerance), orders(), fills(), cash_flows(), equity(), positions())
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
            quarantine_rows(scope, run_id, table, tuple(check.bad.values()))
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
        self._scope, self._connection = scope, connection
        self._table, self._suite = LEDGER_TABLES[table], suite_of(scope, table)
        self._store = scope.workspace.store
        self._origin = origin_columns(self._store, self._table, hot=False)
        version = "\n".join((self._suite.fingerprint, *self._origin))
        self._files = ArchiveFiles(
            scope, table, memory, hashlib.sha256(version.encode()).hexdigest()
        )
        self._hot_is_known = False
        self.bad: dict[str, pa.Table | None] = {}  # rows for the quarantine, by where they are

    def run(self, damaged: Mapping[Path, str]) -> list[Result]:
        """Check hot rows, then archived ones."""
        hot_fault = self._load_hot()
        archived = self._table.name in self._store.archived_tables
        chain, chain_fault = self._chain() if archived else (Chain((), ()), "")
        manifests = chain.of_table(self._table.name)
        self._take_context([*self._files.due(manifests), *manifests[-_RECENT:]], damaged)
        results = self._hot(hot_fault)
        if archived:
            about = f"{self._table.name} (archive)"
            results += (
                unchecked(self._suite, about, chain_fault)
                if chain_fault
                else self._archive(about, manifests, damaged)
            )
        return results

    # ---- hot rows

    def _load_hot(self) -> str:
        """Make `hot_rows`; says why it could not be done, then there are none."""
        name = self._table.name
        self._connection.execute("CREATE SCHEMA hot")
        try:
            self._store.check_there()  # rows of a store that is gone are not known to be sound
            self._store.load(self._connection, name, f"hot.{name}")
            if name == EQUITY.name:
                self._store.load(self._connection, CASH_FLOWS.name, f"hot.{CASH_FLOWS.name}")
        except (StoreLockedError, SourceChangedError):
            raise
        except FluxHeroError as error:
            return str(error)
        origin = origin_columns(self._store, self._table, hot=True)
        rows = own_rows(self._store, self._table, f"hot.{name}", [f"'' AS {BATCH}", *origin])
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

    def _archive(
        self,
        about: str,
        manifests: Sequence[Manifest],
        damaged: Mapping[Path, str],
    ) -> list[Result]:
        """Check what is due; what a damaged file holds cannot be told, what the others hold can."""
        files, due = self._files, self._files.due(manifests)
        drifted = files.drifted(files.without(due, damaged))
        faults = {path: why for path, why in damaged.items() if path in map(files.path, due)}
        unread = {**damaged, **drifted}
        results = self._read(about, files.without(due, unread), files.without(manifests, unread))
        if any(result.outcome is Outcome.ERRORED for result in results):
            found = files.not_as_published(files.without(manifests, unread))
            if found:
                faults |= found
                unread |= found
                results = self._read(
                    about, files.without(due, unread), files.without(manifests, unread)
                )
        why = "; ".join([*faults.values(), *drifted.values()])
        if why:
            results = [
                errored(result.rule, about, why) if result.outcome is Outcome.PASSED else result
                for result in results
            ]
        if drifted and not faults:
            keys = tuple(m.batch_id for m in due if files.path(m) in drifted)
            results[0] = failed(
                self._suite.schema_rule, about, why, count=len(keys), checked=len(due), keys=keys
            )
        return results

    def _read(
        self, about: str, due: Sequence[Manifest], manifests: Sequence[Manifest]
    ) -> list[Result]:
        """Check the rows of files, given all that can be read, and remember those that passed."""
        if not due:
            return [passed(rule, about, 0) for rule in self._suite.every_rule]
        try:
            stamps = self._files.stamps(due)
            self._make_views(due, manifests)
        except (duckdb.Error, FluxHeroError) as error:
            return unchecked(self._suite, about, first_line(error))
        results = self._checked(_CHECKED, about, "archive")
        if all(result.outcome is not Outcome.ERRORED for result in results):
            left = self._not_passed(broken_rules(self._suite, results, _CHECKED))
            self._files.remember([m for m in due if m.batch_id not in left], stamps)
        return results

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

    def _not_passed(self, broken: Broken) -> set[str]:
        """Batches with a row that breaks a rule, or one that was not checked because it is hot."""
        left = f"SELECT {BATCH} FROM {_HIDDEN}"
        if broken:
            left += f" UNION SELECT {BATCH} FROM {_CHECKED} WHERE {breaks_any(broken)}"
        return {str(name) for (name,) in self._connection.execute(left).fetchall()}

    # ---- both

    def _take_context(self, manifests: Sequence[Manifest], damaged: Collection[Path]) -> None:
        """Learn what sources record from hot rows and recent batches, from hot ones alone if need be."""
        names = ", ".join(f'"{name}"' for name in self._table.names)
        hot = f"SELECT {names} FROM {_HOT}" if self._hot_is_known else ""
        sound = {m.batch_id: m for m in self._files.without(manifests, damaged)}
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
        """Run the suite, and list for the quarantine what breaks it; no rule speaks of no rows."""
        if not self._connection.execute(f"SELECT 1 FROM {relation} LIMIT 1").fetchall():
            return [passed(rule, about, 0) for rule in self._suite.every_rule]
        shown = rows_in_view(self._store, self._table, location)
        results = run_suite(
            self._connection, self._suite, relation, about, shown=shown, context_taken=True
        )
        broken = broken_rules(self._suite, results, relation)
        try:
            self.bad[about] = bad_rows(self._connection, self._scope, self._suite, broken, relation)
        except duckdb.Error as error:
            logger.warning("%s: rows were not copied into quarantine: %s", about, first_line(error))
        return [in_view(self._store, self._table, result, shown) for result in results]
