"""The folder of a run, and what killed runs leave behind."""

import subprocess
import sys
from pathlib import Path

import pytest

from fluxhero.backtest.working import PREFIX, working_in
from fluxhero.errors import AlreadyRunningError

_WORKS = """
import sys
from pathlib import Path
from fluxhero.backtest.working import working_in
with working_in(Path(sys.argv[1])):
    (Path(sys.argv[1]) / "file").touch()
    print("up", flush=True)
    sys.stdin.read()
"""


def test_the_next_run_clears_what_a_killed_one_left_and_nothing_else(tmp_path: Path) -> None:
    killed, alive, ours = (tmp_path / f"{PREFIX}{name}" for name in ("killed", "alive", "ours"))
    (tmp_path / "sweeps").mkdir()
    working = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKS, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for folder in (killed, alive)
    ]
    with working[0], working[1]:
        for process in working:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
        working[0].kill()
        working[0].wait()
        assert (killed / "file").exists()
        with working_in(ours):
            assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [
                alive.name,
                ours.name,
                "sweeps",
            ]
        with pytest.raises(AlreadyRunningError, match="alive"), working_in(alive):
            pass
        assert (alive / "file").exists()
        working[1].communicate()
    assert [path.name for path in tmp_path.iterdir()] == ["sweeps"]
