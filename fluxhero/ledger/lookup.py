"""Trades by a beginning of their id, as people type them."""

from collections.abc import Collection, Sequence
from shlex import quote

from fluxhero.archive.workspace import Workspace
from fluxhero.errors import BadInputError
from fluxhero.ledger.view import LOCATION, open_view

LOOK_IT_UP = 'look it up: fluxhero query "SELECT trade_id, symbol, exit_time FROM trades"'
_MOST_LISTED = 3


def hot_trade_ids(workspace: Workspace, beginnings: Sequence[str]) -> list[str]:
    """The hot trades whose ids are these or begin with these.

    Archived ones are looked at too: another trade that only begins so is not the one that was meant.

    Raises:
        BadInputError: no trade or several trades begin so, or it is in the archive only.
    """
    with open_view(workspace, ["trades"]) as view:
        places: dict[str, str] = {}
        for beginning in beginnings:
            places |= view.execute(
                f"SELECT trade_id, {LOCATION} FROM trades WHERE starts_with(trade_id, ?) ORDER BY 1",
                [beginning],
            ).fetchall()
    keys = whole_keys(beginnings, places, "the ledger has no trade", LOOK_IT_UP)
    for key in keys:
        if places[key] == "archive":
            raise BadInputError(
                f"the trade {key} is archived and not in the hot store",
                next_step=f"`fluxhero restore --trade {quote(key)}` brings it back and holds it",
            )
    return keys


def whole_keys(
    beginnings: Sequence[str], keys: Collection[str], nobody: str, advice: str
) -> list[str]:
    """For each beginning the one key that it means.

    That is the key that it is; else the one it begins with whole parts, as `live_trades:17` begins
    `live_trades:17:2026-03-01T14:30:00` and not `live_trades:170:…`; else the one it begins at all.

    Args:
        beginnings: what was typed.
        keys: the keys to choose from.
        nobody: what to say, before the beginning, when no key has it.
        advice: what to do then.

    Raises:
        BadInputError: there is none, or there are several, or nothing was typed.
    """
    if not all(beginnings):
        raise BadInputError("an empty id was given, which begins every one", next_step=advice)
    known = dict.fromkeys(keys)
    chosen: list[str] = []
    for beginning in beginnings:
        meant = (
            [key for key in [beginning] if key in known]
            or [key for key in known if key.startswith(f"{beginning}:")]
            or [key for key in known if key.startswith(beginning)]
        )
        if not meant:
            raise BadInputError(f"{nobody} {beginning}", next_step=advice)
        if len(meant) > 1:
            more = " …" if len(meant) > _MOST_LISTED else ""
            raise BadInputError(
                f"{beginning} is the beginning of {len(meant)} trades: "
                f"{', '.join(meant[:_MOST_LISTED])}{more}",
                next_step="give the whole trade id",
            )
        chosen += meant
    return list(dict.fromkeys(chosen))
