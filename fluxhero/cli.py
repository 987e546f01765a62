"""The `fluxhero` command: its verbs, and the one place where errors become exit statuses.

Commands import nothing heavy before they run, so that `--help` is quick.
"""

import atexit
import json
import os
import sys
import traceback
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NoReturn

import click
from click.exceptions import NoArgsIsHelpError

from config.variables import SettingsError
from fluxhero.commands.alerting import alert
from fluxhero.commands.archiving import archive, restore
from fluxhero.commands.breaking import breaker
from fluxhero.commands.checking import check
from fluxhero.commands.demonstrating import demo
from fluxhero.commands.evaluating import evaluate
from fluxhero.commands.examining import doctor
from fluxhero.commands.fetching import ingest_broker
from fluxhero.commands.holding import hold
from fluxhero.commands.ingesting import ingest
from fluxhero.commands.night import down, up
from fluxhero.commands.nightly_running import nightly
from fluxhero.commands.querying import query
from fluxhero.commands.reconciling import reconcile
from fluxhero.commands.refreshing import refresh
from fluxhero.commands.repairing import repairs
from fluxhero.commands.serving import serve
from fluxhero.commands.snapshotting import snapshot
from fluxhero.commands.standing import status
from fluxhero.commands.waiving import waiver
from fluxhero.errors import FluxHeroError
from fluxhero.release import DISTRIBUTION
from fluxhero.wording import printable

USAGE, FAILED, INTERRUPTED, NO_READER = 2, 3, 130, 141


@dataclass(frozen=True)
class Ending:
    """How an error ends the command."""

    kind: str
    message: str
    next_step: str
    exit_status: int
    prefix: str = "error: "

    def __str__(self) -> str:
        advice = f" → {self.next_step}" if self.next_step else ""
        return f"{self.prefix}{self.message}{advice}"

    def document(self) -> str:
        """The same as a JSON document, in ASCII: it can be printed whatever the message has in it."""
        error = {"kind": self.kind, "message": self.message.strip(), "next_step": self.next_step}
        return json.dumps({"ok": False, "error": error, "exit_status": self.exit_status})


@dataclass
class Boundary:
    """Turns whatever leaves a command into a message and an exit status.

    0 fine, 1 ran and found something wrong, 2 bad usage or configuration, 3 could not be done, 130
    interrupted, 141 nobody reads the output any more (`| head`), as if SIGPIPE had ended it. With
    `as_json`, standard output gets a document that says the same; with `debug`, the traceback is shown
    before the message.
    """

    as_json: bool = False
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
        ending = _explain(error)
        click.echo(printable(str(ending), keep="\n\t"), err=True)
        if self.as_json:
            click.echo(ending.document())
        raise SystemExit(ending.exit_status) from None


def _explain(error: BaseException) -> Ending:
    kind = type(error).__name__
    if isinstance(error, NoArgsIsHelpError):  # its message is the help
        return Ending(kind, error.format_message(), "", USAGE, prefix="")
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "fluxhero"
        return Ending(kind, error.format_message(), f"run `{path} --help`", USAGE)
    if isinstance(error, click.ClickException):
        return Ending(kind, error.format_message(), "", error.exit_code)
    if isinstance(error, click.Abort) or not isinstance(error, Exception):
        next_step = "the next run completes what was interrupted"
        return Ending(kind, "nothing is lost", next_step, INTERRUPTED, prefix="stopped: ")
    if isinstance(error, FluxHeroError | SettingsError):
        return Ending(kind, error.what, error.next_step, error.exit_status)
    name = f"{type(error).__module__}.{kind}".removeprefix("builtins.")
    next_step = "`fluxhero --debug …` shows where it was raised; please report"
    return Ending(kind, f"{name}: {error}", next_step, FAILED)


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
@click.version_option(package_name=DISTRIBUTION, prog_name="fluxhero")
@click.pass_context
def cli(context: click.Context, *, debug: bool) -> None:
    """Move a trading bot's closed trades to a verified Parquet archive; query both sides as one.

    \b
    First steps:
      fluxhero demo                 try everything on real data, in a folder of its own
      fluxhero status               where your own store stands
      fluxhero archive --dry-run    what would move
      fluxhero up                   have all of it done by schedule, with a page that shows it

    Settings are FLUXHERO_… variables or lines of a .env file; .env.example explains each. To
    archive a FluxHero bot's database in place, set FLUXHERO_STORE_URL=sqlite:///path/to/system.db.

    Exit status: 0 fine, 1 ran and found something wrong, 2 bad usage or configuration, 3 could
    not be done.
    """
    context.ensure_object(Boundary).debug = debug


_VERBS = (
    demo,
    ingest,
    ingest_broker,
    archive,
    restore,
    hold,
    check,
    waiver,
    repairs,
    reconcile,
    refresh,
    snapshot,
    breaker,
    evaluate,
    nightly,
    query,
    status,
    doctor,
    alert,
    serve,
    up,
    down,
)
for _command in _VERBS:
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
    arguments = sys.argv[1:] if argv is None else argv
    with Boundary(as_json="--json" in arguments) as boundary:
        result = cli.main(arguments, prog_name="fluxhero", standalone_mode=False, obj=boundary)
        sys.exit(result if isinstance(result, int) else 0)
