"""`fluxhero alert`: trying the targets, what was told and whether it arrived, and the courier."""

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from fluxhero.commands.output import show_json, show_records
from fluxhero.commands.parameters import json_option
from fluxhero.commands.running import settings_with_logging
from fluxhero.wording import counted, printable

if TYPE_CHECKING:
    from fluxhero.alerts.delivery import Tried
    from fluxhero.alerts.standing import AlertLine

_LAST = 20  # alerts listed without --all
_NO_TARGET = 2
EXAMPLES = (
    ("mail", "mailtos://USER:PASSWORD@smtp.example.com:587?from=me@example.com&to=me@example.com"),
    ("Telegram", "tgram://123456789:BOT_TOKEN/CHAT_ID"),
    ("Discord", "discord://WEBHOOK_ID/WEBHOOK_TOKEN"),
    ("ntfy", "ntfys://ntfy.sh/TOPIC"),
    ("webhook", "jsons://hooks.example.com/path"),
)

_URLS = "\n".join(f"  {name:<10}{url}" for name, url in EXAMPLES)
_HELP = f"""Try where alerts go, list what was told, and deliver it.

Alerts go to every URL of FLUXHERO_ALERT_URLS; spaces part them. %40 stands for an @ in a name or a
password, %3A for a colon, %2F for a slash. docs/alerts.md says how to get each URL, and what to do
about each alert.

\b
FLUXHERO_ALERT_URLS for
{_URLS}

\b
Examples:
  fluxhero alert test
  fluxhero alert list
  fluxhero alert retry
"""


@click.group(short_help="Alerts: try the targets, list what was told, deliver.", help=_HELP)
def alert() -> None:
    """The group of verbs."""


@alert.command("test", short_help="Send a test message to every target, now.")
@json_option
def test(*, as_json: bool) -> None:
    """Send a test message to every target of FLUXHERO_ALERT_URLS, and say how each did.

    Ends with 0 if every target took it, 1 if one did not, 2 if none is configured. A target's URL is
    a secret: it is called by its place and its scheme.

    \b
    Example:
      fluxhero alert test
    """
    from fluxhero.alerts.delivery import try_targets

    settings = settings_with_logging()
    tried = try_targets(settings, datetime.now(UTC))
    failed = sum(one.error is not None for one in tried)
    if not tried:
        verdict = "No target is configured: set FLUXHERO_ALERT_URLS in .env."
    elif failed:
        verdict = f"{failed:,} of {counted(len(tried), 'target')} did not take the test message."
    else:
        verdict = f"Delivered to {counted(len(tried), 'target')}: see that it is there."
    if as_json:
        rows = [_tried(one) for one in tried]
        show_json({"verdict": verdict, "ok": bool(tried) and not failed, "targets": rows})
    else:
        click.secho(verdict, bold=True)
        for one in tried:
            said = printable(one.error.what if one.error else f"{one.target.shown}: delivered")
            click.echo(f"  {said}")
        for name, url in () if tried else EXAMPLES:
            click.echo(f"  {name + ':':<10} FLUXHERO_ALERT_URLS={url}")
        if failed:
            click.echo("  docs/alerts.md says how each kind of target is set up.")
    sys.exit(0 if tried and not failed else 1 if tried else _NO_TARGET)


def _tried(one: "Tried") -> dict[str, Any]:
    return {
        "place": one.target.place,
        "scheme": one.target.scheme,
        "delivered": one.error is None,
        "problem": one.error.what if one.error else None,
    }


@alert.command("list", short_help="What was told, newest first, and whether it arrived.")
@click.option("--all", "everything", is_flag=True, help=f"More than the last {_LAST}.")
@json_option
def show(*, everything: bool, as_json: bool) -> None:
    """List the last alerts: when, how urgent, what, and whether they have arrived.

    Each is kept until 90 days after its delivery. Ends with 1 if one has waited for more than ten
    minutes, or was given up within the last week.

    \b
    Examples:
      fluxhero alert list
      fluxhero alert list --all --json
    """
    from fluxhero.alerts.standing import standing_now

    settings = settings_with_logging()
    found = standing_now(settings)
    lines = found.lines if everything else found.lines[:_LAST]
    if as_json:
        document = found.model_dump(mode="json", exclude={"lines"})
        rows = [line.model_dump(mode="json") for line in lines]
        show_json({"verdict": found.verdict, "ok": found.ok, **document, "alerts": rows})
    else:
        click.secho(printable(found.verdict), bold=True)
        show_records([_cells(line) for line in lines])
        if rest := len(found.lines) - len(lines):
            click.echo(f"… and {rest:,} earlier; --all lists them")
    if not found.ok:
        sys.exit(1)


def _cells(line: "AlertLine") -> dict[str, str]:
    return {
        "when (UTC)": f"{line.at.astimezone(UTC):%Y-%m-%d %H:%M}",
        "urgency": line.urgency.value,
        "alert": line.title,
        "delivery": line.standing.value + (f": {line.problem}" if line.problem else ""),
    }


@alert.command("retry", short_help="Try now what waits or was given up.")
@json_option
def retry(*, as_json: bool) -> None:
    """Try again, now, to deliver every alert that waits or was given up.

    Ends with 1 if one was not taken, with 2 if no target is configured.

    \b
    Example:
      fluxhero alert retry
    """
    from fluxhero.alerts.delivery import retry as retry_delivery
    from fluxhero.alerts.outbox import Outbox

    settings = settings_with_logging()
    done = retry_delivery(settings, Outbox(settings.data_dir), datetime.now(UTC))
    if not settings.alert_urls:
        verdict = "No target is configured: set FLUXHERO_ALERT_URLS in .env."
    elif done.failed:
        verdict = f"{done.failed:,} not taken, {done.delivered:,} delivered."
    elif done.delivered:
        verdict = f"Delivered: {done.delivered:,}."
    else:
        verdict = "Nothing waits, and nothing was given up."
    status = 1 if done.failed else 0 if settings.alert_urls else _NO_TARGET
    if as_json:
        counts = {"delivered": done.delivered, "failed": done.failed, "problems": done.problems}
        show_json({"verdict": verdict, "ok": not status, **counts})
    else:
        click.secho(verdict, bold=True)
        for problem in done.problems:
            click.echo(f"  {printable(problem)}")
    sys.exit(status)


@alert.command("watch", short_help="Watch for what is to be told, and deliver it, until stopped.")
def watch() -> None:
    """Watch the Prefect server and the data folder for what is to be told, and deliver it.

    `fluxhero up` runs this as its part "alerts"; run it by itself only where nothing else does.
    Ends when it is stopped (Ctrl-C, SIGTERM).

    \b
    Example:
      fluxhero alert watch
    """
    from fluxhero.alerts import courier

    courier.watch(settings_with_logging())


@alert.command("rules", short_help="The rules: what is told, and when.")
@json_option
def rules(*, as_json: bool) -> None:
    """List the rules: what is told, and when. docs/alerts.md says what to do about each.

    \b
    Example:
      fluxhero alert rules
    """
    from fluxhero.alerts.rules import RULES

    rows = [{"rule": one.name, "urgency": one.urgency, "told": one.description} for one in RULES]
    if as_json:
        show_json({"rules": rows})
    else:
        show_records(rows)
