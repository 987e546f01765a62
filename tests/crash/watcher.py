"""A reader that looks through the product's view all the time and remembers every wrong picture.

`expected` is a file with one digest a key: what the view showed when nothing was going on. Whatever a
run does or leaves half done, each look must show the same keys, once each, with the same values.
"""

import json
import time
from pathlib import Path

from config.loading import load_settings
from fluxhero.archive.workspace import Workspace
from fluxhero.errors import TransientError
from fluxhero.ledger.view import open_view

PAUSE_SECONDS = 0.02  # a DuckDB store admits one process at a time: leave it room


def digests(workspace: Workspace) -> dict[str, list[int]]:
    """Key → hashes of the rows that the view shows for it (one row, if all is well)."""
    shown: dict[str, list[int]] = {}
    tables = workspace.store.archived_tables
    with open_view(workspace, tables) as view:
        for table in tables:
            columns = ", ".join(workspace_columns(table))
            key = "trade_id" if table == "trades" else "order_id"
            rows = view.execute(f"SELECT {key}, hash({columns}) FROM {table}").fetchall()
            for value, digest in rows:
                shown.setdefault(f"{table}/{value}", []).append(digest)
    return shown


def workspace_columns(table: str) -> list[str]:
    from fluxhero.ledger.schema import LEDGER_TABLES

    return [f'"{name}"::VARCHAR' for name in LEDGER_TABLES[table].names]


def watch(stop: Path, output: Path, expected: str) -> None:
    """Look until the file `stop` appears; write what was seen to `output`."""
    workspace = Workspace.of(load_settings(env_file=None))
    truth = {key: [digest] for key, digest in json.loads(Path(expected).read_text()).items()}
    looks = refused = 0
    wrong: list[str] = []
    while True:
        last = stop.exists()
        try:
            shown = digests(workspace)
        except TransientError:
            refused += 1
        else:
            looks += 1
            if shown != truth:
                wrong.append(describe(shown, truth))
        if last:
            break
        time.sleep(PAUSE_SECONDS)
    output.write_text(json.dumps({"looks": looks, "refused": refused, "wrong": wrong[:5]}))


def describe(shown: dict[str, list[int]], truth: dict[str, list[int]]) -> str:
    """Say in a line how two pictures differ."""
    missing = sorted(truth.keys() - shown.keys())
    doubled = sorted(key for key, found in shown.items() if len(found) > 1)
    other = sorted(k for k in truth.keys() & shown.keys() if shown[k] != truth[k])
    strange = sorted(shown.keys() - truth.keys())
    return (
        f"{len(missing)} missing {missing[:2]}, {len(doubled)} doubled {doubled[:2]}, "
        f"{len(other)} with other values {other[:2]}, {len(strange)} unknown {strange[:2]}"
    )
