"""The steps of a fetch from the broker, a task each."""

import dataclasses
import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

from config.settings import Settings
from fluxhero.archive.batches import as_utc, utc_now
from fluxhero.archive.workspace import Workspace
from fluxhero.broker.alpaca import URL, Account, TradingApi, happened_at, mode_of, submitted_at
from fluxhero.broker.beginnings import Beginnings, beginnings
from fluxhero.broker.fetched import Fetched, write_down
from fluxhero.broker.report import BrokerReport
from fluxhero.broker.watermark import Watermark, leaves_gap, read_watermark, write_watermark
from fluxhero.durable import remove
from fluxhero.errors import BadInputError, IntegrityError
from fluxhero.ledger.formats import ReadOptions
from fluxhero.ledger.ingest_report import ingest_lines
from fluxhero.ledger.view import archived_rows
from tasks.ingest import Ingested, IngestRun, bring_in_file, ledger_of
from tasks.parameters import form
from tasks.policy import asking_task, compute_task, io_task
from tasks.starting import settings_of_run

logger = logging.getLogger(__name__)

ORDERS: Final = "alpaca-orders"  # names of formats, and of the files in them
ACTIVITIES: Final = "alpaca-activities"
MODES: Final = ("live", "paper")

BrokerMode = Annotated[str, form(enum=list(MODES))]


@dataclass(frozen=True)
class BrokerRun:
    """What every step of one run needs to know; `ingest` is how what comes is brought in."""

    settings: Settings
    started: datetime
    since: datetime | None
    mode: str | None
    ingest: IngestRun

    @property
    def workspace(self) -> Workspace:
        """The store and its archive."""
        return self.ingest.workspace

    @property
    def api(self) -> TradingApi:
        """The broker."""
        return TradingApi(self.settings)


@dataclass(frozen=True)
class Pull:
    """What is to be fetched: of which account, from when; `mark` is how far it has been fetched."""

    account: Account
    mode: str
    mark: Watermark
    begun: Beginnings


@io_task
def open_broker_run(since: datetime | None, mode: str | None) -> BrokerRun:
    """Read the settings and check the parameters.

    Raises:
        ConfigurationError: a key is missing, or the hot store is a bot's own database.
        BadInputError: a parameter makes no sense.
    """
    settings = settings_of_run()
    workspace = Workspace.of(settings)
    store = ledger_of(workspace)
    now = utc_now()
    begin = None if since is None else as_utc(since)
    if begin is not None and begin > now:
        raise BadInputError(
            f"--since {begin.isoformat()} lies in the future",
            next_step="give a time that has passed",
        )
    run = BrokerRun(
        settings=settings,
        started=now,
        since=begin,
        mode=_mode(mode, settings.alpaca_api_url),
        ingest=IngestRun(workspace, store, None, ReadOptions(), groups=(), skipped=()),
    )
    TradingApi(settings)  # which refuses keys that are not there
    return run


def _mode(given: str | None, url: str) -> str | None:
    """What is known of the mode before the account is."""
    told = mode_of(url)
    if given is not None and given not in MODES:
        raise BadInputError(
            f"there is no mode '{given}' of a broker's account",
            next_step=f"give --mode one of {', '.join(MODES)}",
        )
    if given is not None and told is not None and given != told:
        raise BadInputError(
            f"--mode {given} does not go with {url}, whose accounts are {told}",
            next_step=f"leave --mode out, or set {URL} to the other host, with the keys that belong to it",
        )
    return given or told


@asking_task
def find_account(run: BrokerRun) -> Account:
    """Ask the broker which account the keys are of."""
    return run.api.account()


