"""Remembering that a batch's rows were read at a moment since which nobody has written.

A store gives a change token: while it stays the same, nobody committed anything. If a file holds
exactly the rows that were read (as many, with the same sum of row hashes) and the token is still
that of the reading, then the file equals the store as it stands, and no row has to be read again.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

import pyarrow as pa

from fluxhero.ledger.rows import ROW_HASH, digest_of
from fluxhero.ledger.store import ArchivedFile

Token = TypeVar("Token", bound=Hashable)


class ProvenRows(Generic[Token]):
    """Fingerprints of batches, each with the change token it was taken at."""

    def __init__(self) -> None:
        """Start with nothing proven."""
        self._tokens: dict[tuple[str, int, int], Token] = {}

    def remember(self, mode: str, rows: pa.Table, token: Token | None) -> None:
        """Note that these rows stood in the store at this token (None: it is not known).

        The mode belongs to the fingerprint: a row hash does not say which of a FluxHero store's
        tables the row is in, and a bot that split its table has equal rows in two.
        """
        if token is not None:
            self._tokens[mode, rows.num_rows, digest_of(rows[ROW_HASH])] = token

    def remember_file(self, file: ArchivedFile, token: Token) -> None:
        """Note that a file's rows were all found equal at this token."""
        if file.hash_is_current:
            self._tokens[file.mode, file.rows, file.digest] = token

    def token(self, file: ArchivedFile) -> Token | None:
        """The token at which the store held exactly this file's rows, if any."""
        if not file.hash_is_current:
            return None
        return self._tokens.get((file.mode, file.rows, file.digest))

    def clear(self) -> None:
        """Forget everything."""
        self._tokens.clear()
