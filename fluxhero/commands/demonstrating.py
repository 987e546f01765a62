"""`fluxhero demo`: the main job on real data, told step by step."""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fluxhero.commands.output import show_json, show_table
from fluxhero.commands.parameters import json_option
from fluxhero.commands.running import prefect_ready, report_of
from fluxhero.wording import counted

if TYPE_CHECKING:
    from config.settings import Settings
    from fluxhero.demo import DemoFiles
    from fluxhero.integrity.check_report import CheckReport

_BY_PLACE = (
    "SELECT source, mode, _location AS place, count(*) AS trades, sum(realized_pnl) AS result, "
    "min(exit_time)::DATE AS first_closed, max(exit_time)::DATE AS last_closed "
    "FROM trades GROUP BY ALL ORDER BY ALL"
)


@dataclass
class Story:
    """What the demo tells: a numbered step at a time, or everything at its end as JSON."""

    silent: bool
    told: list[dict[str, Any]] = field(default_factory=list)

    def step(self, title: str, said: str, **facts: Any) -> None:
        """Tell a step and its outcome."""
        self.told.append({"step": title, "outcome": said, **facts})
        if not self.silent:
            click.secho(f"\n{len(self.told)}. {title}", bold=True)
            click.echo(f"   {said}")

    def note(self, text: str) -> None:
        """Say something beside the steps."""
        if not self.silent:
            click.echo(text)


@click.command(short_help="Try the whole pipeline on real data, in a folder of its own.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("demo-data"),
    show_default=True,
    help="Where to work; an earlier demo there is replaced, anything else refused.",
)
@json_option
def demo(folder: Path, *, as_json: bool) -> None:
    """Ingest, archive, query, restore, check and measure real data, and say what each step did.

    Your own settings, store and archive are not used and not touched. Everything is in one folder,
    which you may remove at any time. Its runs appear in the Prefect server that runs on this machine,
    if one does.

    \b
    Examples:
      fluxhero demo
      fluxhero demo --folder /tmp/try
    """
    from config.prefect_env import use_demo_folder
    from fluxhero.demo import write_demo_files
    from fluxhero.demo.showing import fresh_folder

    story = Story(as_json)
    fresh = fresh_folder(folder)
    use_demo_folder(fresh, archive_mirror_dir=fresh / "mirror")
    story.note(f"FluxHero Pipeline demo in {fresh}")
    files = write_demo_files(fresh / "input")
    with prefect_ready() as settings:
        _run(story, settings, files)
    commands = _next_commands(folder, files)
    if as_json:
        show_json({"folder": str(fresh), "steps": story.told, "next": commands})
        return
    _say_where_to_look(fresh, commands)


def _run(story: Story, settings: "Settings", files: "DemoFiles") -> None:
    _ingest(story, files)
    _archive(story)
    trade = _query(story, settings)
    _restore(story, trade)
    _check(story)
    _damage(story, settings)
    _snapshot(story)
    _status(story, settings)


def _ingest(story: Story, files: "DemoFiles") -> None:
    from flows.ingest_trades import ingest_trades
    from fluxhero.demo import live_bot, replay

    real = ingest_trades(paths=[str(files.trades_live)])
    story.step("Ingest real trades", real.verdict, what=live_bot.LABEL, source=live_bot.SOURCE)
    story.note(f"   REAL: {live_bot.LABEL} (source {live_bot.SOURCE})")
    simulated = ingest_trades(paths=[str(files.trades_replay)])
    orders = ingest_trades(paths=[str(files.orders_replay)], table="orders")
    said = f"{simulated.verdict} {orders.verdict}"
    story.step("Ingest simulated trades", said, what=replay.LABEL, source=replay.SOURCE)
    story.note(f"   SIMULATED: {replay.LABEL} (source {replay.SOURCE}), and the orders behind them")


def _archive(story: Story) -> None:
    from flows.archive_trades import archive_trades

    dry = archive_trades(dry_run=True)
    story.step("Look before moving anything: archive --dry-run", dry.verdict)
    moved = archive_trades()
    story.step(
        "Archive what was closed more than 30 days ago", moved.verdict, files=len(moved.batches)
    )
    story.note("   Each file was hashed from disk, read back and compared with the store value by")
    story.note("   value; only then were its rows removed from the store. Open trades stay.")


def _query(story: Story, settings: "Settings") -> str:
    from fluxhero.archive.workspace import Workspace
    from fluxhero.ledger.query import run_query

    workspace = Workspace.of(settings)
    both = run_query(workspace, _BY_PLACE)
    story.step(
        "Query both sides as one table",
        "Each trade is there once, wherever it is:",
        rows=both.records(),
    )
    if not story.silent:
        show_table(both.columns, both.rows)
    oldest = "FROM trades WHERE _location = 'archive' ORDER BY exit_time, trade_id"
    return str(run_query(workspace, f"SELECT trade_id {oldest}", 1).rows[0][0])


