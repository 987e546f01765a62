"""Trades and orders that must stay hot: restored ones for a while, others until somebody says so.

Kept in one file beside the manifests, replaced atomically under the archive's lock. A released or
expired hold stays in the file as history; one that came to nothing leaves it. A row has one hold at a
time: a longer one replaces it, and the shorter one counts as released at that moment. A trade and an
order may have the same id, so a hold says which of the two it is of.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter, ValidationError

from fluxhero.durable import read_bytes, write_atomically
from fluxhero.errors import ManifestError
from fluxhero.ledger.schema import TRADES


class Hold(BaseModel):
    """One row's hold; without an end it lasts until it is released."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str = TRADES.name
    trade_id: str
    reason: str
    since: AwareDatetime
    until: AwareDatetime | None = None
    released_at: AwareDatetime | None = None

    def active(self, at: datetime) -> bool:
        """Whether the trade must stay hot at this moment."""
        return self.released_at is None and (self.until is None or at < self.until)


_HOLDS = TypeAdapter(list[Hold])


def read_holds(path: Path) -> list[Hold]:
    """Read all holds, past ones too.

    Raises:
        ManifestError: the file is damaged; without it, nobody knows what must stay hot.
    """
    if not path.exists():
        return []
    content = read_bytes(path)
    try:
        return _HOLDS.validate_json(content)
    except ValidationError as error:
        raise ManifestError(
            f"the list of holds {path} is damaged",
            next_step="restore it from a backup, or move it aside if no trade is on hold",
        ) from error


def held_keys(path: Path, at: datetime) -> Mapping[str, frozenset[str]]:
    """Table → keys of its rows on hold at this moment; none for a table without holds."""
    held: defaultdict[str, set[str]] = defaultdict(set)
    for hold in read_holds(path):
        if hold.active(at):
            held[hold.table].add(hold.trade_id)
    return defaultdict(frozenset, {table: frozenset(keys) for table, keys in held.items()})


def add_holds(
    path: Path,
    table: str,
    keys: Iterable[str],
    *,
    reason: str,
    at: datetime,
    until: datetime | None,
) -> list[Hold]:
    """Put rows on hold, in place of any hold that ends earlier; one that ends later stays."""
    holds = read_holds(path)
    active: dict[str, list[Hold]] = defaultdict(list)
    for hold in holds:
        if hold.table == table and hold.active(at):
            active[hold.trade_id].append(hold)
    added = [
        Hold(table=table, trade_id=key, reason=reason, since=at, until=until)
        for key in dict.fromkeys(keys)
        if not any(_lasts(hold, until) for hold in active.get(key, []))
    ]
    if added:
        replaced = [old for hold in added for old in active.get(hold.trade_id, [])]
        _write(path, [*_ended(holds, replaced, at), *added])
    return added


def _lasts(hold: Hold, until: datetime | None) -> bool:
    """Whether a hold lasts until then, or longer."""
    return hold.until is None or (until is not None and hold.until >= until)


def release_holds(path: Path, table: str, keys: Iterable[str], *, at: datetime) -> list[Hold]:
    """End the active holds of these rows, and return those that were active."""
    wanted = frozenset(keys)
    holds = read_holds(path)
    released = [
        hold
        for hold in holds
        if hold.table == table and hold.trade_id in wanted and hold.active(at)
    ]
    if released:
        _write(path, _ended(holds, released, at))
    return released


def _ended(holds: Sequence[Hold], ending: Iterable[Hold], at: datetime) -> list[Hold]:
    chosen = frozenset(ending)
    return [
        hold.model_copy(update={"released_at": at}) if hold in chosen else hold for hold in holds
    ]


def withdraw_holds(path: Path, added: Iterable[Hold]) -> None:
    """Take back holds that `add_holds` has just returned, as if they had never been.

    What they replaced, and was released at the moment they began, is on hold again.
    """
    unwanted = frozenset(added)
    if not unwanted:
        return
    began = {(hold.table, hold.trade_id, hold.since) for hold in unwanted}
    left = [
        hold.model_copy(update={"released_at": None})
        if (hold.table, hold.trade_id, hold.released_at) in began
        else hold
        for hold in read_holds(path)
        if hold not in unwanted
    ]
    _write(path, left)


def _write(path: Path, holds: Sequence[Hold]) -> None:
    rows = [hold.model_dump(mode="json") for hold in holds]
    write_atomically(path, (json.dumps(rows, indent=1, ensure_ascii=False) + "\n").encode())