@io_task
def choose_beginning(run: BrokerRun, account: Account) -> Pull:
    """Say from when to fetch, by the account's watermark and the ledger, or as the user wants it.

    Raises:
        IntegrityError: the watermark is damaged, and the user does not say from when.
        BadInputError: whether the account's money is real is not known, or is not what it was before.
    """
    kept = _kept_mark(run, account)
    mode = run.mode or (kept.mode if kept else None)
    if mode is None:
        raise BadInputError(
            f"{run.settings.alpaca_api_url} does not tell whether the account {account.number} is live",
            next_step=f"give --mode one of {', '.join(MODES)}; the next runs know it by then",
        )
    if kept is not None and kept.mode != mode:
        raise BadInputError(
            f"the account {account.number} was fetched as {kept.mode} before, and is {mode} now",
            next_step=f"check --mode and {URL}",
        )
    store_id = run.ingest.store.identity()
    mark = Watermark(account=account.number, mode=mode, store_id=store_id, moved_at=run.started)
    if kept is not None and kept.store_id == store_id:
        mark = kept
    begun = (
        Beginnings(orders=run.since, activities=run.since)
        if run.since is not None
        else beginnings(run.workspace, mark)
    )
    logger.info("account %s (%s, %s)", account.number, mode, account.status)
    return Pull(account, mode, mark, begun)


def _kept_mark(run: BrokerRun, account: Account) -> Watermark | None:
    try:
        return read_watermark(run.workspace.data_dir, account.number)
    except IntegrityError as error:
        if run.since is None:
            raise
        logger.warning("%s; fetched since %s, and written anew", error.what, run.since)
        return None


@asking_task
def fetch_orders(run: BrokerRun, pull: Pull) -> Fetched:
    """Write down every order submitted since the beginning."""
    pages = run.api.orders(pull.begun.orders)
    fetched = write_down(pages, run.ingest.staging / f"{ORDERS}.jsonl", submitted_at)
    logger.info("%d orders fetched, submitted after %s", fetched.rows, pull.begun.orders)
    return fetched


@asking_task
def fetch_activities(run: BrokerRun, pull: Pull) -> Fetched:
    """Write down every fill, dividend, fee and transfer since the beginning."""
    pages = run.api.activities(pull.begun.activities)
    fetched = write_down(pages, run.ingest.staging / f"{ACTIVITIES}.jsonl", happened_at)
    logger.info("%d activities fetched, after %s", fetched.rows, pull.begun.activities)
    return fetched


@io_task
def bring_in(run: BrokerRun, pull: Pull, orders: Fetched, activities: Fetched) -> Ingested:
    """Bring in what was fetched, the orders first: fills say less of an order than it does itself.

    Raises:
        BadInputError: what the broker sent cannot be read.
    """
    options = ReadOptions(mode=pull.mode, account=pull.account.number)
    ingest = dataclasses.replace(run.ingest, options=options)
    archived = archived_rows(run.workspace)
    files = [one for one in (orders, activities) if one.rows]
    return Ingested(
        tuple(bring_in_file(ingest, one.path, one.path.stem, archived) for one in files)
    )


@io_task
def move_watermark(run: BrokerRun, pull: Pull, orders: Fetched, activities: Fetched) -> Watermark:
    """Remember how far the account is in the ledger, now that it is; what was fetched is done with."""
    mark = pull.mark.moved_on(orders, activities, since=run.since, at=run.started)
    write_watermark(run.workspace.data_dir, mark)
    for fetched in (orders, activities):
        remove(fetched.path)
    return mark


@compute_task
def summarise_broker_run(
    run: BrokerRun,
    pull: Pull,
    orders: Fetched,
    activities: Fetched,
    ingested: Ingested,
    mark: Watermark,
) -> BrokerReport:
    """Put the run's outcome together."""
    known = (pull.mark.orders_since, pull.mark.activities_since)
    lines = ingest_lines(ingested.results)
    return BrokerReport(
        store=str(run.ingest.store.path),
        lines=tuple(line.model_copy(update={"file": Path(line.file).name}) for line in lines),
        broker=run.settings.alpaca_api_url,
        account=pull.account.number,
        status=pull.account.status,
        mode=pull.mode,
        fetched_from=pull.begun,
        orders=orders.rows,
        activities=activities.rows,
        watermark=mark,
        gap=any(leaves_gap(one, run.since) for one in known),
    )
