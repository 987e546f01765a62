"""From the settings to a running night shift, and from a running one to none.

What belongs here: everything before the first process starts, that nothing of an earlier night shift is
left, which ports are free, whose server is used, and `end_shift`, which undoes all of it from outside.
"""

import logging
import os
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from config.night_shift import night_folder, state_file
from config.prefect_env import configured_api_url
from config.settings import Settings, variable
from fluxhero.durable import make_folder, remove, storage_errors
from fluxhero.errors import AlreadyRunningError, NightShiftError
from fluxhero.locks import locked
from fluxhero.night import leftovers
from fluxhero.night.deployments import checkout, read_deployments
from fluxhero.night.health import answers
from fluxhero.night.parts import Place
from fluxhero.night.ports import Chosen, choose, url_of
from fluxhero.night.state import NightState, Part, is_process, last_state, read_state
from fluxhero.wording import counted

ENDS_WITHIN_SECONDS: Final = 120.0  # what the supervisor grants its parts, and more
_LOCK_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.2
_SERVERS: Final = {"prefect": "the Prefect server", "api": "the operations page"}
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """What a supervisor needs to begin."""

    place: Place
    parts: tuple[Part, ...]
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """What the command line asks for; None where it says nothing."""

    parts: tuple[Part, ...] = tuple(Part)
    prefect_port: int | None = None
    api_port: int | None = None


@contextmanager
def only_shift(data_dir: Path) -> Iterator[None]:
    """Within the block, no other night shift begins on the data folder; nothing of one remains after it.

    Raises:
        AlreadyRunningError: one runs.
        StorageIOError: the operating system refuses.
    """
    with locked(night_folder(data_dir) / "night.lock", lambda: _busy(data_dir)):
        if left := _end_leftovers(data_dir):
            what = counted(left, "process", "processes")
            _log.warning("ended %s that an earlier night shift had left", what)
        try:
            yield
        finally:
            remove(state_file(data_dir))


def prepare(settings: Settings, asked: Asked) -> Prepared:
    """Find out where everything goes; the shift's lock is held.

    Raises:
        AddressError: a port that was asked for is taken.
        ConfigurationError: the operations API's token or `prefect.yaml` cannot be used.
        StorageIOError: the operating system refuses.
    """
    read_deployments(checkout())  # says what is wrong with them before anything slow
    given = configured_api_url()
    own = given is None or _is_to_be_ours(given, settings)
    parts = tuple(part for part in asked.parts if own or part is not Part.SERVER)
    notices = [] if own else [f"runs are kept by the Prefect server at {given}, as configured"]
    notices += _token(settings) if Part.API in parts else []
    notices += _store(settings) if Part.WORKER in parts else []
    prefect = _port(settings, "prefect", asked.prefect_port, ours=Part.SERVER in parts, url=given)
    api = _port(
        settings, "api", asked.api_port, ours=Part.API in parts, taken=frozenset({prefect.port})
    )
    notices += [one.notice for one in (prefect, api) if one.notice]
    place = Place(
        settings=settings,
        token=secrets.token_hex(16),
        api_url=given or f"{url_of(settings.prefect_host, prefect.port)}/api",
        own_server=own,
        prefect_port=prefect.port,
        api_port=api.port,
    )
    if own:
        with storage_errors("make", place.prefect_home):
            make_folder(place.prefect_home)
    return Prepared(place, parts, tuple(notices))


def end_shift(data_dir: Path) -> str:
    """End the night shift of a data folder, and whatever one has left there; what was done, in words.

    Raises:
        NightShiftError: it does not end.
        StorageIOError: the operating system refuses.
    """
    state = read_state(data_dir)
    if state is not None:
        with suppress(ProcessLookupError):
            os.kill(state.pid, signal.SIGTERM)
        deadline = time.monotonic() + ENDS_WITHIN_SECONDS
        while is_process(state.pid, state.created):
            if time.monotonic() > deadline:
                raise NightShiftError(
                    f"the night shift (pid {state.pid}) has not ended within {ENDS_WITHIN_SECONDS:.0f} s",
                    next_step=f"`kill -9 {state.pid}`, then `fluxhero down` again: it ends what is left",
                )
            time.sleep(_LOOK_SECONDS)
    with locked(
        night_folder(data_dir) / "night.lock", lambda: _busy(data_dir), wait_seconds=_LOCK_SECONDS
    ):
        left = _end_leftovers(data_dir)
        remove(state_file(data_dir))
    if state is not None:
        return "The night shift has ended."
    if left:
        what = counted(left, "process", "processes")
        return f"The supervisor was gone; what it had left, {what}, has ended."
    return "Nothing runs."


def _end_leftovers(data_dir: Path) -> int:
    before = last_state(data_dir)
    return leftovers.end(before.token, since=before.created) if before else 0


def _busy(data_dir: Path) -> AlreadyRunningError:
    return AlreadyRunningError(
        f"another night shift is starting or ending on {data_dir}",
        next_step="wait a moment; `fluxhero up` then says what runs, `fluxhero down` ends it",
    )


def _is_to_be_ours(api_url: str, settings: Settings) -> bool:
    """Whether a configured URL is where our own server would be, and nobody is there yet."""
    place = urlsplit(api_url)
    hosts = _LOOPBACK | {settings.prefect_host}
    here = place.hostname in hosts and place.port == settings.prefect_port
    return here and not answers(f"{api_url}/health")


def _port(
    settings: Settings,
    server: Literal["prefect", "api"],
    option: int | None,
    *,
    ours: bool,
    url: str | None = None,
    taken: frozenset[int] = frozenset(),
) -> Chosen:
    """The port of a server; one that is free if the server is ours to start.

    Raises:
        AddressError: it is not free, and asked for by an option, a setting or `url`.
    """
    field = f"{server}_port"
    wanted = option or getattr(settings, field)
    if not ours:
        return Chosen(wanted)
    set_by = None if url is None else "PREFECT_API_URL"
    if field in settings.model_fields_set:
        set_by = variable(field)
    if option is not None:
        set_by = f"--{server}-port"
    host = getattr(settings, f"{server}_host")
    return choose(host, wanted, set_by=set_by, what=_SERVERS[server], taken=taken)


def _token(settings: Settings) -> list[str]:
    """See that the operations API has a token; a notice if one was made.

    Raises:
        ConfigurationError: there is one that cannot be used.
    """
    from fluxhero.api.tokens import Tokens, make_secret

    given = settings.auth_secret and settings.auth_secret.get_secret_value().strip()
    if not given and not settings.auth_secret_file.exists():
        make_secret(settings.auth_secret_file)
        return [f"a token for the operations page was made: {settings.auth_secret_file}"]
    Tokens(settings)
    return []


def _store(settings: Settings) -> list[str]:
    """Make the pipeline's own store where nobody has named one or archived from one; a notice if so.

    Otherwise every run of somebody who only looks around would fail for want of it.
    """
    named = "store_url" in settings.model_fields_set
    if named or settings.store_path.exists() or settings.archive_dir.exists():
        return []
    from fluxhero.ledger.duckdb_store import DuckDBStore

    with closing(
        DuckDBStore(settings.store_path, lock_timeout=settings.lock_timeout_seconds)
    ) as it:
        it.ensure()
    made = f"a new, empty store was made: {settings.store_path}"
    then = (
        "bring trades in with `fluxhero ingest PATH`, or name your bot's own in FLUXHERO_STORE_URL"
    )
    return [f"{made}; {then}"]


def running_state(data_dir: Path) -> NightState | None:
    """The night shift that runs, given a moment to say so; None if it does not."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while (state := read_state(data_dir)) is None and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    return state
