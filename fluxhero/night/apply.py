"""Bring a server to what this checkout says: work pool, queues, deployments, automations.

`python -m fluxhero.night.apply`, as often as you like: what is so already stays, what is ours and no longer
asked for is removed, and what somebody paused or switched off in the UI stays paused and off.
"""

import json
import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

from config.handed_on import every_variable
from config.settings import Settings
from fluxhero.alerts.automations import automations
from fluxhero.errors import NightShiftError
from fluxhero.night.deployments import (
    OURS,
    POOL,
    Deployment,
    checkout,
    read_deployments,
    with_paused,
)
from fluxhero.night.one_off import run_once
from fluxhero.night.server_api import ServerApi

logger = logging.getLogger("fluxhero.night.apply")  # which runs as __main__, too

# Queue → most runs that it hands out at a time; None hands out all.
QUEUES: Final[Mapping[str, int | None]] = {"store": 1, "watch": None}
POOL_TYPE: Final = "process"
AUTOMATION_PREFIX: Final = "FluxHero: "  # the names of ours begin so
DEPLOY_SECONDS: Final = 600
_DESCRIPTION = "Runs flows as processes of the machine that a worker is started on."
# Prefect's own command asks the internet for this.
_TEMPLATE = (
    "import json; from prefect.workers.process import ProcessWorker as Worker; "
    "print(json.dumps(Worker.get_default_base_job_template()))"
)


def apply(server: ServerApi, folder: Path) -> None:
    """Do all of it.

    Args:
        server: to be brought there; `prefect deploy` finds it by PREFECT_API_URL.
        folder: the checkout, with `prefect.yaml`.

    Raises:
        ServerError: the server does not answer, or refuses.
        NightShiftError: `prefect deploy` failed, or the work pool is of another type.
        ConfigurationError: `prefect.yaml` is missing or cannot be used.
    """
    wanted = read_deployments(folder)
    _make_pool(server)
    for queue, limit in QUEUES.items():
        _make_queue(server, queue, limit)
    _deploy(server, folder)
    _remove_stale(server, wanted)
    apply_automations(server, automations())
    logger.info("applied %d deployments to %s", len(wanted), server.api_url)


def _make_pool(server: ServerApi) -> None:
    pool = server.find(f"/work_pools/{POOL}")
    if pool is None:
        template = json.loads(_prefect("-c", _TEMPLATE, api_url=server.api_url))
        body = {"name": POOL, "type": POOL_TYPE, "description": _DESCRIPTION}
        server.post("/work_pools/", {**body, "base_job_template": template})
        logger.info("made the work pool %s (%s)", POOL, POOL_TYPE)
    elif pool["type"] != POOL_TYPE:
        logger.info("the work pool %s is of the type %s, and stays so", POOL, pool["type"])


def _make_queue(server: ServerApi, name: str, limit: int | None) -> None:
    queue = server.find(f"/work_pools/{POOL}/queues/{name}")
    body = {"concurrency_limit": limit}
    if queue is None:
        server.post(f"/work_pools/{POOL}/queues", {"name": name, **body})
        logger.info("made the work queue %s, %s", name, _in_words(limit))
    elif limit is not None and queue["concurrency_limit"] != limit:
        server.patch(f"/work_pools/{POOL}/queues/{name}", body)
        logger.warning("the work queue %s hands out %s again", name, _in_words(limit))


def _in_words(limit: int | None) -> str:
    return "all runs at once" if limit is None else f"{limit} run at a time"


def _deploy(server: ServerApi, folder: Path) -> None:
    """`prefect deploy --all`; it would start what is paused, unless the file says that it is."""
    command = ("-m", "prefect", "--no-prompt", "deploy", "--all")
    paused = {name for name, one in ours_on(server).items() if one["paused"]}
    if not paused:
        _prefect(*command, api_url=server.api_url, folder=folder)
        return
    with NamedTemporaryFile("w", encoding="utf-8", suffix=".yaml") as file:
        file.write(with_paused(folder, paused))
        file.flush()
        _prefect(*command, "--prefect-file", file.name, api_url=server.api_url, folder=folder)
    logger.info("still paused, as somebody wanted it: %s", ", ".join(sorted(paused)))


