"""The environments that engines run in: found, or built from the engine's lock; never the product's own.

An environment is a folder `{engine}-{lock's digest}`. It is whole once `environment.json` lies in it; a
build that was killed leaves none, and is begun again.
"""

import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from config.child_environment import child_environment
from config.settings import Settings, variable
from fluxhero.backtest.engines import ENGINES, Engine
from fluxhero.backtest.isolation import Bounds, Ended, Outcome, run_isolated
from fluxhero.durable import make_folder, storage_errors, write_atomically
from fluxhero.errors import AlreadyRunningError, ConfigurationError, EngineUnavailableError
from fluxhero.locks import locked
from fluxhero.wording import counted

logger = logging.getLogger(__name__)

MARKER: Final = "environment.json"
BUILD_BOUNDS: Final = Bounds(seconds=1_800, memory_mb=4_096)
_PROBE: Final = Path(__file__).parent / "runners" / "probe.py"
_PROBE_BOUNDS: Final = Bounds(seconds=120, memory_mb=1_024)
_OTHER_PYTHONS: Final = ("python3.13", "python3.12", "python3.11", "python3")
# Where pyenv and uv keep interpreters, below the home folder; pyenv's on PATH refuse to run unless chosen.
_KEPT_BY_OTHERS: Final = (".pyenv/versions", ".local/share/uv/python")
_CAN_BUILD: Final = (
    "import sys, venv, ensurepip; print(*sys.version_info[:2], sys.executable, sep='\\n')"
)
_PYTHONS: Final = variable("engine_pythons")


class Installed(BaseModel):
    """What an environment's interpreter says is there.

    Attributes:
        python: its version.
        version: the engine's; None where it is not installed.
        versions: of every package but those that install packages.
        missing: packages that the harness needs and that are not there.
        needs: what the engine brings with it, directly or not.
        bytes: of the engine with all that.
        requires_python, licence: as the engine states them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    python: str
    version: str | None
    versions: dict[str, str]
    missing: tuple[str, ...]
    needs: tuple[str, ...]
    bytes: int
    requires_python: str
    licence: str


@dataclass(frozen=True)
class Environment:
    """Where an engine can be run."""

    engine: Engine
    python: Path
    installed: Installed

    @property
    def version(self) -> str:
        """The engine's."""
        return self.installed.version or ""

    @property
    def packages(self) -> int:
        """How many packages the engine brings, itself included."""
        return len(self.installed.needs) + 1

    @property
    def megabytes(self) -> float:
        """What the engine and those packages take on disk, in MiB."""
        return self.installed.bytes / 1024**2


def environment_of(engine: Engine, settings: Settings, *, build: bool) -> Environment:
    """The environment of an engine: the interpreter that the settings name, or the one built here.

    Args:
        engine: which.
        settings: where environments lie, and which interpreters to use instead.
        build: make it if there is none; takes a minute, and needs the package index.

    Raises:
        ConfigurationError: the settings name an interpreter for an engine that there is not.
        EngineUnavailableError: there is none, or it cannot be built, or what there is lacks the engine.
        StorageIOError: the disk is full or refuses.
    """
    for name, python in settings.engine_pythons:
        _require_engine(name)
        if name == engine.name:
            return Environment(engine, python, _usable(engine, python, settings.engines_dir))
    folder = settings.engines_dir / f"{engine.name}-{engine.lock_digest[:12]}"
    found = _built(engine, folder)
    if found:
        return found
    if not build:
        raise EngineUnavailableError(
            f"{engine.name} has no environment in {settings.engines_dir}",
            next_step="let it be built where the package index can be reached, or name an interpreter"
            f" that has it: {_PYTHONS}={engine.name}=/path/to/python",
        )
    with locked(
        settings.engines_dir / f".{engine.name}.lock",
        lambda: _busy(engine),
        wait_seconds=BUILD_BOUNDS.seconds,
    ):
        return _built(engine, folder) or _build(engine, folder)


def _require_engine(name: str) -> None:
    known = [engine.name for engine in ENGINES]
    if name not in known:
        raise ConfigurationError(
            f"{_PYTHONS} names an interpreter for {name!r}, which is no engine",
            next_step=f"name one of: {', '.join(known)}",
        )


def _busy(engine: Engine) -> AlreadyRunningError:
    return AlreadyRunningError(
        f"another run has been building the environment of {engine.name} for half an hour",
        next_step="look what keeps it, end it, then run again",
    )


def _built(engine: Engine, folder: Path) -> Environment | None:
    """What an earlier build left, if it is whole and its interpreter is still there."""
    python = _python_in(folder)
    try:
        told = (folder / MARKER).read_text("utf-8")
        installed = Installed.model_validate_json(told)
    except (OSError, ValidationError):
        return None  # not built, or not to the end
    if not python.exists():  # the interpreter that it was made with is gone
        return None
    return Environment(engine, python, installed)