def _restore(story: Story, trade: str) -> None:
    from flows.restore_trades import restore_trades

    report = restore_trades(trade_ids=[trade], reason="shown by the demo")
    story.step(f"Restore one trade: {trade}", report.verdict)


def _check(story: Story) -> None:
    from flows.check_storage import check_storage

    report = report_of(check_storage(return_state=True))
    _findings(story, "Check everything that was stored", report)
    story.note(
        "   Known and real: the bot's author recorded these results, and they do not follow from"
    )
    story.note("   the prices beside them. A check finds them; it changes nothing.")


def _damage(story: Story, settings: "Settings") -> None:
    from flows.check_storage import check_storage
    from fluxhero.demo.showing import flip_a_bit

    flipped = flip_a_bit(settings.archive_dir)
    found = report_of(check_storage(deep=True, return_state=True))
    _findings(
        story, "Flip one bit in a file of the archive, and check again, reading every byte", found
    )
    story.note(f"   {flipped.name}: a check without --deep finds it when the file's turn comes")
    mended = report_of(check_storage(deep=True, repair=True, return_state=True))
    _findings(story, "Mend it from the second copy of the archive: check --repair", mended)


def _snapshot(story: Story) -> None:
    from flows.snapshot_metrics import snapshot_metrics

    report = report_of(snapshot_metrics(return_state=True))
    story.step(
        "Measure the account and the store: snapshot",
        report.verdict,
        accounts=[line.model_dump(mode="json") for line in report.accounts],
        breached=[line.rule for line in report.breached],
    )
    for line in report.details():
        story.note(f"   {line}")


def _findings(story: Story, title: str, report: "CheckReport") -> None:
    from fluxhero.integrity.check_text import told

    faults = [line for line in report.findings if line.state.counts]
    shown = [line.model_dump(mode="json") for line in faults]
    story.step(title, report.verdict, findings=shown, page=report.page)
    for text in told([line for line in faults if line.state == "new"]):
        story.note(f"   {text}")
    for line in faults:
        if line.state == "known":
            story.note(f"   {line.severity.upper()} {line.rule} (known): {line.observed}")
    for repair in report.repairs:
        story.note(f"   {repair}")


def _status(story: Story, settings: "Settings") -> None:
    from fluxhero.archive.workspace import Workspace
    from fluxhero.status import collect_status

    status = collect_status(Workspace.of(settings), settings.retention_days, now=datetime.now(UTC))
    said = (
        f"Hot: {counted(sum(status.hot_rows.values()), 'row')}. "
        f"Archived: {counted(status.archived_rows, 'row')} in "
        f"{counted(status.archived_files, 'file')}. {status.next_step}"
    )
    story.step("Status", said, status=status.model_dump(mode="json"))


def _next_commands(folder: Path, files: "DemoFiles") -> dict[str, str]:
    command = "fluxhero" if shutil.which("fluxhero") else os.path.relpath(sys.argv[0])
    own = f"FLUXHERO_DATA_DIR={shlex.quote(str(folder))}"
    bot = f"FLUXHERO_DATA_DIR={shlex.quote(str(folder / 'bot'))}"
    store = shlex.quote(f"sqlite:///{folder / 'input' / files.system_db.name}")
    question = (
        "SELECT symbol, count(*), sum(realized_pnl) FROM trades GROUP BY 1 ORDER BY 3 DESC LIMIT 5"
    )
    return {
        "ask something yourself": f'{own} {command} query "{question}"',
        "see every archived batch": f"{own} {command} status --batches",
        "see what the checks found": (
            f'{own} {command} query "SELECT checked_at, state, rule, object, count, observed FROM findings'
            " WHERE state <> 'sound' ORDER BY checked_at\""
        ),
        "the operations page: make a token for it, then serve it": (
            f"{own} {command} doctor --make-secret && {own} {command} serve"
        ),
        "a bot's own SQLite file, in place, changing nothing": (
            f"{bot} FLUXHERO_STORE_URL={store} {command} archive --dry-run"
        ),
    }


def _say_where_to_look(folder: Path, commands: Mapping[str, str]) -> None:
    click.secho("\nWhere to look", bold=True)
    click.echo(f"   {folder}/fluxhero.duckdb   the hot store")
    click.echo(f"   {folder}/archive/          Parquet files, and the manifests that prove them")
    click.echo(f"   {folder}/mirror/           a second copy of them, to mend from")
    click.echo(f"   {folder}/reports/check-latest.html   the check's report; open it in a browser")
    click.echo(f"   {folder}/quarantine/       copies of what the checks found wrong")
    click.echo(f"   {folder}/snapshots/        what was measured, as Parquet")
    click.echo(f"   {folder}/input/            the data as it was ingested")
    click.secho("\nTry next", bold=True)
    for purpose, command in commands.items():
        click.echo(f"   # {purpose}")
        click.echo(f"   {command}")
    click.echo("\nYour own data: README.md, from nothing to your bot's database archived.")
