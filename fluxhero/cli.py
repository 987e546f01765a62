"""The `fluxhero` command: its verbs, and the one place where errors become exit statuses.

Commands import nothing heavy before they run, so that `--help` is quick.
"""

import atexit
import os
import sys
import traceback
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NoReturn

import click

from fluxhero.commands.archiving import archive, restore
from fluxhero.commands.demonstrating import demo
from fluxhero.commands.holding import hold
from fluxhero.commands.ingesting import ingest
from fluxhero.commands.querying import query
from fluxhero.commands.standing import status

USAGE, FAILED, INTERRUPTED, NO_READER = 2, 3, 130, 141


@dataclass
class Boundary:
    """Turns whatever leaves a command into a message and an exit status.

    0 fine, 1 ran and found something wrong, 2 bad usage or configuration, 3 could not be done, 130
    interrupted, 141 nobody reads the output any more (`| head`), as if SIGPIPE had ended it. With
    `debug`, the traceback is shown before the message.
    """

    debug: bool = False

    def __enter__(self) -> "Boundary":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, SystemExit):
            return
        if self.debug:
            click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
        message, status = _explain(error)
        click.echo(message, err=True)
        raise SystemExit(status) from None


def _explain(error: BaseException) -> tuple[str, int]:
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "fluxhero"
        return f"error: {error.format_message()} → run `{path} --help`", USAGE
    if isinstance(error, click.ClickException):
        return f"error: {error.format_message()}", error.exit_code
    if isinstance(error, click.Abort) or not isinstance(error, Exception):
        return (
            "stopped: nothing is lost → the next run completes what was interrupted",
            INTERRUPTED,
        )
    exit_status = getattr(error, "exit_status", None)  # FluxHeroError and SettingsError have one
    if exit_status is not None:
        return f"error: {error}", int(exit_status)
    name = f"{type(error).__module__}.{type(error).__name__}".removeprefix("builtins.")
    return (
        f"error: {name}: {error} → `fluxhero --debug …` shows where it was raised; please report",
        FAILED,
    )


class Verbs(click.Group):
    """The verbs; one whose output nobody reads any more ends quietly, as SIGPIPE would end it."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; click itself would make a 1 of a closed pipe, which means something wrong."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            pass
        except SystemExit as ended:
            if not isinstance(ended.__context__, BrokenPipeError):  # rich has made an exit of it
                raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is buffered still
        raise SystemExit(NO_READER)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="fluxhero-pipeline", prog_name="fluxhero")
@click.pass_context
def cli(context: click.Context, *, debug: bool) -> None:
    """Move a trading bot's closed trades to a verified Parquet archive; query both sides as one.

    \b
    First steps:
      fluxhero demo                 try everything on real data, in a folder of its own
      fluxhero status               where your own store stands
      fluxhero archive --dry-run    what would move

    Settings are FLUXHERO_… variables or lines of a .env file; .env.example explains each. To
    archive a FluxHero bot's database in place, set FLUXHERO_STORE_URL=sqlite:///path/to/system.db.

    Exit status: 0 fine, 1 ran and found something wrong, 2 bad usage or configuration, 3 could
    not be done.
    """
    context.ensure_object(Boundary).debug = debug


for _command in (demo, ingest, archive, restore, hold, query, status):
    cli.add_command(_command)


def _tear_down_silently() -> None:
    """Spare the user DuckDB's list of "leaked instances" while the interpreter is taken apart.

    Drop once DuckDB's Python package no longer prints it when a Prefect flow ran in the process.
    """
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command and exit.

    Args:
        argv: arguments without the program's name; those of the process when None.
    """
    atexit.register(_tear_down_silently)  # first in, so last out: after Prefect's own
    with Boundary() as boundary:
        result = cli.main(argv, prog_name="fluxhero", standalone_mode=False, obj=boundary)
        sys.exit(result if isinstance(result, int) else 0)
