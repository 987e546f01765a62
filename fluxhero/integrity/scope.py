"""What a storage check looks at, and how closely."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from config.settings import Settings
from fluxhero.archive.workspace import Workspace


@dataclass(frozen=True)
class Scope:
    """One check's store, archive and folders, and the settings it goes by.

    Attributes:
        workspace: the hot store and its archive.
        now: the moment of the check (UTC).
        deep: read every byte and every row, whatever passed before.
        mirror_dir: second copy of the archive's files; None where there is none.
        scrub_days: within so many days every byte has been read at least once.
        retention_days: closed trades older than this are due for archival.
        initial_capital: account value before the first trade.
        pnl_tolerance: difference allowed between a recorded and a recomputed result, in money.
        exchange: ISO 10383 code of the exchange whose calendar the bars follow.
    """

    workspace: Workspace
    now: datetime
    deep: bool
    mirror_dir: Path | None
    scrub_days: int
    retention_days: int
    initial_capital: Decimal
    pnl_tolerance: Decimal
    exchange: str

    @classmethod
    def of(cls, settings: Settings, *, now: datetime, deep: bool) -> "Scope":
        """The scope that the settings describe; touches nothing."""
        return cls(
            workspace=Workspace.of(settings),
            now=now,
            deep=deep,
            mirror_dir=settings.archive_mirror_dir,
            scrub_days=settings.scrub_days,
            retention_days=settings.retention_days,
            initial_capital=settings.initial_capital,
            pnl_tolerance=settings.pnl_tolerance,
            exchange=settings.exchange,
        )

    @property
    def data_dir(self) -> Path:
        """Folder of everything the pipeline keeps."""
        return self.workspace.data_dir

    @property
    def cache_dir(self) -> Path:
        """Folder of the bars."""
        return self.workspace.cache_dir

    @property
    def home(self) -> Path:
        """Folder of what the checks themselves keep."""
        return self.data_dir / "integrity"
