"""The documentation says what is so: its commands, links, tables and names are checked here."""

import re
import shlex
from collections.abc import Iterator
from inspect import isclass
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from config import settings_table
from config.settings import Settings, variable
from config.variables import SettingsError
from fluxhero import errors
from fluxhero.archive.manifest import DataFile, Event, Manifest
from fluxhero.archive.workspace import Workspace
from fluxhero.cli import cli
from fluxhero.commands import reference
from fluxhero.errors import FluxHeroError
from fluxhero.ledger.formats import FORMATS
from fluxhero.ledger.query import run_query
from fluxhero.ledger.schema import ALL_TABLES
from tests import samples
from tests.command import check_arguments

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.glob("*.md"))]
_BLOCK = re.compile(r"^```(?:sh|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ASSIGNMENT = re.compile(r"[A-Z_]+=.*")


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name_of(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


def commands() -> Iterator[tuple[str, str, list[str]]]:
    """(page, line, arguments) of each `fluxhero …` in a shell block, piped ones included."""
    for page in PAGES:
        for block in _BLOCK.findall(read(page)):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                while words and _ASSIGNMENT.fullmatch(words[0]):
                    words = words[1:]
                if words[:1] == ["fluxhero"]:
                    ends = [at for at, word in enumerate(words) if word in {"|", ">", "&&"}]
                    yield name_of(page), line, words[1 : min(ends, default=len(words))]


@pytest.mark.parametrize(("page", "line", "arguments"), list(commands()))
def test_every_command_in_the_documentation_exists(
    page: str, line: str, arguments: list[str]
) -> None:
    try:
        check_arguments(arguments)
    except click.UsageError as error:
        pytest.fail(f"{page} has `{line}`, which does not run: {error.format_message()}")


@pytest.mark.parametrize(
    "sql", [arguments[1] for _, _, arguments in commands() if arguments[0] == "query"]
)
def test_every_query_in_the_documentation_runs(settings: Settings, sql: str) -> None:
    samples.create_duckdb_store(settings.store_path)
    assert run_query(Workspace.of(settings), sql).columns


def test_the_readme_leads_through_the_whole_job() -> None:
    verbs = [arguments[:2] for page, _, arguments in commands() if page == "README.md"]
    wanted = [["archive", "--dry-run"], ["archive", "--no-purge"], ["archive"]]
    places = [verbs.index(step) for step in wanted]
    assert places == sorted(places), "dry run first, then copy, then purge"
    later = {verb[0] for verb in verbs[places[-1] :]}
    assert {"query", "restore"} <= later
    warning = read(REPOSITORY / "README.md").index("Before the first purge")
    assert warning < read(REPOSITORY / "README.md").index("fluxhero archive\n")


def test_cli_md_is_the_generated_one() -> None:
    assert read(DOCS / "cli.md") == reference.render(), (
        "run `python -m fluxhero.commands.reference` and commit docs/cli.md"
    )


def test_settings_md_is_the_generated_one() -> None:
    assert read(DOCS / "settings.md") == settings_table.render(), (
        "run `python -m config.settings_table` and commit docs/settings.md"
    )


def test_every_verb_and_every_command_has_help_with_an_example() -> None:
    text = read(DOCS / "cli.md")
    for name, command in cli.commands.items():
        assert f"## fluxhero {name}\n" in text
        assert command.help, f"give {name} a docstring"
        assert f"fluxhero {name}" in command.help, f"give {name} an example in its docstring"


def test_every_setting_named_in_the_documentation_exists() -> None:
    known = {variable(name) for name in Settings.model_fields}
    for page in PAGES:
        named = set(re.findall(r"\bFLUXHERO_[A-Z_]+\b", read(page)))
        assert named <= known, f"{name_of(page)} names settings that do not exist: {named - known}"


def test_every_error_is_in_the_runbook() -> None:
    tree = [
        kind for kind in vars(errors).values() if isclass(kind) and issubclass(kind, FluxHeroError)
    ]
    text = read(DOCS / "operations.md")
    missing = [kind.__name__ for kind in (*tree, SettingsError) if f"`{kind.__name__}`" not in text]
    assert not missing, f"say in docs/operations.md what to do about {', '.join(missing)}"


@pytest.mark.parametrize("record", [Manifest, DataFile, Event])
def test_every_field_of_a_manifest_is_explained(record: type[BaseModel]) -> None:
    text = read(DOCS / "archive.md")
    prefix = "file." if record is DataFile else ""
    missing = [
        f"{prefix}{name}"
        for name in record.model_fields
        if name != "file" and f"`{prefix}{name}`" not in text
    ]
    assert not missing, f"explain in docs/archive.md: {', '.join(missing)}"


@pytest.mark.parametrize("table", list(ALL_TABLES))
def test_the_ledgers_tables_are_those_of_the_schema(table: str) -> None:
    section = read(DOCS / "ledger.md").split(f"\n## {table}\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| (\*{0,2})`(\w+)`\*{0,2} \| ([^|]+) \| ([^|]*) \|", section, re.M)
    documented = [(name, kind, bool(bold), values.strip()) for bold, name, kind, values in rows]
    declared = [
        (column.name, column.kind.value, column.required, ", ".join(column.allowed))
        for column in ALL_TABLES[table].columns
    ]
    assert documented == declared, f"bring the table {table} of docs/ledger.md up to date"


def test_every_format_is_described() -> None:
    text = read(DOCS / "ingest.md")
    missing = [name for name in FORMATS if f"\n### {name}\n" not in text]
    assert not missing, f"describe these formats in docs/ingest.md: {missing}"


def slug(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return kept.strip().replace(" ", "-")


def test_every_link_leads_somewhere() -> None:
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", read(page)):
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists():
                broken.append(f"{name_of(page)} → {target}")
            elif anchor and anchor not in map(slug, re.findall(r"^#+ (.+)$", read(file), re.M)):
                broken.append(f"{name_of(page)} → {target} (no such heading)")
    assert not broken, f"these links lead nowhere: {', '.join(broken)}"


def test_every_page_is_in_the_index() -> None:
    index = read(DOCS / "index.md")
    missing = [page.name for page in DOCS.glob("*.md") if f"({page.name})" not in index]
    assert set(missing) <= {"index.md"}, f"link these from docs/index.md: {missing}"


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", read(REPOSITORY / "Makefile"), re.M))
    for page in PAGES:
        named = set(re.findall(r"`make ([a-z]+)`", read(page)))
        named |= set(re.findall(r"^make ([a-z]+)$", read(page), re.M))
        assert named <= targets, f"{name_of(page)} names targets that do not exist"


def test_no_page_names_a_machine() -> None:
    for page in PAGES:
        assert not re.search(r"/(home|Users|root)/", read(page)), name_of(page)


def test_every_fault_of_the_audited_system_has_a_test() -> None:
    lines = read(DOCS / "audited-faults.md").splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith("| fault ")]
    assert rows
    for row in rows:
        named = re.findall(r"`(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)`", row)
        assert named, row
        for file, test in named:
            assert f"def {test}(" in read(REPOSITORY / file), f"{file} has no {test}"
