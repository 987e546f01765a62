"""The program that tells what is installed in an environment.

    python -I probe.py DISTRIBUTION ANSWER.json

It runs in the environment, so the standard library is all it uses.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform
import re
import sys
from pathlib import Path
from typing import Any

_NEEDED = ("duckdb", "numpy", "pandas", "pyarrow")
_NOT_COUNTED = {"pip", "setuptools"}  # what installs, not what is installed


def main(distribution: str, answer: Path) -> None:
    """Write down what there is."""
    answer.write_text(json.dumps(_facts(distribution)), "utf-8")


def _facts(distribution: str) -> dict[str, Any]:
    found = {_normal(one.metadata["Name"] or ""): one for one in importlib.metadata.distributions()}
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "missing": [name for name in _NEEDED if importlib.util.find_spec(name) is None],
        "versions": {name: found[name].version for name in sorted(found.keys() - _NOT_COUNTED)},
        "version": None,
        "needs": (),
        "bytes": 0,
        "requires_python": "",
        "licence": "",
    }
    if distribution in found:
        needs = _needs(distribution, found)
        facts["version"] = found[distribution].version
        facts["needs"] = sorted(needs - {distribution})
        facts["bytes"] = sum(_size(found[name]) for name in needs)
        facts["requires_python"] = found[distribution].metadata["Requires-Python"] or ""
        facts["licence"] = _licence(found[distribution])
    return facts


def _needs(distribution: str, found: dict[str, Any]) -> set[str]:
    """An engine and what it needs, directly or not; its own optional parts where they are installed."""
    needs: set[str] = set()
    waiting = [distribution]
    while waiting:
        name = waiting.pop()
        if name in needs or name not in found:
            continue
        needs.add(name)
        waiting += [
            _normal(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])
            for requirement in found[name].requires or []
            if name == distribution or not re.search(r"\bextra\s*==", requirement)
        ]
    return needs


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _licence(distribution: Any) -> str:
    """As the package states it: the expression, the field, the classifiers, or how its licence file begins."""
    about = distribution.metadata
    stated = about.get("License-Expression") or about.get("License") or ""
    classified = [
        line.rpartition(" :: ")[2]
        for line in about.get_all("Classifier") or []
        if line.startswith("License :: ")
    ]
    return _first_line(stated) or ", ".join(classified) or _first_line(_licence_file(distribution))


def _licence_file(distribution: Any) -> str:
    for file in distribution.files or []:
        if ".dist-info/" in str(file) and file.name.upper().startswith(("LICENSE", "LICENCE")):
            return Path(file.locate()).read_text("utf-8", errors="replace")
    return ""


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].strip()


def _size(distribution: Any) -> int:
    paths = [Path(file.locate()) for file in distribution.files or []]
    return sum(path.lstat().st_size for path in paths if path.exists())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
