"""Every error the product raises on purpose, as one tree.

    FluxHeroError                     could not be done (exit status 3)
    ├── TransientError                may pass by itself: tasks retry it with back-off
    │   ├── StoreLockedError          another process holds the hot store
    │   ├── SourceChangedError        rows changed while they were being copied
    │   ├── StorageIOError            the operating system refused a read or a write
    │   ├── ProviderError             a data provider does not answer, or not in a way that makes sense
    │   ├── ClusterError              a Dask cluster went away in the midst of its work
    │   ├── ServerError               the Prefect server does not answer, or refuses
    │   └── DeliveryError             an alert could not be handed to where it should go
    ├── IntegrityError                stored data contradicts its own proof: never retried
    │   ├── VerificationError         what was read back is not what was written
    │   ├── ManifestError             a manifest is damaged, missing or out of its chain
    │   ├── DamagedFileError          a data file does not match its manifest
    │   └── DamagedStoreError         the hot store itself cannot be read
    ├── ConfigurationError            wrong settings or installation (exit status 2)
    │   ├── ForeignStoreError         the file is not a store this product knows
    │   ├── AlteredStoreError         somebody changed the hot store's tables so that rows would be lost
    │   ├── ForeignArchiveError       the archive belongs to another store
    │   ├── MissingArchiveError       the archive this store had is gone
    │   └── SchemaVersionError        written by a newer release
    ├── BadInputError                 the user's input cannot be used (exit status 2)
    │   └── StrategyError             a strategy raises, never ends, or gives no usable targets
    ├── EngineError                   a backtesting engine cannot be used, fails, or gives nonsense
    │   └── EngineUnavailableError    its environment is missing or cannot be built
    ├── AlreadyRunningError           another run holds the archive
    ├── NightShiftError               a part of the night shift does not start, or not stop
    └── AddressError                  a server of ours cannot listen there

A message says what happened, to which object, and what to do next.
"""

from typing import ClassVar


class FluxHeroError(Exception):
    """Base of the tree.

    Args:
        what: what happened, naming the object it happened to.
        next_step: what the reader should do about it.
    """

    exit_status: ClassVar[int] = 3

    def __init__(self, what: str, *, next_step: str) -> None:
        super().__init__(what, next_step)
        self.what = what
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.what} → {self.next_step}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.next_step)


def _rebuild(kind: type[FluxHeroError], what: str, next_step: str) -> FluxHeroError:
    """Unpickle an error, whose constructor takes a keyword that pickle does not know of."""
    return kind(what, next_step=next_step)


class TransientError(FluxHeroError):
    """May pass by itself; worth retrying."""


class StoreLockedError(TransientError):
    """Another process holds the hot store."""


class SourceChangedError(TransientError):
    """Rows changed in the hot store while they were being copied."""


class StorageIOError(TransientError):
    """The operating system refused a read or a write."""


class ProviderError(TransientError):
    """A data provider does not answer, or not in a way that makes sense."""


class ClusterError(TransientError):
    """A Dask cluster does not answer, or lost its workers again and again."""


class ServerError(TransientError):
    """The Prefect server does not answer, or refuses what it was asked."""


class DeliveryError(TransientError):
    """An alert could not be handed to where it should go."""


class IntegrityError(FluxHeroError):
    """Stored data contradicts its own proof."""


class VerificationError(IntegrityError):
    """What was read back is not what was written."""


class ManifestError(IntegrityError):
    """A manifest is damaged, missing or out of its chain."""


class DamagedFileError(IntegrityError):
    """A data file does not match its manifest."""


class DamagedStoreError(IntegrityError):
    """The hot store itself cannot be read."""


class ConfigurationError(FluxHeroError):
    """Wrong settings or a wrong installation."""

    exit_status = 2


class ForeignStoreError(ConfigurationError):
    """The file is not a store this product knows."""


class AlteredStoreError(ConfigurationError):
    """Somebody changed the hot store's tables in a way that rows would be lost or cannot be moved."""


class ForeignArchiveError(ConfigurationError):
    """The archive belongs to another store."""


class MissingArchiveError(ConfigurationError):
    """The archive this store had is gone."""


class SchemaVersionError(ConfigurationError):
    """The store or the archive was written by a newer release."""


class BadInputError(FluxHeroError):
    """The user's input cannot be used."""

    exit_status = 2


class StrategyError(BadInputError):
    """A strategy raises, never ends, takes too much memory, or gives no usable targets."""


class EngineError(FluxHeroError):
    """A backtesting engine cannot be used, fails, or gives nonsense."""


class EngineUnavailableError(EngineError):
    """The engine's environment is missing or cannot be built."""


class AlreadyRunningError(FluxHeroError):
    """Another run holds the archive."""


class NightShiftError(FluxHeroError):
    """A part of the night shift does not start, or does not stop."""


class AddressError(FluxHeroError):
    """A server of ours cannot listen on the address."""


def first_line(error: BaseException) -> str:
    """The first line of a library's message, or what kind of error it is where there is none."""
    return (str(error).splitlines() or [type(error).__name__])[0]
