"""`fluxhero up` and `fluxhero down`: the night shift on this machine."""

import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from fluxhero.commands.output import show_json
from fluxhero.commands.parameters import json_option
from fluxhero.commands.running import settings_with_logging
from fluxhero.wording import printable

if TYPE_CHECKING:
    from config.settings import Settings
    from fluxhero.night.shift import Asked, Prepared
    from fluxhero.night.signals import StopSignals
    from fluxhero.night.state import NightState

_PARTS = ("server", "api", "worker", "alerts")
_PORT = click.IntRange(1, 65_535)


@click.command(short_help="Start the night shift: schedules, runs, alerts, pages.")
@click.option(
    "--only",
    "only",
    type=click.Choice(_PARTS),
    multiple=True,
    help="Start this part alone; repeat for more. For parts on several machines.",
)
@click.option("--prefect-port", type=_PORT, help="Port of the Prefect server and UI.")
@click.option("--api-port", type=_PORT, help="Port of the operations page.")
@click.option("--detach", is_flag=True, help="Go on in the background; return once all is up.")
@click.option("--no-screen", is_flag=True, help="One log line a change instead of the screen.")
@json_option
def up(
    only: tuple[str, ...],
    prefect_port: int | None,
    api_port: int | None,
    *,
    detach: bool,
    no_screen: bool,
    as_json: bool,
) -> None:
    """Start everything that runs by itself and keep it running, until Ctrl-C or `fluxhero down`.

    The Prefect server with its UI, a worker that starts the scheduled runs of prefect.yaml, the
    operations page, and the courier of alerts. What ends is started again. Schedules missed meanwhile are
    caught up with. A second `up` says what runs. Settings are read once, at the start.

    A port that is taken is passed over, unless a setting or an option asks for it. With PREFECT_API_URL
    set, that Prefect server is used and none is started.

    \b
    Examples:
      fluxhero up
      fluxhero up --detach
      fluxhero up --only worker --only alerts
    """
    from fluxhero.errors import AlreadyRunningError
    from fluxhero.night.shift import Asked, only_shift, running_state
    from fluxhero.night.state import Part, read_state

    settings = settings_with_logging()
    asked = Asked(tuple(Part(one) for one in only) or tuple(Part), prefect_port, api_port)
    if running := read_state(settings.data_dir):
        _show_running(running, settings, as_json=as_json)
        return
    if detach:
        from fluxhero.night.detached import start_detached

        state = start_detached(settings.data_dir, _arguments(asked))
        _show_running(state, settings, as_json=as_json)
        return
    try:
        with only_shift(settings.data_dir):
            on_terminal = sys.stdout.isatty() and not (no_screen or as_json)
            _supervise(settings, asked, screen=on_terminal, as_json=as_json)
    except AlreadyRunningError:
        if not (running := running_state(settings.data_dir)):
            raise
        _show_running(running, settings, as_json=as_json)


@click.command(short_help="End the night shift of the data folder.")
@json_option
def down(*, as_json: bool) -> None:
    """End what `fluxhero up` started on the data folder, and whatever a killed one has left.

    A run that is at work is told to end, and shows as crashed; the next one completes what it left.

    \b
    Examples:
      fluxhero down
      fluxhero down --json
    """
    from fluxhero.night.shift import end_shift

    settings = settings_with_logging()
    done = end_shift(settings.data_dir)
    if as_json:
        show_json({"ok": True, "done": done})
    else:
        click.echo(done)


def _supervise(settings: "Settings", asked: "Asked", *, screen: bool, as_json: bool) -> None:
    from fluxhero.night.shift import prepare
    from fluxhero.night.signals import StopSignals
    from fluxhero.night.supervisor import Supervisor

    with StopSignals() as signals:
        prepared = prepare(settings, asked)
        if screen:
            signal = _on_screen(prepared, signals)
        else:
            announce = _Announcer(settings, as_json=as_json)
            place, parts, notices = prepared.place, prepared.parts, prepared.notices
            signal = Supervisor(place, parts, notices, told=announce).run(signals)
    with suppress(OSError):  # the terminal may be gone
        click.echo(f"Stopped by {signal}; nothing of the night shift runs any more.", err=True)


def _on_screen(prepared: "Prepared", signals: "StopSignals") -> str:
    """Supervise with the screen, which says all that the log would."""
    from fluxhero.night.screen import Screen
    from fluxhero.night.sight import Lookout
    from fluxhero.night.supervisor import Supervisor

    place = prepared.place
    lookout = Lookout(place)
    logging.getLogger("fluxhero.night").setLevel(logging.ERROR)
    with Screen(token_place(place.settings), lambda: lookout.sight) as screen:
        lookout.start()
        try:
            supervisor = Supervisor(place, prepared.parts, prepared.notices, beat=screen.show)
            return supervisor.run(signals)
        finally:
            lookout.stop()


class _Announcer:
    """Says once, when all is up, where everything is."""

    def __init__(self, settings: "Settings", *, as_json: bool) -> None:
        self._settings = settings
        self._as_json = as_json
        self._said = False

    def __call__(self, state: "NightState") -> None:
        if not self._said and state.all_up:
            self._said = True
            with suppress(OSError):  # nobody reads it any more, and the night shift goes on
                _show_running(state, self._settings, as_json=self._as_json)
                sys.stdout.flush()


def _arguments(asked: "Asked") -> list[str]:
    """The options that ask for the same."""
    arguments = [word for part in asked.parts for word in ("--only", str(part))]
    for flag, port in (("--prefect-port", asked.prefect_port), ("--api-port", asked.api_port)):
        arguments += [] if port is None else [flag, str(port)]
    return arguments


def _show_running(state: "NightState", settings: "Settings", *, as_json: bool) -> None:
    """Say what runs."""
    from fluxhero.night.logs import log_folder

    if as_json:
        document = state.model_dump(mode="json", exclude={"token", "created"})
        logs = str(log_folder(settings.data_dir))
        show_json({"ok": True, "all_up": state.all_up, **document, "logs": logs})
        return
    since = f"{state.started_at.astimezone():%Y-%m-%d %H:%M:%S %Z}"
    click.secho(f"The night shift runs since {since} (pid {state.pid}).", bold=True)
    lines = [("Prefect UI", state.ui_url)]
    if state.page_url:
        lines.append(("Operations", f"{state.page_url}  ({token_place(settings)})"))
    for part in state.parts:
        pid = f", pid {part.pid}" if part.pid else ""
        problem = f": {part.problem}" if part.problem and part.pid is None else ""
        lines.append((str(part.part), f"{part.standing}{pid}{problem}"))
    lines += [("Note", notice) for notice in state.notices]
    lines.append(("Logs", str(log_folder(settings.data_dir))))
    for name, text in lines:
        click.echo(f"  {name + ':':<12} {printable(text)}")
    click.echo("`fluxhero down` ends it.")


def token_place(settings: "Settings") -> str:
    """Where the token of the operations page is."""
    given = settings.auth_secret and settings.auth_secret.get_secret_value().strip()
    return f"token in {'FLUXHERO_AUTH_SECRET' if given else settings.auth_secret_file}"
