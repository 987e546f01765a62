"""What is wrong with this installation, and how to mend it: one examination a part. Changes nothing."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from tempfile import TemporaryFile

import httpx
from pydantic import BaseModel, ConfigDict

from config.settings import Settings, variable
from fluxhero.alerts.delivery import unreadable_targets
from fluxhero.alerts.outbox import Outbox
from fluxhero.alerts.standing import standing_now
from fluxhero.api.tokens import Tokens
from fluxhero.archive.identity import check_owner
from fluxhero.archive.workspace import Workspace
from fluxhero.errors import FluxHeroError
from fluxhero.release import DISTRIBUTION
from fluxhero.wording import counted

LITTLE_SPACE, TOO_LITTLE_SPACE = 5 * 10**9, 5 * 10**8  # bytes
_PACKAGES = (DISTRIBUTION, "prefect", "duckdb", "pyarrow", "pandas", "great-expectations")
_SECRETS = ("auth_secret", "alpaca_api_key", "alpaca_api_secret", "alert_urls")
_ANSWERS_WITHIN = 3.0  # seconds
_OTHERS = 0o077  # permission bits of everybody but the owner


class Health(StrEnum):
    """How a part does."""

    PASS = "pass"  # noqa: S105 - no password
    WARN = "warn"
    FAIL = "fail"


class Diagnosis(BaseModel):
    """What was found of one part; `next_step` is empty where there is nothing to do."""

    model_config = ConfigDict(frozen=True)

    part: str
    health: Health
    found: str
    next_step: str = ""


class Examination(BaseModel):
    """Every part's diagnosis."""

    model_config = ConfigDict(frozen=True)

    parts: tuple[Diagnosis, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing fails."""
        return all(part.health is not Health.FAIL for part in self.parts)

    @property
    def verdict(self) -> str:
        """One sentence: the answer first."""
        broken = [part for part in self.parts if part.health is Health.FAIL]
        doubtful = [part for part in self.parts if part.health is Health.WARN]
        if not broken and not doubtful:
            return f"All is well: {counted(len(self.parts), 'part')} examined."
        text = ", ".join(part.part for part in broken)
        first = f"Does not work: {text}. " if broken else "Works. "
        return first + (f"Worth a look: {', '.join(p.part for p in doubtful)}." if doubtful else "")

    def details(self) -> list[str]:
        """One line a part, with what to do."""
        return [
            f"{part.health.value.upper():<4}  {part.part}: {part.found}"
            + (f" → {part.next_step}" if part.next_step else "")
            for part in self.parts
        ]

    def table(self) -> list[dict[str, str | int]]:
        """No more than the lines say."""
        return []


def examine(settings: Settings, *, env_file: Path, prefect_api: str | None) -> Examination:
    """Look at every part.

    Args:
        settings: as they were read.
        env_file: the `.env` that was read, if it is there.
        prefect_api: URL of the Prefect server's API; None where there is none.
    """
    workspace = Workspace.of(settings)
    with closing(workspace.store):
        return Examination(
            parts=(
                Diagnosis(part="software", health=Health.PASS, found=_versions()),
                *_env_file(env_file),
                *_folders(settings),
                _guarded("hot store", lambda: _store(workspace)),
                _guarded("archive", lambda: _archive(workspace)),
                _guarded("access", lambda: _access(settings), failing=Health.WARN),
                _prefect(prefect_api),
                *_guarded_all("alerts", lambda: _alerts(settings)),
            )
        )


def _versions() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return f"Python {python_version()}, {packages}"


def _env_file(path: Path) -> Iterator[Diagnosis]:
    if not path.is_file():
        found = f"no {path.name} in {path.parent}: defaults and the environment count"
        yield Diagnosis(part="settings", health=Health.PASS, found=found)
        return
    if path.stat().st_mode & _OTHERS and _holds_a_secret(path):
        yield Diagnosis(
            part="settings",
            health=Health.WARN,
            found=f"{path} holds a secret, and others on this machine may read it",
            next_step=f"chmod 600 {path}",
        )
        return
    yield Diagnosis(part="settings", health=Health.PASS, found=f"{path} is used")


def _holds_a_secret(path: Path) -> bool:
    secrets = {variable(name) for name in _SECRETS}
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    names = (line.removeprefix("export ").partition("=") for line in map(str.strip, lines))
    return any(name.strip() in secrets and value.strip() for name, _, value in names)


def _folders(settings: Settings) -> Iterator[Diagnosis]:
    yield _folder("data folder", settings.data_dir)
    if not settings.archive_dir.is_relative_to(settings.data_dir):
        yield _folder("archive folder", settings.archive_dir)
    if settings.archive_mirror_dir:
        yield _folder("mirror folder", settings.archive_mirror_dir)


def _folder(part: str, folder: Path) -> Diagnosis:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        free = shutil.disk_usage(there).free
        with TemporaryFile(dir=there):
            pass
    except OSError as error:
        return Diagnosis(
            part=part,
            health=Health.FAIL,
            found=f"{there} cannot be written: {error.strerror or error}",
            next_step="give this user write permission there, or choose another folder",
        )
    found = f"{folder}{'' if folder.exists() else ' will be made'}, {free / 10**9:,.1f} GB free"
    health = Health.PASS
    if free < LITTLE_SPACE:
        health = Health.FAIL if free < TOO_LITTLE_SPACE else Health.WARN
    step = "" if health is Health.PASS else "make room on that disk"
    return Diagnosis(part=part, health=health, found=found, next_step=step)


def _store(workspace: Workspace) -> Diagnosis:
    store = workspace.store
    if store.kind == "duckdb" and not store.path.exists():
        return Diagnosis(
            part="hot store",
            health=Health.WARN,
            found=f"{store.path} is not there yet",
            next_step="bring trades in with `fluxhero ingest PATH`, or set FLUXHERO_STORE_URL",
        )
    store.check_there()
    statistics = store.statistics()
    rows = counted(sum(statistics.rows.values()), "row")
    if statistics.quarantined:
        return Diagnosis(
            part="hot store",
            health=Health.WARN,
            found=f"{rows} in {store.path}, and {statistics.quarantined:,} in quarantine",
            next_step='`fluxhero query "SELECT rule, reason, source FROM quarantine"` says why',
        )
    return Diagnosis(part="hot store", health=Health.PASS, found=f"{rows} in {store.path}")


def _archive(workspace: Workspace) -> Diagnosis:
    check_owner(workspace.layout, workspace.store)
    chain = workspace.chain()
    found = f"{counted(len(chain), 'batch')}, the chain of manifests is whole"
    return Diagnosis(part="archive", health=Health.PASS, found=found)


def _access(settings: Settings) -> Diagnosis:
    Tokens(settings)
    where = "FLUXHERO_AUTH_SECRET" if settings.auth_secret else settings.auth_secret_file
    found = f"the operations API has its token, in {where}"
    return Diagnosis(part="access", health=Health.PASS, found=found)


def _prefect(api_url: str | None) -> Diagnosis:
    if api_url is None:
        return Diagnosis(
            part="Prefect",
            health=Health.WARN,
            found="no server runs: nothing happens by schedule, and each command starts one of its own",
            next_step="`fluxhero up` starts one; docs/operations.md says more",
        )
    try:
        answer = httpx.get(f"{api_url}/health", timeout=_ANSWERS_WITHIN)
        problem = "" if answer.is_success else f"it answers {answer.status_code}"
    except httpx.HTTPError as error:
        problem = str(error) or type(error).__name__
    if problem:
        return Diagnosis(
            part="Prefect",
            health=Health.FAIL,
            found=f"the server at {api_url} is not well: {problem}",
            next_step="start it, or correct PREFECT_API_URL",
        )
    return Diagnosis(part="Prefect", health=Health.PASS, found=f"a server answers at {api_url}")


def _alerts(settings: Settings) -> Iterator[Diagnosis]:
    """Whether Apprise can read each target, and whether what was told has arrived."""
    unreadable = unreadable_targets(settings)
    for error in unreadable:
        yield Diagnosis(
            part="alerts", health=Health.FAIL, found=error.what, next_step=error.next_step
        )
    damaged = Outbox(settings.data_dir, read_only=True).damaged()
    if damaged:
        found = f"{counted(len(damaged), 'damaged alert')} moved to {damaged[0].parent}"
        step = "see what they tell, then remove them"
        yield Diagnosis(part="alerts", health=Health.WARN, found=found, next_step=step)
    alerts = standing_now(settings)
    if not alerts.ok:
        step = "`fluxhero alert test` tries the targets, `fluxhero alert retry` sends what is left"
        yield Diagnosis(part="alerts", health=Health.FAIL, found=alerts.verdict, next_step=step)
    elif not alerts.targets:
        found = "no target is configured: alerts are kept and shown, and sent nowhere"
        step = "set FLUXHERO_ALERT_URLS, then `fluxhero alert test`; docs/alerts.md has examples"
        yield Diagnosis(part="alerts", health=Health.PASS, found=found, next_step=step)
    elif not unreadable:
        yield Diagnosis(part="alerts", health=Health.PASS, found=alerts.verdict)


def _guarded_all(part: str, examine_part: Callable[[], Iterator[Diagnosis]]) -> list[Diagnosis]:
    try:
        return list(examine_part())
    except FluxHeroError as error:
        return [
            Diagnosis(part=part, health=Health.FAIL, found=error.what, next_step=error.next_step)
        ]


def _guarded(
    part: str, examine_part: Callable[[], Diagnosis], failing: Health = Health.FAIL
) -> Diagnosis:
    """The part's diagnosis; what it raises is one."""
    try:
        return examine_part()
    except FluxHeroError as error:
        return Diagnosis(part=part, health=failing, found=error.what, next_step=error.next_step)
