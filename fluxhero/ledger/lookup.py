"""Trades and orders by their ids, as people type them."""

from collections.abc import Collection, Sequence
from shlex import quote

from fluxhero.archive.workspace import Workspace
from fluxhero.errors import BadInputError
from fluxhero.ledger.schema import LEDGER_TABLES
from fluxhero.ledger.sqlite_meaning import split_key
from fluxhero.ledger.view import LOCATION, open_view

_MOST_LISTED = 3


def noun(table: str) -> str:
    """What a row of this table is called: "trade", "order"."""
    return table.removesuffix("s")


def look_up(table: str) -> str:
    """What to do about an id of the table that nobody has."""
    key = LEDGER_TABLES[table].key[0]
    return f'look it up: fluxhero query "SELECT {key}, symbol, status FROM {table}"'


def hot_ids(workspace: Workspace, table: str, typed: Sequence[str]) -> list[str]:
    """The hot rows that these ids mean, as `whole_keys` reads them.

    Raises:
        BadInputError: there is none, or there are several, or it is in the archive only.
    """
    key = LEDGER_TABLES[table].key[0]
    places: dict[str, str] = {}
    with open_view(workspace, [table]) as view:
        for beginning in typed:
            places |= view.execute(
                f"SELECT {key}, {LOCATION} FROM {table} WHERE starts_with({key}, ?) ORDER BY 1",
                [beginning],
            ).fetchall()
    keys = whole_keys(typed, places, f"the ledger has no {noun(table)}", look_up(table))
    for found in keys:
        if places[found] == "archive":
            other = "" if table == "trades" else f"--table {table} "
            raise BadInputError(
                f"the {noun(table)} {found} is archived and not in the hot store",
                next_step=f"`fluxhero restore {other}--trade {quote(found)}` brings it back and holds it",
            )
    return keys


def whole_keys(typed: Sequence[str], keys: Collection[str], nobody: str, advice: str) -> list[str]:
    """For each id that was typed the one key that it means.

    That is the key that it is. Only of a FluxHero trade's key may the end be left out, the time that
    tells it from another trade of the same number: `live_trades:17` means
    `live_trades:17:2026-03-01T14:30:00`, and `A-1` never means `A-10`.

    Args:
        typed: what was typed.
        keys: the keys to choose from.
        nobody: what to say, before the id, when no key is it.
        advice: what to do then.

    Raises:
        BadInputError: there is none, or there are several.
    """
    known = dict.fromkeys(keys)
    chosen: list[str] = []
    for beginning in typed:
        meant = [beginning] if beginning in known else [k for k in known if _means(beginning, k)]
        if not meant:
            raise _nobody(beginning, known, nobody, advice)
        if len(meant) > 1:
            raise BadInputError(
                f"{beginning} is the beginning of {len(meant)} trades: {_listed(meant)}",
                next_step="give the whole trade id",
            )
        chosen += meant
    return list(dict.fromkeys(chosen))


def _means(beginning: str, key: str) -> bool:
    """Whether this is a FluxHero trade's key, less some of its end."""
    parts = split_key(key)
    if parts is None:
        return False
    number = f"{parts[0]}:{parts[1]}"
    return beginning == number or (beginning.startswith(f"{number}:") and key.startswith(beginning))


def _nobody(beginning: str, known: Collection[str], nobody: str, advice: str) -> BadInputError:
    near = [key for key in known if beginning and key.startswith(beginning)]
    if near:
        what = f"{nobody} {beginning}; with that begin {_listed(near)}"
        return BadInputError(what, next_step="give the whole id")
    if beginning.isdigit():
        advice = (
            f"a FluxHero trade's id begins with its table, as live_trades:{beginning}; {advice}"
        )
    return BadInputError(f"{nobody} {beginning!r}", next_step=advice)


def _listed(keys: Sequence[str]) -> str:
    return ", ".join(keys[:_MOST_LISTED]) + (" …" if len(keys) > _MOST_LISTED else "")
