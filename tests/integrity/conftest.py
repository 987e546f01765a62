"""The houses of the archive's tests, and none of their own."""

from tests.archive.conftest import duckdb_house, house, sample_house, sqlite_house, store_kind

__all__ = ["duckdb_house", "house", "sample_house", "sqlite_house", "store_kind"]