def _prefect(*arguments: str, api_url: str, folder: Path | None = None) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            [sys.executable, *arguments],
            cwd=folder,
            env={**every_variable(), "PREFECT_API_URL": api_url, "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEPLOY_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NightShiftError(
            f"`prefect deploy` did not end within {DEPLOY_SECONDS} seconds",
            next_step=f"see whether the server at {api_url} answers, and start `fluxhero up` again",
        ) from error
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()
        logger.error("`prefect deploy` said:\n%s", said)
        raise NightShiftError(
            f"the deployments could not be applied: {said.rpartition(chr(10))[2] or 'nothing was said'}",
            next_step="correct what it names and start `fluxhero up` again; data/night/logs/apply.log has more",
        )
    return done.stdout


def _remove_stale(server: ServerApi, wanted: Sequence[Deployment]) -> None:
    """Remove the deployments and schedules of ours that are no longer in the file."""
    slugs = {one.name: {schedule.slug for schedule in one.schedules} for one in wanted}
    for name, deployment in ours_on(server).items():
        if name not in slugs:
            server.delete(f"/deployments/{deployment['id']}")
            logger.info("removed the deployment %s, which prefect.yaml no longer has", name)
            continue
        for schedule in deployment["schedules"]:
            if schedule["slug"] is not None and schedule["slug"] not in slugs[name]:
                server.delete(f"/deployments/{deployment['id']}/schedules/{schedule['id']}")
                logger.info("removed the schedule %s of %s", schedule["slug"], name)


def ours_on(server: ServerApi) -> dict[str, dict[str, Any]]:
    """The deployments of ours that a server has, by names such as `archive-trades/after-close`.

    Raises:
        ServerError: the server does not answer, or refuses.
    """
    tagged = {"deployments": {"tags": {"all_": [OURS]}}, "sort": "NAME_ASC"}
    found = list(server.every("/deployments/filter", tagged))
    flows = {one["flow_id"] for one in found}
    names = {flow: server.get(f"/flows/{flow}")["name"] for flow in sorted(flows)}
    return {f"{names[one['flow_id']]}/{one['name']}": one for one in found}


def apply_automations(server: ServerApi, wanted: Sequence[Mapping[str, Any]]) -> None:
    """Make, change or remove automations of ours, by their names; each stays on or off as it is.

    One that is as it should be is not touched, so that the server goes on counting for it.

    Raises:
        ServerError: the server does not answer, or refuses.
    """
    found = {
        one["name"]: one
        for one in server.every("/automations/filter", {"sort": "NAME_ASC"})
        if one["name"].startswith(AUTOMATION_PREFIX)
    }
    for body in wanted:
        there = found.pop(body["name"], None)
        if there is None:
            server.post("/automations/", body)
            logger.info("made the automation %s", body["name"])
            continue
        kept = {**body, "enabled": there["enabled"]}
        if not _is_within(kept, there):
            server.put(f"/automations/{there['id']}", kept)
            logger.info("changed the automation %s", body["name"])
    for name, stale in found.items():
        server.delete(f"/automations/{stale['id']}")
        logger.info("removed the automation %s", name)


def _is_within(asked: Any, there: Any) -> bool:
    """Whether a document has everything that was asked for.

    The server adds defaults and ids, and gives names, which are sets to it, back in any order.
    """
    if isinstance(asked, Mapping) and isinstance(there, Mapping):
        return all(name in there and _is_within(asked[name], there[name]) for name in asked)
    if isinstance(asked, list | tuple) and isinstance(there, list):
        if all(isinstance(one, str) for one in [*asked, *there]):
            return sorted(asked) == sorted(there)
        pairs = zip(asked, there, strict=False)
        return len(asked) == len(there) and all(_is_within(one, two) for one, two in pairs)
    return bool(asked == there)


def main() -> None:
    """Apply this checkout to the server of the environment; ends the process."""

    def work(_settings: Settings, server: ServerApi) -> None:
        apply(server, checkout())

    run_once(work)


if __name__ == "__main__":
    main()
