"""Handing messages to one target, in a process of its own: `python -m fluxhero.alerts.sending`.

What belongs here: all that touches Apprise. A process can be ended when a target hangs however it
hangs, and neither Apprise's memory nor its log is the courier's. Reads one JSON document from standard
input; answers a JSON line a message, at once, so that what was sent is known even if it is ended.
"""

import json
import logging
import re
import signal
import sys
from collections.abc import Iterator
from typing import Any, Final, TextIO

from pydantic import BaseModel, ConfigDict

from fluxhero.alerts.incidents import Incident, Urgency
from fluxhero.alerts.targets import redacted
from fluxhero.alerts.wording import LONGEST_BODY, cut, for_scheme, message
from fluxhero.wording import printable

SOCKET_SECONDS: Final = 10.0
_ORPHANED_SECONDS: Final = 120  # whoever started it is gone by then
_TITLE_ROOM: Final = 200  # what a target adds to the title, or escapes in it
_LONGEST_PROBLEM: Final = 300
_FAILURES_IN_A_ROW: Final = 2  # then the target is to blame, not the message
_REASONS: Final = (
    re.compile(r"\[Errno -?\d+\] ([A-Za-z][A-Za-z ,/-]{3,80})"),
    re.compile(r"(timed out)"),
    re.compile(r"(certificate verify failed(?:: [a-z ,-]+)?)"),
    re.compile(r"(wrong version number)"),
    re.compile(r"(Remote end closed connection|Connection unexpectedly closed)"),
    # What an SMTP server answers: (535, b'5.7.8 Username and password not accepted')
    re.compile(r"""\((\d{3}, b?['"][^'"]{0,200})"""),
)


class Request(BaseModel):
    """What is to be sent where; without messages, it is only told whether the URL can be read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    messages: tuple[tuple[Incident, ...], ...] = ()


class Answer(BaseModel):
    """How it went; `problem` has no secrets in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    problem: str | None = None

    @property
    def ok(self) -> bool:
        """Whether it went well."""
        return self.problem is None


class _Log(logging.Handler):
    """Keeps what Apprise says of an attempt, since its functions only answer yes or no."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.warning = ""
        self.reason = ""

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if record.levelno >= logging.WARNING:
            self.warning = said
        elif record.levelno == logging.DEBUG and "Exception" in said:
            # Not the whole: it quotes addresses, and with some services those are the secret.
            found = (pattern.search(said) for pattern in _REASONS)
            self.reason = next((match[1] for match in found if match), self.reason)

    def problem(self, url: str) -> str:
        """Why it failed, in one line, without secrets."""
        parts = [part.strip(" .") for part in (self.warning, self.reason) if part]
        text = ": ".join(parts) or "the target did not take it and did not say why"
        text = " ".join(printable(redacted(text, url), keep="\n\r\t").split())
        return cut(text, _LONGEST_PROBLEM)


def answers(request: Request) -> Iterator[Answer]:
    """Whether the URL can be read, then how each message went; fewer where the target keeps failing."""
    log = _Log()
    target = _target(request.url, log)
    if target is None:
        yield Answer(problem=f"Apprise cannot read this URL: {log.problem(request.url)}")
        return
    yield Answer()
    failures = 0
    for incidents in request.messages:
        answer = _sent(target, request.url, incidents)
        failures = 0 if answer.ok else failures + 1
        yield answer
        if failures == _FAILURES_IN_A_ROW:
            return


def _target(url: str, log: _Log) -> Any | None:
    import apprise

    _listen(log)
    asset = apprise.AppriseAsset(
        app_id="FluxHero",
        app_desc="FluxHero night shift",
        app_url="",
        image_url_mask="",  # no target is told to fetch a picture from somewhere
        image_url_logo="",
        async_mode=False,
    )
    target = apprise.Apprise.instantiate(url, asset=asset)
    if target is not None:
        if "cto=" not in url:
            target.socket_connect_timeout = SOCKET_SECONDS
        if "rto=" not in url:
            target.socket_read_timeout = SOCKET_SECONDS
    return target


def _sent(target: Any, url: str, incidents: tuple[Incident, ...]) -> Answer:
    import apprise

    kinds = {
        Urgency.CRITICAL: apprise.NotifyType.FAILURE,
        Urgency.WARNING: apprise.NotifyType.WARNING,
        Urgency.RESOLVED: apprise.NotifyType.SUCCESS,
    }
    room = max(target.body_maxlen - _TITLE_ROOM, target.body_maxlen // 2)  # some take only an SMS
    said = message(incidents, min(room, LONGEST_BODY))
    scheme = url.partition("://")[0].lower()
    log = _Log()
    _listen(log)
    sender = apprise.Apprise(target, asset=target.asset)
    sent = sender.notify(
        title=for_scheme(said.title, scheme),
        body=cut(for_scheme(said.body, scheme), room),
        notify_type=kinds[said.urgency],
        body_format=apprise.NotifyFormat.TEXT,
    )
    return Answer() if sent else Answer(problem=log.problem(url))


def _listen(log: _Log) -> None:
    logger = logging.getLogger("apprise")
    logger.handlers = [log]
    logger.setLevel(logging.DEBUG)
    logger.propagate = False


def main(given: TextIO, out: TextIO) -> None:
    """Read a request, and write the answers."""
    request = Request.model_validate(json.load(given))
    for answer in answers(request):
        out.write(answer.model_dump_json() + "\n")
        out.flush()


if __name__ == "__main__":
    signal.alarm(_ORPHANED_SECONDS)
    main(sys.stdin, sys.stdout)
