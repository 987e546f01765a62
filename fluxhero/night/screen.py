"""The live status screen of a night shift: one page that fits 80 columns, drawn again when due."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fluxhero.night.sight import Sight
from fluxhero.night.state import NightState, Standing
from fluxhero.wording import printable

REDRAW_SECONDS: Final = 2.0
_MOST_COMING: Final = 6
_ROOMY_LINES: Final = 38
_COLOURS: Final = {
    Standing.UP: "green",
    Standing.WAITING: "red",
    Standing.STARTING: "yellow",
    Standing.STOPPING: "yellow",
    Standing.STOPPED: "dim",
}
_RUN_COLOURS: Final = {
    "COMPLETED": "green",
    "FAILED": "red",
    "CRASHED": "red",
    "CANCELLED": "yellow",
    "RUNNING": "cyan",
}


class Screen:
    """Draws within the block.

    Args:
        token_place: where the operations page's token is, for people.
        sight: gives what is known beside the parts.
        console: where it is drawn.
    """

    def __init__(
        self, token_place: str, sight: Callable[[], Sight], console: Console | None = None
    ) -> None:
        self._token_place = token_place
        self._sight = sight
        self._live = Live(
            console=console or Console(highlight=False),
            auto_refresh=False,
            vertical_overflow="crop",
            transient=True,
        )
        self._drawn_at = 0.0
        self._drawn: NightState | None = None

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._live.stop()

    def show(self, state: NightState) -> None:
        """Draw if something changed, or the last time is a while ago.

        A terminal that was closed shows nothing any more; the parts still have to be ended in order.
        """
        now = time.monotonic()
        if state is self._drawn and now - self._drawn_at < REDRAW_SECONDS:
            return
        self._drawn, self._drawn_at = state, now
        roomy = self._live.console.height >= _ROOMY_LINES
        page = render(state, self._sight(), self._token_place, datetime.now(UTC), roomy=roomy)
        with suppress(OSError):
            self._live.update(page, refresh=True)


def render(
    state: NightState, sight: Sight, token_place: str, now: datetime, *, roomy: bool = True
) -> RenderableType:
    """The page.

    Args:
        state: of the parts.
        sight: what else is known.
        token_place: where the operations page's token is, for people.
        now: the moment it is drawn, with its zone.
        roomy: with an empty line between the blocks.
    """
    blocks: list[RenderableType] = [
        _title(state, now),
        _places(state, token_place),
        _parts(state, now),
        _coming(sight, now),
        _runs(sight, now),
        _alerts(sight),
        Text("Ctrl-C ends it.", style="dim"),
    ]
    if roomy:
        blocks = [one for block in blocks for one in (block, Text())]
    return Group(*blocks)


def _title(state: NightState, now: datetime) -> Text:
    well = state.all_up
    standing = Text("all up" if well else "not all up", style="bold green" if well else "bold red")
    since = f", since {_moment(state.started_at, now)}, pid {state.pid}"
    return Text.assemble(("FluxHero night shift: ", "bold"), standing, since, no_wrap=True)


def _places(state: NightState, token_place: str) -> Table:
    table = _table("", "")
    table.show_header = False
    table.add_row("Prefect UI", _cut(state.ui_url, "bold"))
    if state.page_url:
        table.add_row("Operations", _cut(state.page_url, "bold"))
        table.add_row("", _cut(token_place))
    for notice in state.notices:
        table.add_row("Note", _cut(notice, "yellow"))
    return table


def _parts(state: NightState, now: datetime) -> Table:
    table = _table("Part", "Standing", "Since", "Restarts", "Ended last because it")
    for part in state.parts:
        table.add_row(
            str(part.part),
            Text(str(part.standing), style=_COLOURS[part.standing]),
            _moment(part.since, now),
            str(part.restarts or ""),
            _cut(part.problem or ""),
        )
    return table


def _coming(sight: Sight, now: datetime) -> Table:
    table = _table("Next", "Run", "")
    for run in sight.next_runs(now)[:_MOST_COMING]:
        skipped = _cut(f"skipped: {run.skipped}" if run.skipped else "", "yellow")
        table.add_row(_moment(run.at, now), run.deployment, skipped)
    return table


def _runs(sight: Sight, now: datetime) -> Table:
    table = _table("Last", "Run", "State", "")
    for run in sight.runs:
        state = Text(printable(run.state), style=_RUN_COLOURS.get(run.kind, ""))
        table.add_row(_moment(run.at, now), _cut(run.name), state, _cut(run.message))
    if sight.problem:
        table.add_row("", _cut(sight.problem, "red"), "", "")
    return table


def _alerts(sight: Sight) -> Text:
    alerts = sight.alerts
    if alerts is None:
        return Text("")
    newest = f"; newest: {alerts.lines[0].title}" if alerts.lines else ""
    line = _cut(f"Alerts: {alerts.verdict}{newest}")
    line.style = "" if alerts.ok else "red"
    return line


def _table(*columns: str) -> Table:
    """Columns that never wrap; the last takes what is left of the line."""
    table = Table(box=None, pad_edge=False, expand=True, padding=(0, 2, 0, 0), header_style="dim")
    for place, column in enumerate(columns):
        last = place == len(columns) - 1
        table.add_column(
            column, no_wrap=True, overflow="ellipsis", ratio=1 if last else None, min_width=4
        )
    return table


def _cut(text: str, style: str = "") -> Text:
    """On one line, cut with … where it has no room."""
    return Text(printable(text), style=style, no_wrap=True, overflow="ellipsis")


def _moment(at: datetime, now: datetime) -> str:
    """In the machine's own time; with its day where that is another one."""
    local, today = at.astimezone(), now.astimezone().date()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%a %d %b %H:%M}"
