"""Keys across the archive: each first version once, and no number missing from a bot's database.

Keys of batches that passed are not read again, except where a new batch may have the same ones.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from fluxhero.archive.manifest import Manifest
from fluxhero.engine import literal, one_row, scalar
from fluxhero.integrity import ledger_rules as rules
from fluxhero.integrity.ledger import Ledger
from fluxhero.integrity.results import MOST_KEYS, MOST_SAMPLED, Result, failed, passed
from fluxhero.ledger.rows import TABLE
from fluxhero.ledger.schema import TRADES
from fluxhero.ledger.sqlite_schema import MODES
from fluxhero.ledger.view import BATCH_ID
from fluxhero.wording import counted


def check_keys_once(ledger: Ledger, table: str) -> Iterator[Result]:
    """`ledger.key-once`: across first versions, and within each file."""
    rule, about = rules.KEY_ONCE, f"{table} (archive)"
    every = ledger.chain.of_table(table)
    checked = sum(manifest.file.rows for manifest in every)
    new = ledger.new(rule.name, every)
    if not new:
        yield passed(rule, about, checked)
        return
    firsts = [manifest for manifest in every if not manifest.correction]
    fresh = [manifest for manifest in new if not manifest.correction]
    copies = _copies(ledger, table, fresh, [m for m in firsts if m not in fresh])
    copies += _copies_within(ledger, table, [m for m in new if m.correction])
    at_fault = {batch for copy in copies for batch in copy["batches"]}
    ledger.passed(rule.name, [m for m in new if m.batch_id not in at_fault])
    if not copies:
        yield passed(rule, about, checked)
        return
    same = sum(1 for copy in copies if copy["equal"])
    key, files = ledger.key_sql(table), f"{ledger.scope.workspace.layout.root}/{table}/**/*.parquet"
    yield failed(
        rule,
        about,
        f"{counted(len(copies), 'key')} of {table} {'is' if len(copies) == 1 else 'are'} archived more than "
        f"once as a first version: {same:,} with equal values, {len(copies) - same:,} with different ones",
        count=len(copies),
        checked=checked,
        keys=tuple(copy["key"] for copy in copies[:MOST_KEYS]),
        sample=tuple(copies[:MOST_SAMPLED]),
        sql=f"SELECT {key} AS key, count(*) AS copies FROM read_parquet({literal(files)}, "
        f"hive_partitioning = false) GROUP BY 1 HAVING count(*) > 1",
    )


def _copies(
    ledger: Ledger, table: str, fresh: Sequence[Manifest], known: Sequence[Manifest]
) -> list[dict[str, Any]]:
    """Keys that a fresh batch shares with itself, another fresh one or a known one.

    Eight bytes a key are held: what shares a hash is looked at again by its key.
    """
    if not fresh:
        return []
    connection, key = ledger.connection, ledger.key_sql(table)
    near = ledger.sharing_keys(fresh, known)
    with ledger.scope.workspace.scanning([*fresh, *near]):
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE hashes AS SELECT hash({key}) AS hash, count(*) AS copies "
            f"FROM {ledger.scan(fresh)} GROUP BY 1"
        )
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE suspects AS SELECT hash FROM hashes WHERE copies > 1"
        )
        if near:
            connection.execute(
                f"INSERT INTO suspects SELECT hash({key}) AS hash FROM {ledger.scan(near)} "
                f"WHERE hash({key}) IN (SELECT hash FROM hashes)"
            )
        connection.execute("DROP TABLE hashes")
        if not scalar(connection, "SELECT count(*) FROM suspects"):
            return []
        return _listed(
            ledger, table, [*fresh, *near], f"hash({key}) IN (SELECT hash FROM suspects)"
        )


def _copies_within(
    ledger: Ledger, table: str, corrections: Sequence[Manifest]
) -> list[dict[str, Any]]:
    """Keys that a single file of corrections has more than once."""
    found = []
    for manifest in corrections:
        with ledger.scope.workspace.scanning([manifest]):
            found += _listed(ledger, table, [manifest], "true")
    return found


def _listed(
    ledger: Ledger, table: str, manifests: Sequence[Manifest], condition: str
) -> list[dict[str, Any]]:
    rows = ledger.connection.execute(
        f"SELECT {ledger.key_sql(table)} AS key, list(DISTINCT {BATCH_ID} ORDER BY {BATCH_ID}), count(*), "
        f"count(DISTINCT {ledger.values_hash_sql(table)}) = 1 FROM {ledger.scan(manifests)} "
        f"WHERE {condition} GROUP BY 1 HAVING count(*) > 1 ORDER BY 1"
    ).fetchall()
    return [
        {"key": key, "batches": batches, "copies": copies, "equal": equal}
        for key, batches, copies, equal in rows
    ]


def check_gaps(ledger: Ledger) -> Iterator[Result]:
    """`ledger.gaps`: numbers of a FluxHero table that are neither hot nor archived.

    A file that was deleted and began again at 1 hides no number and lacks none: what counts is
    whether any trade ever had it.
    """
    rule = rules.GAPS
    if ledger.scope.workspace.store.kind != "sqlite":
        yield passed(rule, f"{TRADES.name} (hot and archive)", checked=0)
        return
    ledger.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE numbers AS SELECT split_part(trade_id, ':', 1) AS tab, "
        f"split_part(trade_id, ':', 2)::BIGINT AS id, trade_id FROM hot.{TRADES.name}"
    )
    for name, mode in MODES.items():
        yield _gaps_of(ledger, name, mode)


def _hot_alone(
    ledger: Ledger, name: str, batches: Sequence[Manifest]
) -> tuple[int, int | None, int | None]:
    """How many hot rows of a table the archive has not, and the first and last number of all hot ones."""
    near = ledger.holding_keys(
        TRADES.name, f"SELECT trade_id AS key FROM numbers WHERE tab = {literal(name)}"
    )
    archived = (
        f"SELECT {ledger.key_sql(TRADES.name)} FROM {ledger.scan(near)}"
        if near
        else "SELECT NULL WHERE false"
    )
    with ledger.scope.workspace.scanning(batches):
        alone, first, last = one_row(
            ledger.connection,
            f"SELECT count(*) FILTER (trade_id NOT IN ({archived})), min(id), max(id) "
            f"FROM numbers WHERE tab = {literal(name)}",
        )
    return int(alone), first, last


def _gaps_of(ledger: Ledger, name: str, mode: str) -> Result:
    about, connection = f"{name} (hot and archive)", ledger.connection
    batches = [m for m in ledger.chain.of_table(TRADES.name) if m.mode == mode]
    rows = sum(m.file.rows for m in batches if not m.correction)
    ends = [int(key.split(":")[1]) for m in batches for key in (m.file.first_key, m.file.last_key)]
    alone, first, last = _hot_alone(ledger, name, batches)
    ends += [number for number in (first, last) if number is not None]
    checked = rows + alone
    if not ends or checked == max(ends) - min(ends) + 1:
        return passed(rules.GAPS, about, checked)
    archived = f"UNION SELECT id FROM {ledger.scan(batches)} WHERE {TABLE} = {literal(name)}"
    with ledger.scope.workspace.scanning(batches):
        ranges = connection.execute(
            f"SELECT id + 1, next - 1 FROM (SELECT id, lead(id) OVER (ORDER BY id) AS next FROM "
            f"(SELECT id FROM numbers WHERE tab = {literal(name)} {archived if batches else ''})) "
            f"WHERE next > id + 1 ORDER BY 1"
        ).fetchall()
    if not ranges:
        return passed(rules.GAPS, about, checked)
    missing = sum(last - first + 1 for first, last in ranges)
    listed = [str(first) if first == last else f"{first}–{last}" for first, last in ranges]
    return failed(
        rules.GAPS,
        about,
        f"{counted(missing, 'number')} of {name} {'is' if missing == 1 else 'are'} neither hot nor archived: "
        f"{', '.join(listed[:10])}{' …' if len(listed) > 10 else ''}",  # noqa: PLR2004
        count=missing,
        checked=checked,
        keys=tuple(f"{name}:{numbers}" for numbers in listed[:MOST_KEYS]),
        sample=tuple({"first": first, "last": last} for first, last in ranges[:MOST_SAMPLED]),
        sql=f"SELECT trade_id FROM trades WHERE mode = {literal(mode)} ORDER BY trade_id",
    )
