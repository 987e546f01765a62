"""`fluxhero doctor`: what is wrong with this installation, and the secret of the operations API."""

from pathlib import Path

import click

from fluxhero.commands.output import finish, show_json
from fluxhero.commands.parameters import json_option
from fluxhero.commands.running import settings_with_logging

_ENV_FILE = Path(".env")


@click.command(short_help="What is wrong with this installation, and how to mend it.")
@click.option(
    "--make-secret",
    is_flag=True,
    help="Write a new token for the operations API into FLUXHERO_AUTH_SECRET_FILE; the one before stays "
    "valid until the next.",
)
@json_option
def doctor(*, make_secret: bool, as_json: bool) -> None:
    """Examine settings, folders, store, archive, access and the Prefect server. Changes nothing.

    Ends with 1 when something does not work. With --make-secret it makes the token that `fluxhero
    serve` asks for instead, readable by you alone, and prints where it is, never what it is.

    \b
    Examples:
      fluxhero doctor
      fluxhero doctor --make-secret
    """
    settings = settings_with_logging()
    if make_secret:
        _make_secret(settings.auth_secret_file, as_json=as_json)
        return
    from config.prefect_env import prefect_api_url
    from fluxhero.doctor import examine

    found = examine(settings, env_file=_ENV_FILE.absolute(), prefect_api=prefect_api_url())
    finish(found, as_json=as_json)


def _make_secret(file: Path, *, as_json: bool) -> None:
    from fluxhero.api.tokens import make_secret, previous

    make_secret(file)
    before = previous(file) if previous(file).exists() else None
    if as_json:
        show_json({"ok": True, "file": str(file), "previous": before and str(before)})
        return
    click.echo(f"A new token is in {file}; only you can read it.")
    if before:
        click.echo(f"The one before is in {before} and stays valid until you remove that file.")
