"""The program that runs an engine's jobs in the engine's own environment.

    python -I -B harness.py RUNNER.py REQUEST.json

Python there is 3.11 or newer, with numpy, pyarrow and duckdb beside the engine; none of the product is
installed. The request names a folder; for job N, `N.json` appears there when everything else of the job is
written. `process.json` appears once the engine is imported, `end.json` after the last job. Whoever dies in
job N so leaves the results of those before it.

A job that takes longer than it may is ended by an alarm whose signal nobody handles, in C code too.
Sockets but to this machine are refused; an engine that opens one without Python is not kept from it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import operator
import platform
import re
import resource
import signal
import sys
import time
import types
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from fluxhero.backtest.runners.job import Rules

_BACKTEST = Path(__file__).resolve().parents[1]
_PACKAGES = {
    "fluxhero": _BACKTEST.parent,
    "fluxhero.backtest": _BACKTEST,
    "fluxhero.backtest.runners": _BACKTEST / "runners",
}
_HERE = {"localhost", "127.0.0.1", "::1", "", None}
_PRICES = ("open", "high", "low", "close", "volume")


def main(runner_file: Path, request_file: Path) -> None:
    """Import the runner, and run the jobs of the request one after the other."""
    request = json.loads(request_file.read_text("utf-8"))
    results = Path(request["results"])
    seconds = float(request["seconds"])
    _make_importable()
    sys.addaudithook(_refuse_sockets)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _alarm(seconds)
    started, cpu = time.perf_counter(), time.process_time()
    runner = _loaded(runner_file)
    process = {
        "import_seconds": time.perf_counter() - started,
        "import_cpu_seconds": time.process_time() - cpu,
        "python": platform.python_version(),
        "versions": _versions(),
    }
    _write(results / "process.json", process)
    for reader in (
        "duckdb",
        "pandas",
        "pyarrow.parquet",
    ):  # or the first job's loading would be charged for it
        importlib.import_module(reader)
    for number, asked in enumerate(request["jobs"]):
        _alarm(seconds)
        name = results / str(asked.get("number", number))
        _write(name.with_suffix(".json"), _answer(runner, asked, name))
    _alarm(0)
    _write(results / "end.json", {"peak_mb": _peak_mb()})


def _make_importable() -> None:
    """Let the runner import the job's types and the rules by the names that they have in the product."""
    for name, folder in _PACKAGES.items():
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package


def _refuse_sockets(  # pragma: no cover - Python traces no audit hooks; a test sees what it refuses
    event: str, arguments: tuple[Any, ...]
) -> None:
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind"}:
        address = arguments[1]
        if not isinstance(address, tuple):  # of this machine's own kind of socket
            return
        host = address[0]
    else:
        return
    if isinstance(host, bytes):
        host = host.decode()
    if host not in _HERE:
        raise PermissionError(f"{event} {host}: an engine's process gets no network")


