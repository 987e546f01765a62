"""Every alert rule as data: what it is about, how urgent it is, what to do, and from when it counts.

The one place that states the texts and the thresholds. `automations` makes Prefect's automations of
them, and the modules that detect something make incidents.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fluxhero.alerts.incidents import Urgency

# Names of all our flows: a subflow's heartbeat names its flow and nothing else that is ours.
FLOWS: Final = (
    "archive-trades",
    "check-storage",
    "evaluate-backtests",
    "ingest-broker",
    "ingest-trades",
    "nightly",
    "reconcile-ledger",
    "refresh-market-data",
    "restore-trades",
    "snapshot-metrics",
)
SNAPSHOT_FLOW: Final = "snapshot-metrics"
NIGHTLY_FLOW: Final = "nightly"
TAG: Final = "fluxhero"  # of every deployment of ours

HEARTBEAT_EVERY: Final = timedelta(seconds=30)  # the least that Prefect allows
HEARTBEAT_WINDOW: Final = timedelta(seconds=90)  # three may get lost, or a restart of the server
PENDING_WINDOW: Final = timedelta(seconds=105)  # a busy machine takes up to 60 s to start a run
LATE_AFTER: Final = timedelta(minutes=10)
SERVER_AWAY_AFTER: Final = timedelta(seconds=60)
SNAPSHOT_WINDOW: Final = timedelta(minutes=75)  # hourly outside the session, and 15 minutes more
NIGHTLY_WINDOW: Final = timedelta(
    days=4, hours=12
)  # from Friday over a holiday on Monday to Tuesday
MISSING_GRACE: Final = timedelta(minutes=15)  # beyond the time that a run may take
SNAPSHOT_GRACE: Final = timedelta(minutes=15)  # it takes seconds

PREFIX: Final = "FluxHero: "  # of the names of our automations
RUN_FAILED: Final = f"{PREFIX}run failed"
RUN_CRASHED: Final = f"{PREFIX}run crashed"
RUN_LATE: Final = f"{PREFIX}run late"
RUN_HANGING: Final = f"{PREFIX}run hanging"
SNAPSHOT_MISSING: Final = f"{PREFIX}snapshot missing"
NIGHTLY_MISSING: Final = f"{PREFIX}nightly run missing"
INTEGRITY_CRITICAL: Final = f"{PREFIX}integrity critical"
INTEGRITY_WARNING: Final = f"{PREFIX}integrity warning"
DRAWDOWN: Final = f"{PREFIX}drawdown"
LIMIT_BREACHED: Final = f"{PREFIX}limit breached"
HEARTBEAT_LOST: Final = f"{PREFIX}heartbeat lost"
STUCK_PENDING: Final = f"{PREFIX}run that never started"

HEARTBEAT_LOST_MESSAGE: Final = (
    f"No heartbeat for {HEARTBEAT_WINDOW.seconds} seconds: the run's process was killed, or lost the "
    "server. The next run takes up what this one left."
)
STUCK_PENDING_MESSAGE: Final = (
    f"Submitted {PENDING_WINDOW.seconds} seconds ago and never started: its worker was killed. The next "
    "run takes up what this one left."
)
PARENT_ENDED_MESSAGE: Final = "The run that this was a step of has ended without it."


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One alert rule.

    Attributes:
        name: in lower case with dashes; also the anchor of its part of the runbook.
        title: what it is about, in a few words.
        description: when it alerts.
        urgency: how soon to look; of a rule with several levels, the gravest.
        next_step: what to do, naming a command.
        automations: Prefect's automations of it: where all are switched off, it is silent.
    """

    name: str
    title: str
    description: str
    urgency: Urgency
    next_step: str
    automations: tuple[str, ...] = ()

    @property
    def anchor(self) -> str:
        """Its heading in the runbook."""
        return self.name


