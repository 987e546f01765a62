"""Where steps that are submitted are done: in threads of the run's process, or some of them on Dask.

The settings say so when a run needs it, so that a command, a deployment and a test all choose alike.
`prefect-dask` is imported only then.
"""

import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

from prefect import Task
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from config.loading import load_settings
from config.settings import Settings, variable
from fluxhero.durable import make_folder, storage_errors
from fluxhero.errors import ClusterError, ConfigurationError, first_line
from tasks import dask_worker

LOCAL: Final = "local"
_LOOPBACK: Final = "127.0.0.1"
_CONNECT_SECONDS: Final = 30
_SCRATCH: Final = Path("tmp") / "dask"


def check_cluster(settings: Settings) -> None:
    """Say at once when sweeps are to be computed on Dask, and Dask is not installed.

    Raises:
        ConfigurationError: it is not.
    """
    if settings.dask_scheduler is not None and find_spec("prefect_dask") is None:
        raise ConfigurationError(
            f"{variable('dask_scheduler')}={settings.dask_scheduler}, and the package prefect-dask"
            " is not installed",
            next_step="install it with `pip install 'fluxhero-pipeline[dask]'`, or leave the setting empty",
        )


class CoresOrCluster(TaskRunner[PrefectFuture[Any]]):
    """Does submitted steps beside each other, as many as there are cores; portable ones on Dask if asked.

    Args:
        portable: steps that may be done by another process or machine: what they are given can be
            pickled and holds no secret, and the files they work on are in the data folder.
    """

    def __init__(self, *portable: Task[..., Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._portable = portable
        self._threads: Any = ThreadPoolTaskRunner(max_workers=os.cpu_count() or 1)
        self._cluster: Any = None
        self._closing = ExitStack()

    def duplicate(self) -> Self:
        """Another one, not started, as each run has its own."""
        return type(self)(*self._portable)

    # The base class tells coroutines apart; no step here is one.
    def submit(
        self,
        task: Task[..., Any],
        parameters: dict[str, Any],
        wait_for: Iterable[PrefectFuture[Any]] | None = None,
        dependencies: dict[str, set[Any]] | None = None,
    ) -> PrefectFuture[Any]:
        """Have a step done.

        Raises:
            ClusterError: the Dask scheduler does not answer.
            ConfigurationError: Dask is wanted and not installed.
            SettingsError: the settings cannot be used.
        """
        runner = self._threads
        if task in self._portable:
            runner = self._cluster = self._cluster or self._started_cluster() or self._threads
        with lost_clusters():
            future: PrefectFuture[Any] = runner.submit(task, parameters, wait_for, dependencies)
        return future

    def __enter__(self) -> Self:
        super().__enter__()
        self._closing.enter_context(self._threads)
        return self

    def __exit__(self, *exc: Any) -> None:
        self._closing.__exit__(*exc)
        super().__exit__(*exc)

    def _started_cluster(self) -> Any:
        """A runner on Dask until this one ends; None where nobody asked for one."""
        settings = load_settings()
        if settings.dask_scheduler is None:
            return None
        check_cluster(settings)
        from prefect_dask.task_runners import DaskTaskRunner

        new: Any = DaskTaskRunner  # which is typed for classes of clusters without settings
        if settings.dask_scheduler == LOCAL:
            folder = self._closing.enter_context(_scratch(settings.data_dir))
            given = {"folder": folder, "api_url": _api_url()}
            runner = new(cluster_class=_local_cluster, cluster_kwargs=given)
        else:
            runner = new(
                address=settings.dask_scheduler, client_kwargs={"timeout": _CONNECT_SECONDS}
            )
        for name in ("distributed", runner.logger.name):  # they tell of each connection
            logging.getLogger(name).setLevel(logging.WARNING)
        self._closing.enter_context(runner)
        try:
            _ = runner.client  # starts, or connects
        except (OSError, RuntimeError) as error:
            raise ClusterError(
                f"the Dask cluster {settings.dask_scheduler} does not answer: {first_line(error)}",
                next_step=f"start it, or correct {variable('dask_scheduler')}; then run again",
            ) from error
        return runner


def _api_url() -> str:
    """Of the server that the run is kept by, a temporary one too: the workers are to use the same."""
    context = FlowRunContext.get()
    if context is None:  # nothing is submitted outside a run
        raise RuntimeError("no flow run")
    return str(context.client.api_url)


def _local_cluster(folder: Path, api_url: str) -> Any:
    """A process for each core; it listens on loopback only, draws no dashboard, and ends with this process."""
    import distributed

    new: Any = distributed.LocalCluster  # untyped
    return new(
        n_workers=os.cpu_count() or 1,
        threads_per_worker=1,
        host=_LOOPBACK,
        dashboard_address=f"{_LOOPBACK}:0",  # any free port, for its HTTP routes
        scheduler_kwargs={"dashboard": False},
        memory_limit=0,  # what computes is a process of its own, with a limit of its own
        local_directory=str(folder),
        env={"PREFECT_API_URL": api_url},
        preload=[dask_worker.__name__],
    )


@contextmanager
def _scratch(data_dir: Path) -> Iterator[Path]:
    """Where Dask keeps its files; removed afterwards unless another run uses it."""
    folder = data_dir / _SCRATCH
    with storage_errors("write", folder):
        make_folder(folder)
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    inner = folder / "dask-scratch-space"
    for lock in ("global.lock", "purge.lock"):
        with suppress(OSError):
            (inner / lock).unlink()
    for empty in (inner, folder):
        with suppress(OSError):  # another run's
            empty.rmdir()


@contextmanager
def lost_clusters() -> Iterator[None]:
    """Within the block, what Dask raises of a lost cluster is an error of ours.

    Raises:
        ClusterError: the scheduler went away, or workers ended again and again.
    """
    if "distributed" not in sys.modules:  # nothing of this run is on a cluster
        yield
        return
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError
    from distributed.comm.core import CommClosedError

    try:
        yield
    except (CommClosedError, FutureCancelledError, KilledWorker) as error:
        raise ClusterError(
            f"the Dask cluster lost work: {first_line(error)}",
            next_step="look at the logs and the memory of its scheduler and workers, then run again: what"
            " is done is not done again",
        ) from error
