"""Real data to try the pipeline on, from packages whose licences allow it.

`live_bot` has real trades of a live bot, `replay` a simple rule simulated over real bars, and
`fluxhero_db` the same as a bot's own database. Every row carries a label that says which it is.
"""

from dataclasses import dataclass
from pathlib import Path

from fluxhero.demo import fluxhero_db, live_bot, records, replay

__all__ = ["DemoFiles", "write_demo_files"]


@dataclass(frozen=True, slots=True)
class DemoFiles:
    """Where the demo data was written.

    Attributes:
        trades_live: real trades of a live bot (`jsonl`, table trades).
        trades_replay: simulated trades over real bars (`jsonl`, table trades).
        orders_replay: the orders behind the simulated trades (`jsonl`, table orders).
        system_db: all of these trades as a FluxHero bot would store them (`fluxhero`).
    """

    trades_live: Path
    trades_replay: Path
    orders_replay: Path
    system_db: Path


def write_demo_files(folder: Path) -> DemoFiles:
    """Write the demo data into a folder; the same files every time.

    Raises:
        ConfigurationError: the packages of the `demo` extra are not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = DemoFiles(
        trades_live=folder / "live_bot_trades.jsonl",
        trades_replay=folder / "replay_trades.jsonl",
        orders_replay=folder / "replay_orders.jsonl",
        system_db=folder / "system.db",
    )
    records.write(files.trades_live, live_bot.trades())
    records.write(files.trades_replay, replay.trades())
    records.write(files.orders_replay, replay.orders())
    fluxhero_db.write(files.system_db)
    return files
