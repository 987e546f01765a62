"""Bringing archived rows back into the hot store: the inverse of archiving, with the same care."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from fluxhero.archive.batches import as_utc
from fluxhero.archive.files import read_rows
from fluxhero.archive.holds import Hold, add_holds, withdraw_holds
from fluxhero.archive.manifest import Chain, Event, EventKind, Manifest, write_event
from fluxhero.archive.workspace import Workspace
from fluxhero.engine import connect, literal, moment, scratch
from fluxhero.errors import BadInputError, FluxHeroError, VerificationError
from fluxhero.ledger.lookup import look_up, noun, whole_keys
from fluxhero.ledger.rows import ARCHIVED_AT, CLOSED_AT, ROW_HASH, row_hash_sql

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to bring back: some trades, one batch, or whatever was closed in a time range.

    Several of these together narrow each other.
    """

    table: str = "trades"
    keys: tuple[str, ...] = ()
    batch_id: str | None = None
    closed_from: datetime | None = None
    closed_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class Restorable:
    """Rows found in the archive, by the batch of their latest version.

    Attributes:
        table: the ledger table.
        keys: batch id → keys.
    """

    table: str
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did.

    Attributes:
        restored: keys inserted.
        already_hot: keys that were there, identical.
        refused: keys whose hot row differs from the archive, or whose place another row has.
    """

    restored: tuple[str, ...] = ()
    already_hot: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def plus(self, other: "Restored") -> "Restored":
        """Both together."""
        return Restored(
            self.restored + other.restored,
            self.already_hot + other.already_hot,
            self.refused + other.refused,
        )


def find(workspace: Workspace, chain: Chain, wanted: Wanted) -> Restorable:
    """Look up the latest archived versions of what is wanted.

    Ids are read as `whole_keys` does, among the rows that are wanted otherwise.

    Raises:
        BadInputError: nothing is wanted, or something wanted cannot be or is not in the archive.
        DamagedFileError: a file of the archive is not the one that was published.
    """
    if not (wanted.keys or wanted.batch_id or wanted.closed_from or wanted.closed_to):
        raise BadInputError(
            "nothing to restore was named",
            next_step="give --trade, --batch, or --from and --to (trade_ids, batch_id, closed_from and "
            "closed_to of a flow run)",
        )
    if wanted.closed_from and wanted.closed_to:
        _check_range(as_utc(wanted.closed_from), as_utc(wanted.closed_to))
    table = wanted.table
    if wanted.batch_id:
        manifest = chain.get(wanted.batch_id)
        if manifest is None:
            raise BadInputError(
                f"the archive has no batch {wanted.batch_id}",
                next_step="list them with `fluxhero status --batches`",
            )
        table = manifest.table
    manifests = chain.of_table(table)
    for manifest in manifests:  # a damaged one could hide the latest version of a row
        workspace.prove_file(manifest)
    rows = _latest_versions(workspace, manifests, table, wanted) if manifests else []
    by_path = {str(workspace.layout.root / m.file.path): m.batch_id for m in manifests}
    batches = {key: by_path[path] for key, path in rows if wanted.batch_id in {None, by_path[path]}}
    chosen: Iterable[str] = batches
    if wanted.keys:
        nobody = f"the archive has no {noun(table)}"
        chosen = whole_keys(wanted.keys, batches, nobody, look_up(table))
    found: dict[str, list[str]] = defaultdict(list)
    for key in chosen:
        found[batches[key]].append(key)
    return Restorable(table, {batch: tuple(sorted(keys)) for batch, keys in sorted(found.items())})


def _check_range(closed_from: datetime, closed_to: datetime) -> None:
    if closed_from >= closed_to:
        raise BadInputError(
            f"nothing was closed from {closed_from} on and before {closed_to}",
            next_step="give a --from that is earlier than --to",
        )


def _latest_versions(
    workspace: Workspace, manifests: Sequence[Manifest], table: str, wanted: Wanted
) -> list[tuple[str, str]]:
    """(key, path of the file with its latest version), of keys that a wanted beginning could mean.

    What depends on a version is asked of the latest one only: a correction may have moved the close
    time into the range or out of it.
    """
    files = ", ".join(literal(str(workspace.layout.root / m.file.path)) for m in manifests)
    versions = f"read_parquet([{files}], filename = true, hive_partitioning = false)"
    key = workspace.store.key_sql(table)
    conditions = ["true"]
    if wanted.keys:
        begins = " OR ".join(f"starts_with({key}, {literal(start)})" for start in wanted.keys)
        conditions.append(f"({begins})")
    if wanted.batch_id:
        path = next(m.file.path for m in manifests if m.batch_id == wanted.batch_id)
        chosen = f"SELECT {key} FROM read_parquet({literal(str(workspace.layout.root / path))})"
        conditions.append(f"{key} IN ({chosen})")
    latest = "true"
    if in_range := _closed_within(wanted, CLOSED_AT):
        conditions.append(f"{key} IN (SELECT {key} FROM {versions} WHERE {in_range})")
        latest = _closed_within(wanted, f"arg_max({CLOSED_AT}, {ARCHIVED_AT})")
    with connect(temp_dir=workspace.data_dir / "tmp") as engine:
        rows: list[tuple[str, str]] = engine.execute(
            f"SELECT {key} AS key, arg_max(filename, {ARCHIVED_AT}) FROM {versions} "
            f"WHERE {' AND '.join(conditions)} GROUP BY 1 HAVING {latest} ORDER BY 1"
        ).fetchall()
    return rows


def _closed_within(wanted: Wanted, closed: str) -> str:
    """SQL of whether this close time is a wanted one; empty when any is."""
    bounds = []
    if wanted.closed_from:
        bounds.append(f"{closed} >= {moment(wanted.closed_from)}")
    if wanted.closed_to:
        bounds.append(f"{closed} < {moment(wanted.closed_to)}")
    return " AND ".join(bounds)


def restore(
    workspace: Workspace,
    chain: Chain,
    restorable: Restorable,
    *,
    reason: str,
    now: datetime,
    hold_until: datetime,
) -> Restored:
    """Verify the files, put the rows on hold, insert those that are not hot, and read them back.

    The hold comes before the insert, so that no archive run can take a row away again, wherever this
    one ends. A row that is refused or could not be inserted is not put on hold by it; a hold that it
    had before stays as it was. Restoring twice changes nothing. The caller has the archive's lock.

    Raises:
        DamagedFileError: a file is not the one that was published; nothing was restored.
        VerificationError: a row read back from the store is not the archived one.
    """
    manifests = {batch: _manifest(chain, batch) for batch in restorable.keys}
    for manifest in manifests.values():
        workspace.prove_file(manifest)
    result = Restored()
    for batch, keys in restorable.keys.items():
        done = _compare(workspace, manifests[batch], keys)
        staying = (*done.restored, *done.already_hot)
        added = add_holds(
            workspace.layout.holds,
            restorable.table,
            staying,
            reason=reason,
            at=now,
            until=hold_until,
        )
        try:
            _insert(workspace, manifests[batch], done.restored)
        except FluxHeroError:
            _withdraw_idle_holds(workspace, manifests[batch].table, added)
            raise
        _record(workspace, chain, manifests[batch], done, reason, now)
        result = result.plus(done)
    return result


def preview(workspace: Workspace, chain: Chain, restorable: Restorable) -> Restored:
    """What restoring these rows would come to, as the store stands; changes nothing."""
    result = Restored()
    for batch, keys in restorable.keys.items():
        result = result.plus(_compare(workspace, _manifest(chain, batch), keys))
    return result


def _manifest(chain: Chain, batch_id: str) -> Manifest:
    manifest = chain.get(batch_id)
    if manifest is None:
        raise BadInputError(
            f"the archive has no batch {batch_id}", next_step="plan the restore again"
        )
    return manifest


def _compare(workspace: Workspace, manifest: Manifest, keys: Sequence[str]) -> Restored:
    """What restoring these keys will come to, as the store stands; changes nothing."""
    store, table = workspace.store, manifest.table
    hot = _hot_hashes(workspace, table, keys)
    archived = _hashes(workspace, table, _rows_of(workspace, manifest, list(hot))) if hot else {}
    absent = [key for key in keys if key not in hot]
    taken = dict.fromkeys(store.occupied(table, absent))
    return Restored(
        restored=tuple(key for key in absent if key not in taken),
        already_hot=tuple(key for key in hot if hot[key] == archived[key]),
        refused=(*(key for key in hot if hot[key] != archived[key]), *taken),
    )


def _insert(workspace: Workspace, manifest: Manifest, keys: Sequence[str]) -> None:
    """Insert archived rows and read them back.

    Raises:
        VerificationError: a row read back is not the archived one.
    """
    if not keys:
        return
    store, table = workspace.store, manifest.table
    rows = _rows_of(workspace, manifest, keys)
    expected = _hashes(workspace, table, rows)
    store.insert(table, rows)
    found = _hot_hashes(workspace, table, keys)
    if wrong := [key for key in keys if found.get(key) != expected[key]]:
        raise VerificationError(
            f"{len(wrong)} restored rows read back from {store.path} are not the archived ones, among them "
            f"{', '.join(wrong[:3])}",
            next_step="the archive still has them; compare the store's columns with the archive's",
        )


def _withdraw_idle_holds(workspace: Workspace, table: str, added: Sequence[Hold]) -> None:
    """After an insert that failed: take back the holds of rows that are not in the store.

    Some may be, for an insert of many rows is several transactions. Where nobody can tell, the holds
    stay: one too many only keeps a row hot, while one too few lets it go.
    """
    try:
        hot = _hot_hashes(workspace, table, [hold.trade_id for hold in added])
        withdraw_holds(workspace.layout.holds, [hold for hold in added if hold.trade_id not in hot])
    except FluxHeroError as error:
        logger.warning("the holds of rows that were not restored stay: %s", error)


def _rows_of(workspace: Workspace, manifest: Manifest, keys: Sequence[str]) -> pa.Table:
    own = workspace.store.own_schema(manifest.table)
    key = workspace.store.key_sql(manifest.table, "r.")
    with scratch() as engine:
        engine.register("archived", read_rows(workspace.layout.root / manifest.file.path))
        engine.register("keys", pa.table({"key": pa.array(keys, pa.string())}))
        names = ", ".join(f"r.{name}" for name in own.names)
        rows = engine.sql(
            f"SELECT {names}, r._table, r.{ROW_HASH} FROM archived r SEMI JOIN keys ON {key} = keys.key"
        ).to_arrow_table()
    return rows.cast(
        pa.schema([*own, pa.field("_table", pa.string()), pa.field(ROW_HASH, pa.uint64())])
    )


def _hot_hashes(workspace: Workspace, table: str, keys: Sequence[str]) -> dict[str, int | None]:
    """Key → hash of the rows that are hot; None for one with a value that cannot be read as it is."""
    with scratch() as engine:
        engine.register("hot", workspace.store.fetch(table, keys))
        found = engine.execute(
            f"SELECT {workspace.store.key_sql(table)}, {ROW_HASH} FROM hot"
        ).fetchall()
    return {str(key): None if value is None else int(value) for key, value in found}


def _hashes(workspace: Workspace, table: str, rows: pa.Table) -> dict[str, int]:
    """Key → hash of the row's values, computed by this engine."""
    with scratch() as engine:
        engine.register("hashed", rows)
        key = workspace.store.key_sql(table)
        sql = row_hash_sql(workspace.store.own_schema(table))
        return {
            str(k): int(v) for k, v in engine.execute(f"SELECT {key}, {sql} FROM hashed").fetchall()
        }


def _record(
    workspace: Workspace,
    chain: Chain,
    manifest: Manifest,
    done: Restored,
    reason: str,
    now: datetime,
) -> None:
    """Write the restore event, unless an earlier run that was killed has restored and recorded all."""
    recorded = {k for e in chain.events(manifest.batch_id, EventKind.RESTORED) for k in e.keys}
    keys = done.restored + tuple(key for key in done.already_hot if key not in recorded)
    if not keys:
        return
    event = Event(
        kind=EventKind.RESTORED,
        batch_id=manifest.batch_id,
        manifest_sha256=manifest.sha256,
        at=now,
        rows=len(keys),
        keys=keys,
        reason=reason,
    )
    write_event(workspace.layout, chain, event)
