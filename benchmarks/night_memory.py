"""The server's memory while a thousand flow runs come and go.

The runs are small and real (three steps, ten log lines, an artifact), made one after the other by one
process, so that a thousand take minutes: what is measured is the server, which cannot tell.
"""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.night_shift import ROOT, answer, night_shift, say
from fluxhero.night.state import Part

_EVERY = 50
WARM = 500  # runs after which its caches and pools are as large as they get


def measure(folder: Path, runs: int) -> list[dict[str, float]]:
    """Memory (MB) and CPU seconds of the server, at the beginning and after every fifty runs."""
    with night_shift(folder, Part.SERVER) as shift:
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks.night_memory", str(runs)],
            cwd=ROOT,
            env=shift.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            samples = []
            for line in process.stdout:
                server = shift.parts[Part.SERVER]
                memory, times = server.memory_info(), server.cpu_times()
                samples.append(
                    {
                        "runs": json.loads(line),
                        "rss": memory.rss / 1e6,
                        "cpu": times.user + times.system,
                    }
                )
                say(f"memory: {samples[-1]}")
        if process.returncode:
            raise RuntimeError("the runs failed")
    return samples


def growth(samples: list[dict[str, float]]) -> float:
    """How much larger the server is at the end than it was when warm: 0.05 is 5 %."""
    warm = next(one for one in samples if one["runs"] >= WARM)
    return samples[-1]["rss"] / warm["rss"] - 1


def make_runs(count: int) -> None:
    """So many runs; after every fifty a line."""
    from prefect import flow, get_run_logger, task
    from prefect.artifacts import create_markdown_artifact

    @task
    def step(number: int) -> int:
        for line in range(3):
            get_run_logger().info("line %d of step %d", line, number)
        return number

    @flow
    def small_run(number: int) -> None:
        get_run_logger().info("run %d", number)
        for one in range(3):
            step(one)
        create_markdown_artifact(f"run {number}\n" * 20, key="small-run")

    answer(0)
    for number in range(1, count + 1):
        small_run(number)
        if number % _EVERY == 0:
            answer(number)


if __name__ == "__main__":
    make_runs(int(sys.argv[1]))
