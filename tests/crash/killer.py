"""The controller's end of `victim`: orders go in, children are killed, answers come back."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]


class Killer:
    """One `victim` process, which forks a child for each order."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.victim"],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the victim's parent process has ended")
        return None if line == "ready\n" else json.loads(line)

    def start(self, order: dict[str, Any]) -> int:
        """Fork a child; returns its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._answer()["pid"])

    def end(self) -> int:
        """Wait for the child: 0, 1, or minus the signal that ended it."""
        return int(self._answer()["ended"])

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()


def kill(child: int) -> None:
    """Send SIGKILL; a child that has ended already is fine."""
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def answer_to(order: dict[str, Any]) -> dict[str, Any]:
    """What a child wrote before it ended, nothing if it was killed."""
    path = Path(order["output"])
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    path.unlink()
    return content
