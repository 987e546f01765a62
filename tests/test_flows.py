"""Flows order steps and nothing else; each failure says what to do about it."""

import ast
import builtins
import subprocess
import sys
from pathlib import Path

import pytest

FLOWS = sorted((Path(__file__).parents[1] / "flows").glob("[!_]*.py"))
# Builtins that only shape what tasks are given.
SIMPLE = {"list", "tuple", "dict", "range", "len", "sum", "min", "max", "str", "int", "timedelta"}
CONTEXTS = {"exclusively"}
LOGGING = {"get_run_logger"}
CHAINS = {"nightly"}  # the flows whose steps are flows
VERBS = {
    "ingest_broker": "ingest-broker"
}  # of flows whose command is not called as their name begins


def flow_functions() -> list[tuple[Path, ast.FunctionDef]]:
    return [
        (path, node)
        for path in FLOWS
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef)
        and any("flow" in ast.unparse(decorator) for decorator in node.decorator_list)
    ]


CASES = [pytest.param(path, node, id=node.name) for path, node in flow_functions()]


def imported(path: Path) -> dict[str, str]:
    """Names a flow file imports, and from where."""
    return {
        alias.asname or alias.name: node.module or ""
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@pytest.mark.parametrize(("path", "flow"), CASES)
def test_a_flow_calls_tasks_and_little_else(path: Path, flow: ast.FunctionDef) -> None:
    origin = imported(path)
    for call in (node for body in flow.body for node in ast.walk(body)):
        if not isinstance(call, ast.Call):
            continue
        name = ast.unparse(call.func)
        task = name.removesuffix(".submit")  # beside others, that is
        allowed = (
            origin.get(task, "").startswith("tasks.")
            or (origin.get(name, "").startswith("flows.") and path.stem in CHAINS)
            or (origin.get(name, "").startswith("fluxhero.") and name[:1].isupper())
            or name in SIMPLE | CONTEXTS | LOGGING
            or name.split(".")[0] == "logger"
        )
        assert allowed, f"{path.name} calls {name}: move it into a task"
        if name in SIMPLE - {"timedelta"}:
            assert hasattr(builtins, name)


@pytest.mark.parametrize(("path", "flow"), CASES)
def test_a_flow_documents_itself_and_every_parameter(path: Path, flow: ast.FunctionDef) -> None:
    text = ast.get_docstring(flow) or ""
    assert text, f"say in a docstring what {flow.name} does"
    arguments = [*flow.args.args, *flow.args.kwonlyargs]
    missing = [arg.arg for arg in arguments if f"\n    {arg.arg}: " not in text]
    assert not missing, f"document these parameters of {flow.name} under Args: {missing}"
    assert all(arg.annotation for arg in arguments), f"annotate the parameters of {flow.name}"


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.stem)
def test_a_flow_file_defines_no_class(path: Path) -> None:
    classes = [
        n.name for n in ast.parse(path.read_text("utf-8")).body if isinstance(n, ast.ClassDef)
    ]
    assert not classes, f"{path.name} is loaded under two names; move {classes} to fluxhero/"


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.stem)
def test_a_flow_file_holds_the_flow_of_its_name(path: Path) -> None:
    names = [node.name for found, node in flow_functions() if found == path]
    assert names == [path.stem], f"put one flow called {path.stem} in {path.name}"


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.stem)
def test_a_flow_file_that_is_run_hands_over_before_prefect_is_imported(
    path: Path, tmp_path: Path
) -> None:
    """Prefect reads its settings once, when it is imported; the command sets them before."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", f"flows.{path.stem}", "--help"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(path.parents[1])},
    )
    assert done.returncode == 0, done.stderr
    verb = VERBS.get(path.stem, path.stem.split("_")[0])
    assert f"Usage: fluxhero {verb} [OPTIONS]" in done.stdout
    assert "fluxhero.cli" in done.stderr
    assert "prefect" not in done.stderr
