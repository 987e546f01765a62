"""Fills and trades of the ledger, hot and archived, as reconciling needs them."""

from dataclasses import dataclass
from typing import Final

from fluxhero.archive.workspace import Workspace
from fluxhero.ledger.schema import CANCELLED_AS, CANCELS, FILLS, TRADES
from fluxhero.ledger.view import open_view
from fluxhero.reconcile.fills import Fill
from fluxhero.reconcile.trades import Trade

_FILLS: Final = f"""
SELECT fill_id, mode, broker, symbol, currency, side, quantity, price, executed_at, kind, account, fees,
    realized_pnl, multiplier, order_id, trade_id, source,
    json_extract_string(extra, '$.{CANCELS}') AS cancels,
    json_extract_string(extra, '$.{CANCELLED_AS}') AS cancelled_as,
    coalesce(json_extract_string(extra, '$.assetCategory') = 'CASH', false) AS conversion,
    kind = 'expiry' OR coalesce(json_extract_string(extra, '$.openCloseIndicator') = 'C', false) AS closes
FROM fills
"""
# Rows that a bot wrote in terms of its own are found by the storage check.
_TRADES: Final = """
SELECT trade_id, mode, symbol, side, quantity, entry_price, entry_time, exit_price, exit_time, fees,
    realized_pnl, status, source,
    json_extract_string(extra, '$.account') AS account,
    json_extract_string(extra, '$.currency') AS currency,
    json_extract_string(extra, '$.broker_order_id') AS order_id
FROM trades
WHERE status IN ('open', 'closed') AND side IN ('long', 'short') AND symbol IS NOT NULL
    AND quantity IS NOT NULL AND entry_price IS NOT NULL AND entry_time IS NOT NULL AND mode IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Ledger:
    """All fills, and all trades that were not cancelled."""

    fills: list[Fill]
    trades: list[Trade]


def read_ledger(workspace: Workspace) -> Ledger:
    """Read both, each key once, hot or archived.

    Raises:
        ForeignArchiveError: the archive belongs to another store.
        ManifestError: the archive's manifests are damaged or incomplete.
        DamagedFileError: a file of the archive is not the one that was published.
        StoreLockedError: another process holds the store.
    """
    with open_view(workspace, (FILLS.name, TRADES.name)) as view:
        fills = view.sql(_FILLS).to_arrow_table().to_pylist()
        trades = view.sql(_TRADES).to_arrow_table().to_pylist()
    return Ledger([Fill(**row) for row in fills], [Trade(**row) for row in trades])
