"""`fluxhero repairs`: what was mended, and how to take it back."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from fluxhero.commands.output import show_json, show_records
from fluxhero.commands.parameters import json_option
from fluxhero.commands.running import settings_with_logging
from fluxhero.wording import counted

if TYPE_CHECKING:
    from fluxhero.integrity.scope import Scope


@click.group(short_help="What `check --repair` mended, and how to take it back.")
def repairs() -> None:
    """List what `fluxhero check --repair` replaced, and take a repair back.

    Every repair keeps the damaged original in the quarantine folder.

    \b
    Examples:
      fluxhero repairs list
      fluxhero repairs undo 3
    """


@repairs.command("list", short_help="List every repair.")
@json_option
def list_repairs(*, as_json: bool) -> None:
    """List every repair, oldest first: what was replaced, from where, and where the original is.

    \b
    Example:
      fluxhero repairs list
    """
    from fluxhero.integrity.repair_log import read_log

    done = read_log(_scope().home)
    verdict = f"{counted(len(done), 'repair')} so far."
    if as_json:
        show_json({"verdict": verdict, "repairs": [one.model_dump(mode="json") for one in done]})
        return
    click.echo(verdict)
    shown = ("number", "at", "rule", "object", "action", "source", "kept")
    show_records([{name: getattr(one, name) for name in shown} for one in done])


@repairs.command("undo", short_help="Take a repair back.")
@click.argument("number", type=click.IntRange(1))
@json_option
def undo(number: int, *, as_json: bool) -> None:
    """Give a file the bytes again that it had before repair NUMBER.

    The next check finds the fault again, and `check --repair` would mend it again.

    \b
    Example:
      fluxhero repairs undo 3
    """
    from fluxhero.archive.lock import archive_lock
    from fluxhero.integrity.repair import undo_repair

    scope = _scope()
    with archive_lock(scope.workspace.layout, "repairs undo"):
        undone = undo_repair(scope, number)
    verdict = f"Repair {number} undone: {undone.object}: {undone.action}."
    if as_json:
        show_json({"verdict": verdict, "object": undone.object, "kept": undone.kept})
        return
    click.echo(verdict)


def _scope() -> "Scope":
    from fluxhero.integrity.scope import Scope

    return Scope.of(settings_with_logging(), now=datetime.now(UTC), deep=False)