def _alarm(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _loaded(path: Path) -> types.ModuleType:
    module = types.ModuleType("runner")
    module.__file__ = str(path)
    sys.modules["runner"] = module
    SourceFileLoader("runner", str(path)).exec_module(module)
    return module


def _versions() -> dict[str, str]:
    found = {}
    for distribution in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        found[name] = distribution.version
    return dict(sorted(found.items()))


def _answer(runner: types.ModuleType, asked: dict[str, Any], name: Path) -> dict[str, Any]:
    """Run one job; what went wrong is an answer too."""
    from fluxhero.backtest.runners.job import NATIVE

    if asked["mode"] == "native" and asked["strategy"] not in getattr(runner, "NATIVE", NATIVE):
        return {"kind": "not-native"}
    if asked["mode"] == "sweep" and not hasattr(runner, asked["function"]):
        return {"kind": "failed", "error": "this engine runs no sweeps"}
    work = _swept if asked["mode"] == "sweep" else _run
    try:
        return {"kind": "ok", **work(runner, asked, name)}
    except MemoryError as error:
        return {"kind": "out-of-memory", "error": _said(error)}
    except _GarbageError as error:
        return {"kind": "garbage", "error": str(error)}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - an engine may raise anything; it is told
        import traceback

        trace = traceback.format_exc()[-4_000:]
        return {"kind": "failed", "error": _said(error), "traceback": trace}


class _GarbageError(Exception):
    """What the runner returned is not what a runner returns."""


def _said(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0][:500]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _run(runner: types.ModuleType, asked: dict[str, Any], name: Path) -> dict[str, Any]:
    from fluxhero.backtest.runners.job import Job, Output

    columns, loading = _timed(lambda: _columns(asked))
    job = Job(
        mode=asked["mode"],
        strategy=asked["strategy"],
        parameters=asked["parameters"],
        targets=_targets(asked),
        rules=_rules(asked["rules"], columns["volume"]),
        **columns,
    )
    output, running = _timed(lambda: runner.run(job))
    if not isinstance(output, Output):
        raise _GarbageError(f"the runner returned a {type(output).__name__}, not an Output")
    try:
        _write_output(output, name)
        own = {str(key): float(value) for key, value in output.own.items()}
    except (ValueError, TypeError, OverflowError, AttributeError) as error:
        raise _GarbageError(f"what the engine returned cannot be read: {_said(error)}") from error
    return {"own": own, "load": loading, "run": running}


def _swept(runner: types.ModuleType, asked: dict[str, Any], name: Path) -> dict[str, Any]:
    import numpy as np

    from fluxhero.backtest.runners.job import SweepJob

    columns, loading = _timed(lambda: _columns(asked))
    targets = np.load(asked["targets"], allow_pickle=False)
    job = SweepJob(targets=targets, rules=_rules(asked["rules"], columns["volume"]), **columns)
    equity, running = _timed(lambda: getattr(runner, asked["function"])(job))
    np.save(name.with_suffix(".npy"), np.asarray(equity, dtype=np.float64), allow_pickle=False)
    return {"load": loading, "run": running}


def _timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    wall, cpu = time.perf_counter(), time.process_time()
    value = work()
    spent = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    return value, spent


def _columns(asked: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    table = _table(asked["source"], asked["bars"])
    columns: dict[str, Any] = {name: table[name].to_numpy().astype(np.float64) for name in _PRICES}
    columns["ends"] = table["end"].to_numpy().astype(np.int64)
    return columns


def _table(source: str, path: str) -> pa.Table:
    if source == "duckdb":
        import duckdb

        with duckdb.connect(path, read_only=True) as db:
            return db.execute('FROM bars ORDER BY "end"').to_arrow_table()
    import pyarrow.parquet as pq

    return pq.read_table(path)


def _targets(asked: dict[str, Any]) -> Any:
    if asked["targets"] is None:
        return None
    import numpy as np

    return np.load(asked["targets"], allow_pickle=False)


def _rules(given: dict[str, Any], volume: Any) -> Rules:
    import numpy as np

    from fluxhero.backtest.runners.job import Rules

    return Rules(**given, volume=volume.astype(np.int64))


def _write_output(output: Any, name: Path) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = (pa.int64(), pa.int64(), pa.float64(), pa.float64(), pa.float64())
    names = ("bar", "side", "shares", "price", "commission")
    fills = list(zip(*output.fills, strict=True)) or [()] * len(names)
    if len(fills) != len(names):
        raise ValueError(f"fills have {len(fills)} values each, not {len(names)}")
    columns = {
        one: pa.array([_number(value, kind) for value in values], kind)
        for one, values, kind in zip(names, fills, kinds, strict=True)
    }
    pq.write_table(pa.table(columns), name.with_suffix(".fills.parquet"))
    marks = {"equity": pa.array(np.asarray(output.equity, dtype=np.float64))}
    if output.targets is not None:
        marks["targets"] = pa.array(np.asarray(output.targets).astype(np.int64, casting="safe"))
    pq.write_table(pa.table(marks), name.with_suffix(".equity.parquet"))


def _number(value: Any, kind: pa.DataType) -> Any:
    """A plain number; whole where it has to be, rather than cut to that."""
    import pyarrow.types as pat

    return operator.index(value) if pat.is_integer(kind) else float(value)


def _peak_mb() -> float:
    """Most memory this process had; what the other call says includes that of the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        told = dict(line.split(":", 1) for line in status.read_text("ascii").splitlines())
        return int(told["VmHWM"].split()[0]) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # pragma: no cover - not on Linux
    return most / 1024**2  # pragma: no cover


def _write(path: Path, content: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content), "utf-8")
    partial.replace(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