FAILED: Final = AlertRule(
    "run-failed",
    "A run failed",
    "The first run of a deployment that fails after one that did not, and the first that succeeds again.",
    Urgency.CRITICAL,
    "Open the run's page: its last log lines say what happened and what to do. Then start it again there, "
    "or see with `fluxhero status` what is left to do.",
    (RUN_FAILED,),
)
CRASHED: Final = AlertRule(
    "run-crashed",
    "A run crashed",
    "Each run whose process was killed, lost its machine or never started.",
    Urgency.CRITICAL,
    "Nothing is lost: the next run takes up what was left. See with `fluxhero status` that it did; if runs "
    "keep crashing, look for a lack of memory with `fluxhero doctor`.",
    (RUN_CRASHED,),
)
LATE: Final = AlertRule(
    "run-late",
    "A run is late",
    f"A run that has not started {LATE_AFTER.seconds // 60} minutes after it was due, and when none is any "
    "more.",
    Urgency.WARNING,
    "See whether the worker runs, with `fluxhero status`; `fluxhero up` starts it. If it does, another "
    "run keeps it waiting: the runs page shows which.",
    (RUN_LATE,),
)
MISSING: Final = AlertRule(
    "run-missing",
    "A scheduled run is missing",
    "A scheduled flow of which no run came to an end in time, by the exchange's calendar, and when one has.",
    Urgency.CRITICAL,
    "See with `fluxhero status` that server and worker run, and in the UI that the schedule is active. "
    "`fluxhero up` applies the schedules again.",
    (SNAPSHOT_MISSING, NIGHTLY_MISSING),
)
HANGING: Final = AlertRule(
    "run-hanging",
    "A run hung and was ended",
    "A run that did not end within FLUXHERO_RUN_LIMIT_MINUTES.",
    Urgency.CRITICAL,
    "The run's log has the stack of every thread: look at what it waited for. If it was only long, raise "
    "FLUXHERO_RUN_LIMIT_MINUTES; `fluxhero status` shows what holds the store.",
    (RUN_HANGING,),
)
INTEGRITY: Final = AlertRule(
    "integrity",
    "The storage check found something",
    "The verdict of the storage check gets worse or better: critical, warning, ok.",
    Urgency.CRITICAL,
    "`fluxhero check` lists every finding with what to do; `fluxhero check --repair` mends what has a good "
    "copy. Purge nothing until it is mended.",
    (INTEGRITY_CRITICAL, INTEGRITY_WARNING),
)
BREAKER: Final = AlertRule(
    "drawdown",
    "The drawdown breaker changed",
    "The drawdown breaker of an account changes between ok, warning and critical.",
    Urgency.CRITICAL,
    "Open no new position, find out what happened, and decide how to go on; then `fluxhero breaker reset "
    '--reason "…"`.',
    (DRAWDOWN,),
)
LIMIT: Final = AlertRule(
    "limit-breached",
    "A risk limit is breached",
    "An account breaks a risk limit of the settings, and when it keeps it again.",
    Urgency.WARNING,
    "Reduce what is too large, or raise the limit if you mean it; `fluxhero snapshot` measures again.",
    (LIMIT_BREACHED,),
)
SERVER_AWAY: Final = AlertRule(
    "server-away",
    "The Prefect server does not answer",
    f"The server has not been well for {SERVER_AWAY_AFTER.seconds} seconds, and when it is again.",
    Urgency.CRITICAL,
    "No scheduled run starts meanwhile. Look at `fluxhero status` and at the server's log in the data "
    "folder, night/logs/server.log; `fluxhero up` starts it.",
)

RULES: Final = (
    FAILED,
    CRASHED,
    LATE,
    MISSING,
    HANGING,
    INTEGRITY,
    BREAKER,
    LIMIT,
    SERVER_AWAY,
)


def rule(name: str) -> AlertRule:
    """The rule of this name.

    Raises:
        KeyError: there is none.
    """
    return {one.name: one for one in RULES}[name]
