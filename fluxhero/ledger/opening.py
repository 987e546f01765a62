"""From settings to a hot store."""

from config.settings import Settings
from fluxhero.ledger.store import HotStore


def open_store(settings: Settings) -> HotStore:
    """Make the adapter that FLUXHERO_STORE_URL asks for; the file itself is not opened yet."""
    temp_dir = settings.data_dir / "tmp"
    if settings.store_kind == "sqlite":
        from fluxhero.ledger.sqlite_store import SqliteStore  # its driver takes a second to import

        return SqliteStore(
            settings.store_path,
            timezone=settings.source_timezone,
            lock_timeout=settings.lock_timeout_seconds,
            quarantine_dir=settings.data_dir / "quarantine",
            temp_dir=temp_dir,
        )
    from fluxhero.ledger.duckdb_store import DuckDBStore

    return DuckDBStore(
        settings.store_path, lock_timeout=settings.lock_timeout_seconds, temp_dir=temp_dir
    )
