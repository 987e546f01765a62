"""One process of an engine after the other: asked for jobs, bounded, and looked at when it has ended."""

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from config.settings import variable
from fluxhero.backtest.engine_files import Kind, Process, read_peak_mb, read_process
from fluxhero.backtest.environments import Environment
from fluxhero.backtest.isolation import Bounds, Ended, Outcome, run_isolated
from fluxhero.durable import make_folder, storage_errors
from fluxhero.errors import EngineUnavailableError

_HARNESS: Final = Path(__file__).parent / "runners" / "harness.py"
_SPARE_SECONDS: Final = 60.0  # beyond the jobs: the interpreter's start and end


@dataclass(frozen=True, eq=False)
class Call:
    """One process: what it said of itself and how it ended."""

    results: Path
    numbers: tuple[int, ...]
    outcome: Outcome
    process: Process | None

    @property
    def victim(self) -> int | None:
        """The job that it was at work on when it died."""
        return next(
            (one for one in self.numbers if not (self.results / f"{one}.json").exists()), None
        )

    @property
    def peak_mb(self) -> float:
        """Most memory it had, by its own word and as it was seen."""
        return max(self.outcome.peak_mb, read_peak_mb(self.results))


class EngineProcesses:
    """The processes of one engine's run.

    Attributes:
        folder: where bars and answers are kept.
        made: those that have ended.
    """

    def __init__(
        self,
        environment: Environment,
        runner: Path,
        bounds: Bounds,
        folder: Path,
        advance: Callable[[], None] | None,
    ) -> None:
        self.folder = folder
        self._environment = environment
        self._runner = runner
        self._bounds = bounds
        self._advance = advance
        self.made: list[Call] = []
        with storage_errors("write", folder):
            make_folder(folder)

    def call(self, asked: dict[int, dict[str, Any]]) -> Call:
        """Run these jobs in one process, to its end."""
        results = self.folder / f"process-{len(self.made)}"
        request = results / "request.json"
        with storage_errors("write", request):
            shutil.rmtree(results, ignore_errors=True)  # an earlier run's answers are not these
            make_folder(results)
            jobs = [{**job, "number": number} for number, job in asked.items()]
            content = {
                "results": str(results),
                "seconds": self._bounds.seconds,
                "jobs": jobs,
            }
            request.write_text(json.dumps(content), "utf-8")
        outcome = self._run(request, results, len(jobs))
        call = Call(results, tuple(asked), outcome, read_process(results))
        self.made.append(call)
        return call

    def _run(self, request: Path, results: Path, jobs: int) -> Outcome:
        python = str(self._environment.python)
        seconds = self._bounds.seconds * (jobs + 1) + _SPARE_SECONDS
        try:
            return run_isolated(
                [python, "-I", str(_HARNESS), str(self._runner), str(request)],
                folder=results,
                bounds=Bounds(seconds, self._bounds.memory_mb),
                advance=self._advance,
            )
        except OSError as error:
            name = self._environment.engine.name
            raise EngineUnavailableError(
                f"{python}, which is to run {name}, cannot be started: {error.strerror}",
                next_step="delete the engine's environment to have it built again, or name another"
                f" interpreter in {variable('engine_pythons')}",
            ) from error


def death(outcome: Outcome, bounds: Bounds) -> tuple[Kind, str]:
    """What to say of the job that a process was at work on."""
    if outcome.ended is Ended.CRASHED and outcome.exit_code == -signal.SIGALRM:
        return "timed-out", f"took longer than {bounds.seconds:g} seconds"
    kinds: dict[Ended, Kind] = {
        Ended.TIMED_OUT: "timed-out",
        Ended.OUT_OF_MEMORY: "out-of-memory",
        Ended.CRASHED: "crashed",
    }
    lines = [line.strip()[:300] for line in outcome.output.splitlines() if line.strip()]
    said = " / ".join(lines[-2:])
    why = f"its process {outcome.cause or 'ended before its work was done'}"
    return kinds.get(outcome.ended, "failed"), f"{why}: {said}" if said else why
