"""`fluxhero serve`: the operations API and its page, until it is told to stop."""

import os
import signal
import socket
from typing import TYPE_CHECKING

import click

from fluxhero.commands.output import show_json
from fluxhero.commands.parameters import json_option
from fluxhero.commands.running import settings_with_logging
from fluxhero.night.ports import url_of

if TYPE_CHECKING:
    from config.settings import Settings
    from fluxhero.api.services import Services

_WAITING = 2_048  # connections that nobody has accepted yet
_MOST_FILES = 8_192  # a WebSocket client is one


@click.command(short_help="The operations API and its page.")
@click.option("--host", help="Address to listen on (default: FLUXHERO_API_HOST).")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    help="Port to listen on (default: FLUXHERO_API_PORT); 0: any free one.",
)
@json_option
def serve(host: str | None, port: int | None, *, as_json: bool) -> None:
    """Serve the operations page, /health, /metrics and the rest of the API until interrupted.

    Everything but the empty page, /livez and /readyz needs the token of FLUXHERO_AUTH_SECRET_FILE;
    `fluxhero doctor --make-secret` makes it. Nothing here changes the ledger or trades.

    \b
    Examples:
      fluxhero serve
      fluxhero serve --port 9000
    """
    settings = settings_with_logging()
    given = {"api_host": host, "api_port": port}
    settings = settings.model_copy(update={k: v for k, v in given.items() if v is not None})
    from fluxhero.api.tokens import Tokens

    Tokens(settings)  # says what is wrong with them before anything slow
    with _listening(settings.api_host, settings.api_port) as listener:
        url = f"{url_of(*listener.getsockname()[:2])}/"
        _run(settings, listener, url, as_json=as_json)


def _run(settings: "Settings", listener: socket.socket, url: str, *, as_json: bool) -> None:
    from config.logging import configure_logging
    from config.prefect_env import (
        LOCAL_HOST,
        LOCAL_PORT,
        prefect_api_url,
        prepare_prefect_environment,
    )

    prepare_prefect_environment()
    from fluxhero.api.app import create_app
    from fluxhero.api.connections import server_of
    from fluxhero.api.prefect_runs import PrefectRuns
    from fluxhero.api.watcher import watch

    api_url = prefect_api_url()
    runs = PrefectRuns(
        api_url or f"http://{LOCAL_HOST}:{LOCAL_PORT}/api",  # where somebody may start one yet
        settings.prefect_ui_url,
        expected=api_url is not None,
    )

    async def follow(services: "Services") -> None:
        await runs.follow(services.hub)

    configure_logging(settings)  # again: Prefect has been imported
    app = create_app(settings, runs=runs, background=(watch, follow))
    server = server_of(app, settings.api_host, settings.api_port)
    _allow_many_files()
    _say(url, settings, as_json=as_json)
    # uvicorn ends in order on either signal and raises it again then.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        click.echo("Stopped.", err=True)


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        AddressError: another program does, or the address is not ours.
    """
    from fluxhero.errors import AddressError

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # By its protocol asyncio knows that it may send at once; without, each answer waits 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_WAITING)
    except socket.gaierror as error:
        listener.close()
        raise AddressError(
            f"cannot listen on {host!r}: it is no address of this machine ({error.strerror})",
            next_step="give an address such as 127.0.0.1 with --host, or correct FLUXHERO_API_HOST",
        ) from error
    except OSError as error:
        listener.close()
        raise AddressError(
            f"cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}",
            next_step="end the program that has the port, or give another one with --port",
        ) from error
    return listener


def _allow_many_files() -> None:
    """Raise this process's own limit of open files, as far as it may."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(_MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _say(url: str, settings: "Settings", *, as_json: bool) -> None:
    if as_json:
        show_json({"url": url, "pid": os.getpid()})
        return
    given = settings.auth_secret and settings.auth_secret.get_secret_value().strip()
    where = "FLUXHERO_AUTH_SECRET" if given else settings.auth_secret_file
    click.secho(f"The operations page is at {url}", bold=True)
    click.echo(f"Log in with the token in {where}; Ctrl-C stops the service.")
