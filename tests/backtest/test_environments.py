"""Environments are built from hashed locks, found again, and never half there; none is a message, not a crash."""

import hashlib
import logging
import re
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from config.settings import Settings
from fluxhero.backtest import environments
from fluxhero.backtest.engines import ENGINES, Engine, engine_named
from fluxhero.backtest.environments import environment_of
from fluxhero.backtest.isolation import Bounds
from fluxhero.errors import AlreadyRunningError, ConfigurationError, EngineUnavailableError

pytestmark = pytest.mark.measured

HERE = sys.version_info[:2]


@dataclass(frozen=True)
class Local(Engine):
    """An engine whose lock a test writes."""

    lock_file: Path = Path()

    @property
    def lock(self) -> Path:
        return self.lock_file


def wheel(folder: Path) -> str:
    """A wheel with an engine, what it needs and what the harness needs; its SHA-256."""
    folder.mkdir()
    about = "toy_engine-1.5.dist-info"
    files = {
        **{f"{name}.py": "" for name in ("toy_engine", "duckdb", "numpy", "pandas", "pyarrow")},
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: toy-engine\nVersion: 1.5\n"
        "Requires-Python: >=3.11\nRequires-Dist: pip\nRequires-Dist: absent[x]>2; extra == 'more'\n"
        "Classifier: License :: OSI Approved :: Toy License\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    path = folder / "toy_engine-1.5-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        listed = "".join(f"{name},,\n" for name in files)
        archive.writestr(f"{about}/RECORD", f"{listed}{about}/RECORD,,\n")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def engine_of(folder: Path, digest: str) -> Local:
    lock = folder / "toy.txt"
    lock.write_text(f"toy-engine==1.5 \\\n    --hash=sha256:{digest}\n")
    return Local("toy", "toy-engine", HERE, HERE, lock)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that pip looks for packages in, and nowhere else."""
    folder = tmp_path / "index"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_a_build_that_failed_is_begun_again(
    index: Path, tmp_path: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    digest = wheel(tmp_path / "later")
    engine = engine_of(tmp_path, digest)
    with pytest.raises(
        EngineUnavailableError, match=r"has no environment in .*FLUXHERO_ENGINE_PYTHONS=toy="
    ):
        environment_of(engine, settings, build=False)
    with pytest.raises(
        EngineUnavailableError, match=r"toy 1\.5 cannot be built: .*toy-engine==1\.5"
    ):
        environment_of(engine, settings, build=True)  # the index does not have it
    with pytest.raises(EngineUnavailableError, match="has no environment"):
        environment_of(engine, settings, build=False)  # what there is, is not whole
    (tmp_path / "later").rename(index)
    with caplog.at_level(logging.INFO, environments.__name__):
        built = environment_of(engine, settings, build=True)
    assert built.python.parent.parent.name == f"toy-{engine.lock_digest[:12]}"
    assert (built.version, built.packages) == ("1.5", 2)  # pip, which this one says it needs
    assert built.megabytes > 0
    assert built.installed.versions == {"toy-engine": "1.5"}
    assert built.installed.licence == "Toy License"
    assert built.installed.requires_python == ">=3.11"
    assert caplog.messages[0].startswith("toy 1.5: building its environment in ")
    caplog.clear()
    assert environment_of(engine, settings, build=True) == built  # found, not built again
    assert not caplog.records
    built.python.unlink()
    with pytest.raises(EngineUnavailableError, match="has no environment"):
        environment_of(engine, settings, build=False)  # its interpreter is gone


def test_two_runs_do_not_build_the_same(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "BUILD_BOUNDS", Bounds(seconds=0.2, memory_mb=1_000))
    settings.engines_dir.mkdir(parents=True)
    with (
        FileLock(settings.engines_dir / ".toy.lock"),
        pytest.raises(AlreadyRunningError, match="another run has been building"),
    ):
        environment_of(engine_of(tmp_path, "0" * 64), settings, build=True)


def test_no_interpreter_fits(tmp_path: Path, settings: Settings) -> None:
    lock = engine_of(tmp_path, "0" * 64).lock_file
    engine = Local("toy", "toy-engine", (3, 98), (3, 99), lock)
    with pytest.raises(
        EngineUnavailableError, match=r"needs Python 3\.98 to 3\.99 .*python3\.98-venv"
    ):
        environment_of(engine, settings, build=True)


def test_interpreters_that_do_not_work_are_passed_over(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, code in (("python3.13", "#!/bin/sh\nexit 1\n"), ("python3.12", "no program")):
        (tmp_path / name).write_text(code)
        (tmp_path / name).chmod(0o755)
    kept = tmp_path / ".pyenv" / "versions" / "3.97.0" / "bin"
    kept.mkdir(parents=True)
    said = f"#!/bin/sh\nprintf '3\\n97\\n{kept}/python3.97\\n'\n"
    (kept / "python3.97").write_text(said)
    (kept / "python3.97").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    lock = engine_of(tmp_path, "0" * 64).lock_file
    engine = Local("toy", "toy-engine", (3, 97), (3, 97), lock)
    # The one of pyenv fits, and says that it can make environments; it then makes none.
    with pytest.raises(
        EngineUnavailableError, match=r"toy 1\.5 cannot be built: .* cannot be started"
    ):
        environment_of(engine, settings, build=True)


@pytest.mark.parametrize(
    ("python", "why"),
    [
        (sys.executable, "lacks backtrader"),
        ("/bin/true", "is no Python interpreter"),
        ("/bin/false", "cannot be asked what it has: it ended with exit status 1"),
        ("/nowhere/python", "cannot be started: No such file or directory"),
    ],
)
def test_the_users_own_interpreter_must_have_the_engine(
    python: str, why: str, settings: Settings
) -> None:
    own = settings.model_copy(
        update={"engine_pythons": (("bt", "/x"), ("backtrader", Path(python)))}
    )
    with pytest.raises(
        EngineUnavailableError, match=f"{python}, which is to run backtrader, {why}"
    ):
        environment_of(engine_named("backtrader"), own, build=False)
    assert not list(settings.engines_dir.glob(".probe*"))


def test_an_interpreter_for_no_engine_is_a_wrong_setting(settings: Settings) -> None:
    wrong = settings.model_copy(update={"engine_pythons": (("backtrade", Path("/x")),)})
    with pytest.raises(ConfigurationError, match="'backtrade', which is no engine → name one of"):
        environment_of(engine_named("bt"), wrong, build=False)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_locks_are_whole_and_name_no_index(engine: Engine) -> None:
    lock = engine.lock.read_text("utf-8")
    assert not re.search(r"https?://|--index|--find-links|file:|(^|\s)/\w", lock), (
        "make engine-locks"
    )
    packages = re.findall(
        r"^([\w.-]+)==([^\s;]+)( ; [^\\\n]+)? *\\\n    --hash", lock, re.MULTILINE
    )
    assert len(packages) == lock.count("==") - len(re.findall(r";.*==", lock)), "one without a hash"
    names = {name for name, *_ in packages}
    assert names >= {engine.distribution, "duckdb", "numpy", "pandas", "pyarrow"}
    wanted = engine.lock.with_suffix(".in").read_text("utf-8")
    assert f"=={engine.version}\n" in wanted
    assert engine.runner.exists()


def test_a_lock_that_lacks_its_engine(tmp_path: Path) -> None:
    lock = engine_of(tmp_path, "0" * 64).lock_file
    with pytest.raises(ValueError, match=r"toy\.txt does not name other"):
        _ = Local("toy", "other", HERE, HERE, lock).version
