"""Conventions of the tree; each failure says what to do about it."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("flows", "tasks", "config", "fluxhero")
MODULES = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))
LONGEST_MODULE = 400


def named(paths: list[Path]) -> str:
    return ", ".join(str(path.relative_to(REPOSITORY)) for path in paths)


def test_no_module_is_called_after_nothing() -> None:
    vague = [m for m in MODULES if m.stem.rstrip("s") in {"util", "helper", "common", "misc"}]
    assert not vague, f"name these after what they hold: {named(vague)}"


def test_every_module_says_what_belongs_in_it() -> None:
    silent = [
        module
        for module in MODULES
        if (text := module.read_text(encoding="utf-8")).strip()
        and ast.get_docstring(ast.parse(text)) is None
    ]
    assert not silent, f"start these with a docstring: {named(silent)}"


def test_modules_stay_short() -> None:
    long = [m for m in MODULES if len(m.read_text("utf-8").splitlines()) > LONGEST_MODULE]
    assert not long, f"split these into modules of under {LONGEST_MODULE} lines: {named(long)}"


def test_nothing_prints() -> None:
    printing = [
        module
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    ]
    assert not printing, f"log, or in the command use click.echo, instead: {named(printing)}"


def test_only_config_touches_the_environment() -> None:
    touching = [
        module
        for module in MODULES
        if "config" not in module.relative_to(REPOSITORY).parts
        and re.search(r"\bos\.(environ|getenv|putenv)\b", module.read_text("utf-8"))
    ]
    assert not touching, f"make it a setting in config/settings.py: {named(touching)}"


def test_every_package_is_typed() -> None:
    untyped = [package for package in PACKAGES if not (REPOSITORY / package / "py.typed").exists()]
    assert not untyped, f"add an empty py.typed to: {untyped}"


def test_the_lock_names_no_index_and_no_machine() -> None:
    lock = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    assert not re.search(r"https?://|--index|--find-links|file:|(^|\s)/\w", lock), "run `make lock`"
    assert re.search(r"^setuptools==", lock, re.MULTILINE), "make setup needs setuptools locked"
    unhashed = re.findall(r"^[\w.-]+==[^\\\n]*$", lock, re.MULTILINE)
    assert not unhashed, f"these carry no hash; run `make lock`: {unhashed}"


@pytest.mark.server
def test_prefects_server_imports() -> None:
    """It breaks with a FastAPI newer than it knows; see the cap in pyproject.toml."""
    import prefect.server.api.server

    assert prefect.server.api.server.create_app is not None
