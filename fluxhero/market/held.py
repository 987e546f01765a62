"""Which symbols the ledger trades: those whose bars somebody depends on."""

from collections.abc import Collection
from datetime import datetime

from fluxhero.archive.workspace import Workspace
from fluxhero.ledger.view import open_view

OPEN_SYMBOLS = "SELECT symbol FROM trades WHERE status = 'open' UNION SELECT symbol FROM positions"


def traded_since(workspace: Workspace, symbols: Collection[str] = ()) -> dict[str, datetime]:
    """Symbols and when they were first traded.

    Args:
        workspace: the store and its archive.
        symbols: these; where there are none, those with an open trade or position.
    """
    wanted = "SELECT unnest(?::VARCHAR[])" if symbols else OPEN_SYMBOLS
    with open_view(workspace, ["trades", "positions"]) as connection:
        rows = connection.execute(
            f"SELECT symbol, min(entry_time) FROM trades WHERE symbol IN ({wanted}) GROUP BY symbol",
            [list(symbols)] if symbols else [],
        ).fetchall()
    return {str(symbol): first for symbol, first in rows}