def _python_in(folder: Path) -> Path:
    return folder / "bin" / "python"


def _build(engine: Engine, folder: Path) -> Environment:
    base = _fitting_python(engine)
    logger.info("%s %s: building its environment in %s", engine.name, engine.version, folder)
    with storage_errors("clear", folder):
        if folder.exists():
            shutil.rmtree(folder)
        make_folder(folder)
    python = _python_in(folder)
    work = folder / "build"
    _step(engine, [str(base), "-I", "-m", "venv", str(folder)], work)
    install = ["install", "--quiet", "--no-input", "--no-deps", "--require-hashes", "-r"]
    _step(engine, [str(python), "-I", "-m", "pip", *install, str(engine.lock)], work)
    with storage_errors("clear", work):
        shutil.rmtree(work)
    installed = _usable(engine, python, folder)
    write_atomically(folder / MARKER, installed.model_dump_json(indent=1).encode() + b"\n")
    environment = Environment(engine, python, installed)
    logger.info(
        "%s %s: built, %s, %.0f MiB",
        engine.name,
        environment.version,
        counted(environment.packages, "package"),
        environment.megabytes,
    )
    return environment


def _step(engine: Engine, command: list[str], work: Path) -> None:
    environment = child_environment(installs=True)
    try:
        outcome = run_isolated(command, folder=work, bounds=BUILD_BOUNDS, environment=environment)
    except OSError as error:
        why = f"{command[0]} cannot be started: {error.strerror}"
        raise _unbuildable(engine, why) from error
    if outcome.ended is not Ended.DONE:
        raise _unbuildable(engine, _told(outcome))


def _unbuildable(engine: Engine, why: str) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"the environment of {engine.name} {engine.version} cannot be built: {why}",
        next_step="check that pip reaches the package index, then run again; or name an interpreter"
        f" that has it: {_PYTHONS}={engine.name}=/path/to/python",
    )


def _told(outcome: Outcome) -> str:
    """Why a program failed, in its own last lines where it has any."""
    lines = [line.strip() for line in outcome.output.splitlines() if line.strip()]
    said = " / ".join(lines[-3:])
    return f"{said} (it {outcome.cause})" if said else f"it {outcome.cause}"


def _fitting_python(engine: Engine) -> Path:
    for candidate in _candidates():
        answer = _answer(candidate)
        if answer and engine.oldest <= answer[0] <= engine.newest:
            return answer[1]
    oldest, newest = (".".join(map(str, one)) for one in (engine.oldest, engine.newest))
    raise EngineUnavailableError(
        f"{engine.name} {engine.version} needs Python {oldest} to {newest} with venv, and none works here",
        next_step=f"install one (Debian: python{oldest}-venv), or name an interpreter that has the engine:"
        f" {_PYTHONS}={engine.name}=/path/to/python",
    )


def _candidates() -> Iterator[str]:
    yield sys.executable
    for name in _OTHER_PYTHONS:
        found = shutil.which(name)
        if found:
            yield found
    for folder in _KEPT_BY_OTHERS:
        for path in sorted((Path.home() / folder).glob("*/bin/python3.*[0-9]"), reverse=True):
            yield str(path)


def _answer(python: str) -> tuple[tuple[int, int], Path] | None:
    """Version and real path of an interpreter that can make environments; one on PATH need not even run."""
    try:
        said = subprocess.run(  # noqa: S603 - an interpreter of this machine
            [python, "-I", "-c", _CAN_BUILD],
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    major, minor, path = said.stdout.splitlines()
    return (int(major), int(minor)), Path(path)


def _usable(engine: Engine, python: Path, folder: Path) -> Installed:
    """What is installed there, provided that an engine's jobs can run."""
    work = folder / f".probe-{engine.name}"
    try:
        installed = _probed(engine, python, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    lacks = ([] if installed.version else [engine.distribution]) + list(installed.missing)
    if lacks:
        raise _unusable(engine, python, f"lacks {', '.join(lacks)}")
    return installed


def _probed(engine: Engine, python: Path, work: Path) -> Installed:
    answer = work / "answer.json"
    command = [str(python), "-I", str(_PROBE), engine.distribution, str(answer)]
    try:
        outcome = run_isolated(command, folder=work, bounds=_PROBE_BOUNDS)
    except OSError as error:
        raise _unusable(engine, python, f"cannot be started: {error.strerror}") from error
    if outcome.ended is not Ended.DONE:
        raise _unusable(engine, python, f"cannot be asked what it has: {_told(outcome)}")
    try:
        return Installed.model_validate_json(answer.read_bytes())
    except (OSError, ValidationError) as error:
        raise _unusable(engine, python, "is no Python interpreter") from error


def _unusable(engine: Engine, python: Path, why: str) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"{python}, which is to run {engine.name}, {why}",
        next_step=f"mend that environment, or name another interpreter in {_PYTHONS}",
    )
