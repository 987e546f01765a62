"""Trades by a beginning of their id, as people type them."""

from collections.abc import Sequence

from fluxhero.archive.workspace import Workspace
from fluxhero.errors import BadInputError
from fluxhero.ledger.view import open_view


def whole_trade_ids(workspace: Workspace, beginnings: Sequence[str]) -> list[str]:
    """The trades, hot or archived, whose ids are these or begin with these.

    Raises:
        BadInputError: no trade or several trades begin so.
    """
    with open_view(workspace, ["trades"]) as view:
        found: list[str] = []
        for beginning in beginnings:
            rows = view.execute(
                "SELECT trade_id FROM trades WHERE starts_with(trade_id, ?) ORDER BY 1", [beginning]
            ).fetchall()
            found += [str(row[0]) for row in rows]
    advice = 'look it up: fluxhero query "SELECT trade_id, symbol, exit_time FROM trades"'
    return whole_keys(beginnings, found, "the ledger has no trade", advice)


def whole_keys(
    beginnings: Sequence[str], keys: Sequence[str], nobody: str, advice: str
) -> list[str]:
    """For each beginning the one key that is it, or that begins with it.

    Raises:
        BadInputError: there is none, or there are several.
    """
    chosen: list[str] = []
    for beginning in beginnings:
        matching = [key for key in keys if key == beginning] or [
            key for key in dict.fromkeys(keys) if key.startswith(beginning)
        ]
        if not matching:
            raise BadInputError(f"{nobody} {beginning}", next_step=advice)
        if len(set(matching)) > 1:
            raise BadInputError(
                f"{beginning} is the beginning of {len(matching)} trades: "
                f"{', '.join(matching[:3])} …",
                next_step="give the whole trade id",
            )
        chosen.append(matching[0])
    return list(dict.fromkeys(chosen))
