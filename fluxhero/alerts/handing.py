"""Handing messages to a target within bounded time: starts `sending`, hears its answers, ends it."""

import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import IO, Final, cast

from pydantic import ValidationError

from fluxhero.alerts.incidents import Incident
from fluxhero.alerts.sending import Answer, Request
from fluxhero.alerts.targets import Target
from fluxhero.errors import DeliveryError

LONGEST_SECONDS: Final = 40.0  # that one target may take in one round
_LOOK_SECONDS: Final = 0.2


def handed(
    target: Target,
    messages: Sequence[Sequence[Incident]],
    *,
    longest_seconds: float = LONGEST_SECONDS,
    stop: Event | None = None,
) -> Generator[DeliveryError | None]:
    """What became of each message, as soon as it is known: None, or why it was not taken.

    Ends early where the target keeps failing, does not answer, or `stop` is set; the rest was not tried
    then, or may have been.
    """
    request = Request(url=target.url, messages=tuple(map(tuple, messages)))
    said = _answers(request, longest_seconds, stop or Event())
    readable = next(said, None)
    if readable is None:  # stopped before it could begin
        return
    if not readable.ok:
        yield _error(target, readable)
        return
    for answer in said:
        yield None if answer.ok else _error(target, answer)


def unreadable(target: Target, *, longest_seconds: float = LONGEST_SECONDS) -> DeliveryError | None:
    """What is wrong with the URL of a target; None if Apprise can read it. Nothing is sent."""
    answer = next(_answers(Request(url=target.url), longest_seconds, Event()))
    return None if answer.ok else _error(target, answer)


@dataclass
class _Bound:
    """Ends a process when its time is over, or when it is told to."""

    process: subprocess.Popen[str]
    seconds: float
    stop: Event
    late: bool = False
    ended: Event = field(default_factory=Event)

    def watch(self) -> None:
        """Look a few times a second."""
        until = time.monotonic() + self.seconds
        while not self.ended.wait(_LOOK_SECONDS):
            self.late = time.monotonic() >= until
            if self.late or self.stop.is_set():
                self.process.kill()
                return


def _answers(request: Request, longest_seconds: float, stop: Event) -> Iterator[Answer]:
    """One for the URL, then those of the messages, and one of the process where it says too few."""
    expected = 1 + len(request.messages)
    count = failures = 0
    with subprocess.Popen(  # the URL goes by standard input: arguments can be seen by everybody
        [sys.executable, "-m", "fluxhero.alerts.sending"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # a traceback quotes what it likes
        text=True,
        encoding="utf-8",
    ) as process:
        bound = _Bound(process, longest_seconds, stop)
        Thread(target=bound.watch, daemon=True).start()
        try:
            with suppress(BrokenPipeError), cast("IO[str]", process.stdin) as given:
                given.write(request.model_dump_json())
            for line in cast("IO[str]", process.stdout):
                with suppress(ValidationError):  # half a line of a process that was ended
                    answer = Answer.model_validate_json(line)
                    count += 1
                    failures += not answer.ok
                    yield answer
            process.wait()
        finally:
            bound.ended.set()
            process.kill()
    if count < expected and not stop.is_set() and (not failures or bound.late):
        problem = f"did not answer within {longest_seconds:g} seconds" if bound.late else ""
        ended = f"the process that sends ended with status {process.returncode}"
        yield Answer(problem=problem or ended)


def _error(target: Target, answer: Answer) -> DeliveryError:
    return DeliveryError(
        f"{target.shown}: {answer.problem}",
        next_step="correct FLUXHERO_ALERT_URLS or what it leads to; `fluxhero alert test` tries it",
    )
