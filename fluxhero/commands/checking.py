"""`fluxhero check`: is everything that was stored still there, and still right?"""

import click

from fluxhero.commands.output import finish
from fluxhero.commands.parameters import json_option
from fluxhero.commands.running import prefect_ready, report_of


@click.command(short_help="Find storage faults, and mend what has a good copy.")
@click.option(
    "--deep",
    is_flag=True,
    help="Read every byte and every row, whatever passed before.",
)
@click.option(
    "--repair",
    is_flag=True,
    help="Mend what has a proven source; the damaged original is kept and every repair can be undone.",
)
@json_option
def check(*, deep: bool, repair: bool, as_json: bool) -> None:
    """Check everything the ledger stands on: files, hot store against archive, and every value.

    Each finding says which rule, which rows or file, and what to do. Rows and files that fail are
    copied to the quarantine folder; nothing is deleted. Without --deep only what is new, changed or
    due by schedule is read, so that every byte is read within FLUXHERO_SCRUB_DAYS.

    Ends with 1 when something is wrong that is not waived; `fluxhero waiver` accepts a finding for a
    while. docs/checks.md lists every rule.

    \b
    Examples:
      fluxhero check
      fluxhero check --deep
      fluxhero check --repair
    """
    with prefect_ready():
        from flows.check_storage import check_storage

        report = report_of(check_storage(deep=deep, repair=repair, return_state=True))
    finish(report, as_json=as_json, tabled=False)
