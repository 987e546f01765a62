"""A repair that is killed leaves each file as it was or mended, and never less; the next one completes it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integrity.archives import made_in

POINTS = 5


@pytest.mark.timeout(240)
def test_a_killed_repair_loses_nothing(clean_environment: Path) -> None:
    folder = made_in("duckdb", clean_environment)
    done = subprocess.run(
        [sys.executable, "-m", "tests.integrity.killed_repair", "duckdb", str(folder), str(POINTS)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent.parent,
        env={name: value for name, value in os.environ.items() if "FLUXHERO" not in name},
    )
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["wrong"] == [], done.stderr
    assert said["kills"] == POINTS
