"""`fluxhero up` on a terminal: the screen, Ctrl-C, and the terminal that is closed. Without a real server."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhero.night import leftovers
from fluxhero.night.state import read_state, state_file
from tests.night.stand_ins import SERVER
from tests.ports import free_port

pytestmark = pytest.mark.measured

WAIT_SECONDS = 120
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A terminal of 80 columns with a command in it."""

    def __init__(self, folder: Path, environment: dict[str, str], *arguments: str) -> None:
        self.text = ""
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fluxhero", "up", *arguments],
            cwd=folder,
            env=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no threads here
        )
        os.close(slave)

    def read_until(self, said: str) -> str:
        end = time.monotonic() + WAIT_SECONDS
        while said not in self.text:
            assert time.monotonic() < end, self.text
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    read = os.read(self.master, 65_536)
                except OSError:  # Linux says so when the command has ended
                    break
                self.text += _CONTROL.sub("", read.decode("utf-8", "replace"))
        return self.text

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Somebody else's server, which only says that it is well."""
    port = free_port()
    with subprocess.Popen([sys.executable, "-c", SERVER.format(port=port)], cwd=tmp_path) as server:
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("FLUXHERO_", "PREFECT_"))
        }
        yield {
            **inherited,
            "HOME": str(tmp_path),
            "TERM": "xterm",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "FLUXHERO_DATA_DIR": str(tmp_path / "data"),
            "FLUXHERO_API_PORT": str(free_port()),
        }
        server.kill()


def test_the_screen_shows_what_runs_and_ctrl_c_ends_it(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    terminal = Terminal(tmp_path, environment, "--only", "api")
    try:
        text = terminal.read_until("night shift: all up")
        state = read_state(tmp_path / "data")
        assert state is not None
        assert [str(part.part) for part in state.parts] == ["api"]
        assert str(state.page_url) in text
        assert "Prefect server at" in text
        assert max(map(len, text.replace("\r", "").splitlines())) <= 80
        os.write(terminal.master, b"\x03")
        assert "Stopped by SIGINT" in terminal.read_until("nothing of the night shift runs")
        assert terminal.process.wait(WAIT_SECONDS) == 0
        assert leftovers.find(state.token) == []
        assert not state_file(tmp_path / "data").exists()
    finally:
        terminal.end()
        os.close(terminal.master)


def test_a_terminal_that_is_closed_ends_it_and_leaves_nothing(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    terminal = Terminal(tmp_path, environment, "--only", "api")
    try:
        terminal.read_until("night shift: all up")
        state = read_state(tmp_path / "data")
        assert state is not None
        os.close(terminal.master)
        terminal.process.wait(WAIT_SECONDS)
        assert leftovers.find(state.token) == []
        assert not state_file(tmp_path / "data").exists()
    finally:
        terminal.end()


def test_json_when_all_is_up_and_log_lines_meanwhile(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    command = [sys.executable, "-m", "fluxhero", "up", "--json", "--only", "api"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert '"all_up": true' in process.stdout.readline().replace('":t', '": t')
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=WAIT_SECONDS)
            assert process.returncode == 0
            assert "api: up" in err
            assert "Stopped by SIGTERM" in err
        finally:
            process.kill()
