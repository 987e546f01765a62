"""Keys across the archive: each first version once, and no number missing from a bot's database.

Keys of batches that passed are not read again, except where a new batch may have the same ones.
"""

from collections.abc import Iterator, Sequence

from fluxhero.archive.manifest import Manifest
from fluxhero.engine import literal, one_row, scalar
from fluxhero.integrity import ledger_rules as rules
from fluxhero.integrity.faults import BATCHES, Faults, gather
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
    copies = _copies(ledger, table, every, new)
    ledger.passed(rule.name, [m for m in new if m.batch_id not in copies.batches])
    if not copies.count:
        yield passed(rule, about, checked)
        return
    same = scalar(ledger.connection, "SELECT count(*) FROM faults WHERE equal")
    key, files = ledger.key_sql(table), f"{ledger.scope.workspace.layout.root}/{table}/**/*.parquet"
    yield failed(
        rule,
        about,
        f"{counted(copies.count, 'key')} of {table} {'is' if copies.count == 1 else 'are'} archived more than "
        f"once in the same version: {same:,} with equal values, {copies.count - same:,} with different ones",
        count=copies.count,
        checked=checked,
        keys=copies.keys,
        sample=copies.sample,
        sql=f"SELECT {key} AS key, count(*) AS copies FROM read_parquet({literal(files)}, "
        f"hive_partitioning = false) GROUP BY 1 HAVING count(*) > 1",
    )


def _copies(
    ledger: Ledger, table: str, every: Sequence[Manifest], new: Sequence[Manifest]
) -> Faults:
    """Keys that a new batch has twice, or shares as a first version with another batch.

    Eight bytes a key are held: what shares a hash is looked at again by its key.
    """
    connection, key = ledger.connection, ledger.key_sql(table)
    fresh = [manifest for manifest in new if not manifest.correction]
    known = [m for m in every if not m.correction and m not in fresh]
    near = ledger.sharing_keys(fresh, known)
    with ledger.scope.workspace.scanning([*new, *near]):
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE hashes AS SELECT hash({key}, {_version_sql(new)}) AS hash, "
            f"count(*) AS copies FROM {ledger.scan(new)} GROUP BY 1"
        )
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE suspects AS SELECT hash FROM hashes WHERE copies > 1"
        )
        if near:
            connection.execute(
                f"INSERT INTO suspects SELECT hash({key}, '') AS hash FROM {ledger.scan(near)} "
                f"WHERE hash({key}, '') IN (SELECT hash FROM hashes)"
            )
        connection.execute("DROP TABLE hashes")
        version = _version_sql(new)
        rows = ledger.scan([*new, *near])
        suspect = "IN (SELECT hash FROM suspects)"
        if not scalar(connection, "SELECT count(*) FROM suspects"):
            rows, suspect = ledger.scan(new[:1]), "IS NULL"  # spares reading them once more
        return gather(
            connection,
            f"SELECT {key} AS key, list(DISTINCT {BATCH_ID} ORDER BY {BATCH_ID}) AS {BATCHES}, "
            f"count(*) AS copies, count(DISTINCT {ledger.values_hash_sql(table)}) = 1 AS equal FROM {rows} "
            f"WHERE hash({key}, {version}) {suspect} GROUP BY {key}, {version} HAVING count(*) > 1",
        )


def _version_sql(manifests: Sequence[Manifest]) -> str:
    """SQL of which version of its key a row is: all first ones are the same, each correction is another."""
    corrections = ", ".join(literal(m.batch_id) for m in manifests if m.correction)
    return (
        f"CASE WHEN {BATCH_ID} IN ({corrections}) THEN {BATCH_ID} ELSE '' END"
        if corrections
        else "''"
    )


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
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE gaps AS SELECT id + 1 AS first, next - 1 AS last FROM "
            f"(SELECT id, lead(id) OVER (ORDER BY id) AS next FROM "
            f"(SELECT id FROM numbers WHERE tab = {literal(name)} {archived if batches else ''})) "
            f"WHERE next > id + 1"
        )
    missing = scalar(connection, "SELECT sum(last - first + 1) FROM gaps")
    if not missing:
        return passed(rules.GAPS, about, checked)
    ranges = connection.execute(f"FROM gaps ORDER BY first LIMIT {MOST_KEYS}").fetchall()
    listed = [str(first) if first == last else f"{first}–{last}" for first, last in ranges]
    return failed(
        rules.GAPS,
        about,
        f"{counted(missing, 'number')} of {name} {'is' if missing == 1 else 'are'} neither hot nor archived: "
        f"{', '.join(listed[:10])}{' …' if len(listed) > 10 else ''}",  # noqa: PLR2004
        count=missing,
        checked=checked,
        keys=tuple(f"{name}:{numbers}" for numbers in listed),
        sample=tuple({"first": first, "last": last} for first, last in ranges[:MOST_SAMPLED]),
        sql=f"SELECT trade_id FROM trades WHERE mode = {literal(mode)} ORDER BY trade_id",
    )
