"""What a nightly run came to, step by step, as data and as text. Rendering only."""

from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from fluxhero.markdown import page, points, table

Ended = Literal["ok", "findings", "failed", "skipped", "not run"]
_SHOWN: dict[Ended, str] = {
    "ok": "Completed",
    "findings": "Completed with findings",
    "failed": "Failed",
    "skipped": "Skipped",
    "not run": "Not run",
}


class Step(BaseModel):
    """One step of a night.

    Attributes:
        name: broker, ingest, archive, check or snapshot.
        ended: how.
        came_to: the verdict of its report; of a failure, the cause; of a step that was not run, why.
        seconds: it took; None where it was not run.
        exit_status: that a command deserves which did this alone.
        run_id: of its flow run.
        url: page of that run, where there is one.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    ended: Ended
    came_to: str
    seconds: float | None = None
    exit_status: int = 0
    run_id: str | None = None
    url: str | None = None

    @property
    def shown(self) -> str:
        """How it ended, in words."""
        return _SHOWN[self.ended]

    @property
    def stops(self) -> bool:
        """Whether what depends on it is not to be done."""
        return self.ended in {"failed", "not run"}


class NightReport(BaseModel):
    """Outcome of `nightly`; `cost` is what orchestration took of it, in one sentence, where measured."""

    model_config = ConfigDict(frozen=True)

    began_at: AwareDatetime
    ended_at: AwareDatetime
    steps: tuple[Step, ...]
    cost: str | None = None

    @property
    def failed(self) -> bool:
        """Whether a step failed."""
        return any(step.ended == "failed" for step in self.steps)

    @property
    def ok(self) -> bool:
        """Whether every step that was to be done has been, and found nothing."""
        return all(step.ended in {"ok", "skipped"} for step in self.steps)

    @property
    def exit_status(self) -> int:
        """That a command deserves: the gravest of the steps that failed, else 1 for findings."""
        failed = [step.exit_status for step in self.steps if step.ended == "failed"]
        return max(failed) if failed else int(not self.ok)

    @property
    def verdict(self) -> str:
        """One sentence: the answer first."""
        failed = [step for step in self.steps if step.ended == "failed"]
        if failed:
            stop, *others = failed
            return "; ".join(
                [
                    f"stopped at {stop.name}: {stop.came_to.rstrip('.')}",
                    *(f"{one.name} was not run" for one in self.steps if one.ended == "not run"),
                    *(f"{one.name} failed too: {one.came_to.rstrip('.')}" for one in others),
                ]
            )
        done = ", ".join(step.name for step in self.steps if step.ended != "skipped")
        found = [step for step in self.steps if step.ended == "findings"]
        if found:
            said = "; ".join(f"{step.name}: {step.came_to}" for step in found)
            return f"Done with findings ({done}). {said}"
        return f"All done: {done}."

    def details(self) -> list[str]:
        """What else a reader should know, a line each."""
        seconds = (self.ended_at - self.began_at).total_seconds()
        lines = [f"From {_clock(self.began_at)} to {_clock(self.ended_at)} UTC, {seconds:,.0f} s"]
        return [*lines, self.cost] if self.cost else lines

    def table(self) -> list[dict[str, str | int]]:
        """A row a step."""
        return [
            {
                "step": step.name,
                "state": step.shown,
                "seconds": "" if step.seconds is None else f"{step.seconds:,.1f}",
                "came to": step.came_to,
            }
            for step in self.steps
        ]

    def markdown(self) -> str:
        """The whole report."""
        heads = ("step", "state", ">seconds", "came to")
        rows = [list(row.values()) for row in self.table()]
        for row, step in zip(rows, self.steps, strict=True):
            row[0] = f"[{step.name}]({step.url})" if step.url else step.name
        return page(self.verdict, ("", [table(heads, rows)]), ("", points(self.details())))


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
