"""An alert as a message: the answer first, what to do, when; plain text that fits where it goes."""

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from fluxhero.alerts.incidents import Incident, Urgency
from fluxhero.wording import counted, printable

LONGEST_TITLE: Final = 160
LONGEST_BODY: Final = 1_500  # Discord takes 2,000 characters in all, Telegram 4,096
_SHORTEST_TEXT: Final = 40
_NEW_YORK: Final = ZoneInfo("America/New_York")
_GRAVEST_FIRST: Final = (Urgency.CRITICAL, Urgency.WARNING, Urgency.RESOLVED)
# Discord reads these as formatting, and @everyone as a call; links and `code` it should read.
_DISCORD: Final = re.compile(r"(https?://\S+|`[^`\n]+`)|([\\*_~|>#\[\]`])|@")


@dataclass(frozen=True)
class Message:
    """What is sent."""

    title: str
    body: str
    urgency: Urgency


def message(incidents: Sequence[Incident], room: int = LONGEST_BODY) -> Message:
    """One alert as a message, or several as one that lists them.

    Args:
        incidents: one or more.
        room: most characters of the body.
    """
    return _single(incidents[0], room) if len(incidents) == 1 else _digest(incidents, room)


def _single(incident: Incident, room: int) -> Message:
    title = cut(f"{incident.urgency.capitalize()}: {_line(incident.title)}", LONGEST_TITLE)
    rest = [f"What to do: {_line(incident.next_step)}"] if incident.next_step else []
    if incident.url:
        rest.append(f"More: {_line(incident.url)}")
    rest.append(f"When: {both_times(incident.at)}")
    rest.append(f"FluxHero on {socket.gethostname()}")
    ending = "\n".join(rest)
    left = max(room - len(ending) - 2, _SHORTEST_TEXT)
    text = cut(printable(incident.text.strip(), keep="\n"), left)
    return Message(title, cut(f"{text}\n\n{ending}", room), incident.urgency)


def _digest(incidents: Sequence[Incident], room: int) -> Message:
    ranked = sorted(incidents, key=lambda one: (_GRAVEST_FIRST.index(one.urgency), one.at))
    counts = {urgency: sum(i.urgency is urgency for i in ranked) for urgency in _GRAVEST_FIRST}
    said = ", ".join(f"{count:,} {urgency}" for urgency, count in counts.items() if count)
    title = f"{ranked[0].urgency.capitalize()}: {counted(len(ranked), 'alert')} at once ({said})"
    ending = f"\n`fluxhero alert list` shows each in full.\nFluxHero on {socket.gethostname()}"
    lines: list[str] = []
    left = room - len(ending) - len("… and 1,000 more\n")
    for incident in ranked:
        when = f"{incident.at.astimezone(UTC):%m-%d %H:%M} UTC"
        line = cut(f"{incident.urgency.capitalize()}, {when}: {_line(incident.title)}", 200)
        left -= len(line) + 1
        if left < 0:
            lines.append(f"… and {len(ranked) - len(lines):,} more")
            break
        lines.append(line)
    return Message(title, cut("\n".join(lines) + "\n" + ending, room), ranked[0].urgency)


def for_scheme(text: str, scheme: str) -> str:
    """The text as a target shows it unchanged."""
    if scheme != "discord":
        return text
    return _DISCORD.sub(_plain_in_discord, text)


def _plain_in_discord(match: re.Match[str]) -> str:
    if match[1]:
        return match[1].replace("@", "@\u200b") if match[1].startswith("`") else match[1]
    return f"\\{match[2]}" if match[2] else "@\u200b"


def both_times(at: datetime) -> str:
    """A moment in UTC and in New York."""
    new_york = at.astimezone(_NEW_YORK)
    utc = at.astimezone(UTC)
    day = f"{new_york:%Y-%m-%d} " if new_york.date() != utc.date() else ""
    return f"{utc:%Y-%m-%d %H:%M:%S} UTC ({day}{new_york:%H:%M:%S} New York)"


def cut(text: str, room: int) -> str:
    """The text, its end left out where it is longer than there is room for."""
    return text if len(text) <= room else text[: max(room - 1, 0)].rstrip() + "…"


def _line(text: str) -> str:
    return " ".join(printable(text, keep="\n\t").split())
