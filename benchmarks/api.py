"""The operations API under load, written to docs/benchmarks-api.md: `python -m benchmarks.api`.

The service is `fluxhero serve` on one core. On another, flows' steps measure the ledger again and again, which
gives it new numbers every second or two, and this program asks: 200 requests a second, each begun on time
whether earlier ones are answered or not; `/metrics` now and then; 500 WebSocket clients told of each snapshot.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import psutil
from websockets.asyncio.client import ClientConnection, connect

from benchmarks import data
from benchmarks.report import machine, say, verdict_line
from benchmarks.routes import archive_duckdb
from fluxhero.api.tokens import make_secret

_ROOT = Path(__file__).parent.parent
_STORE = "ledger.duckdb"
_RATE, _SECONDS, _CLIENTS, _EVENTS = 200, 30, 500, 8
_CONNECTIONS = 16
# What a desk with the page open in a few places asks for; the page itself fetches /api/status.
_MIX = ("/api/status", "/api/findings", "/api/batches", "/api/runs", "/livez")
_SERVER_CORE, _OTHER_CORE = 0, 1

Measured = dict[str, float]
_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def night() -> None:
    """Snapshots of the ledger, one after another, by the flow's own steps."""
    from tasks import metrics

    os.nice(19)  # this program, which asks on the same core, is not what is to be slowed down
    while True:
        run = metrics.open_snapshot.fn()
        measured = metrics.measure_ledger.fn(run)
        storage = metrics.measure_storage.fn(run)
        changes = metrics.move_breaker.fn(run, measured)
        judged = metrics.judge_limits.fn(run, measured)
        metrics.record_snapshot.fn(run, measured, storage, judged, changes)
        time.sleep(1)


@contextmanager
def _process(folder: Path, core: int, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FLUXHERO_")},
        "FLUXHERO_DATA_DIR": str(folder),
        "FLUXHERO_STORE_URL": f"duckdb:///{folder / _STORE}",
        "FLUXHERO_RATE_LIMIT": "1000000/minute",
        "FLUXHERO_LOG_LEVEL": "INFO",
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "DO_NOT_TRACK": "1",
    }
    with (folder / f"{arguments[-1]}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=_ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        os.sched_setaffinity(process.pid, {core % (os.cpu_count() or 1)})
        try:
            yield process
        finally:
            process.kill()
            process.wait()


class _Pool:
    """Connections kept open; a client so plain that it is not what is measured."""

    def __init__(self, url: str, token: str) -> None:
        self._host, port = url.removeprefix("http://").rstrip("/").split(":")
        self._port = int(port)
        self._head = f"Host: {self._host}\r\nAuthorization: Bearer {token}\r\n\r\n"
        self._idle: asyncio.LifoQueue[_Connection] = asyncio.LifoQueue()

    async def open(self, connections: int) -> None:
        for _ in range(connections):
            self._idle.put_nowait(await asyncio.open_connection(self._host, self._port))

    async def get(self, path: str) -> int:
        """Ask, and read the answer to its end."""
        connection = await self._idle.get()
        try:
            head = await self._asked(path, connection)
        except (asyncio.IncompleteReadError, ConnectionError):  # it was idle for too long
            connection = await asyncio.open_connection(self._host, self._port)
            head = await self._asked(path, connection)
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(f"{path}: {head.decode()}")
        size = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        await connection[0].readexactly(size)
        self._idle.put_nowait(connection)
        return size

    async def _asked(self, path: str, connection: _Connection) -> bytes:
        reader, writer = connection
        writer.write(f"GET {path} HTTP/1.1\r\n{self._head}".encode())
        return (await reader.readuntil(b"\r\n\r\n")).lower()


async def _requests(pool: _Pool) -> Measured:
    """Latencies from the moment at which each request was due."""
    loop = asyncio.get_running_loop()
    late: list[float] = []
    began = loop.time() + 0.5

    async def ask(number: int) -> None:
        due = began + number / _RATE
        await asyncio.sleep(due - loop.time())
        await pool.get(_MIX[number % len(_MIX)])
        late.append(loop.time() - due)

    await asyncio.gather(*(ask(number) for number in range(_RATE * _SECONDS)))
    seconds = loop.time() - began
    return {
        "seconds": seconds,
        "rate": len(late) / seconds,
        **{f"p{part}": _quantile(late, part) * 1000 for part in (50, 99)},
        "max": max(late) * 1000,
    }


async def _scrapes(pool: _Pool) -> Measured:
    seconds, size = [], 0
    for _ in range(100):
        began = time.perf_counter()
        size = await pool.get("/metrics")
        seconds.append(time.perf_counter() - began)
        await asyncio.sleep(0.1)
    return {
        "p50": statistics.median(seconds) * 1000,
        "p99": _quantile(seconds, 99) * 1000,
        "bytes": size,
    }


async def _events(url: str, headers: dict[str, str]) -> Measured:
    """How long after an event each client has it; the event says when it was noticed."""

    async def listen(client: ClientConnection, since: float) -> list[float]:
        delays: list[float] = []
        while len(delays) < _EVENTS:
            message = json.loads(await client.recv())
            at = datetime.fromisoformat(message["at"]).timestamp()
            if message["kind"] == "snapshot" and at > since:
                delays.append(time.time() - at)
        return delays

    clients = [
        await connect(url, additional_headers=headers, ping_interval=None, compression=None)
        for _ in range(_CLIENTS)
    ]
    everybody_there = time.time()
    delays = await asyncio.gather(*(listen(client, everybody_there) for client in clients))
    await asyncio.gather(*(client.close() for client in clients))
    last = [max(of_event) for of_event in zip(*delays, strict=True)]
    return {"median": statistics.median(last) * 1000, "worst": max(last) * 1000}


def _quantile(values: list[float], part: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[part - 1]


async def _load(url: str, token: str, server: psutil.Process) -> dict[str, Measured]:
    headers = {"Authorization": f"Bearer {token}"}
    results: dict[str, Measured] = {}
    pool = _Pool(url, token)
    await pool.open(_CONNECTIONS)
    for path in (*_MIX, "/metrics"):  # imports and first reads are charged to nobody
        await pool.get(path)
    say("/metrics while flows run")
    results["metrics"] = await _scrapes(pool)
    pool = _Pool(url, token)
    await pool.open(_CONNECTIONS)
    say(f"{_RATE} requests a second for {_SECONDS} s")
    before = sum(server.cpu_times()[:2])
    results["requests"] = requests = await _requests(pool)
    requests["cpu"] = (sum(server.cpu_times()[:2]) - before) / requests["seconds"]
    say(f"{_CLIENTS} WebSocket clients, {_EVENTS} events")
    results["events"] = await _events(url.replace("http:", "ws:") + "ws", headers)
    results["server"] = {"mb": server.memory_info().rss / 1e6}
    return results


def measure(rows: int) -> dict[str, Measured]:
    """Everything, on a ledger of so many trades."""
    with tempfile.TemporaryDirectory(prefix="fluxhero-api-") as name:
        folder = Path(name)
        say(f"a ledger of {rows:,} trades")
        data.make_duckdb_store(folder / _STORE, rows)
        archive_duckdb(folder / _STORE, folder)
        make_secret(folder / "auth-secret")
        token = (folder / "auth-secret").read_text().strip()
        os.sched_setaffinity(0, {_OTHER_CORE % (os.cpu_count() or 1)})
        serve = "import sys; from fluxhero.cli import main; main(sys.argv[1:])"
        with (
            _process(folder, _OTHER_CORE, "-m", "benchmarks.api", "--night"),
            _process(
                folder, _SERVER_CORE, "-c", serve, "serve", "--port", "0", "--json"
            ) as service,
        ):
            while not list((folder / "snapshots").glob("*/*.parquet")):
                time.sleep(0.2)
            assert service.stdout is not None
            document = json.loads(service.stdout.readline())
            return asyncio.run(_load(document["url"], token, psutil.Process(service.pid)))


def markdown(results: dict[str, Measured], rows: int) -> str:
    """The page, verdicts first."""
    metrics, requests, events = results["metrics"], results["requests"], results["events"]
    held = requests["rate"] >= _RATE * 0.99
    verdicts = [
        verdict_line(
            "`/metrics` while flows run: median",
            f"{metrics['p50']:.1f} ms",
            "< 20 ms",
            metrics["p50"] < 20,
        ),
        verdict_line(
            f"{_RATE} requests a second on one core: 99th percentile",
            f"{requests['p99']:.1f} ms",
            "< 100 ms",
            held and requests["p99"] < 100,
        ),
        verdict_line(
            f"an event has reached {_CLIENTS} WebSocket clients after",
            f"{events['worst']:.0f} ms",
            "< 1,000 ms",
            events["worst"] < 1_000,
        ),
    ]
    return "\n".join(
        [
            "# Benchmarks of the operations API",
            "",
            (
                "Made by `python -m benchmarks.api`. `fluxhero serve` has one core; on another the steps of "
                "`snapshot-metrics` run without pause over a ledger of "
                f"{rows:,} trades, and the load is made there too. A request's time counts from the moment at "
                "which it was due, so that waiting behind a slow one shows."
            ),
            "",
            machine("FastAPI", "uvicorn", "DuckDB"),
            "",
            "| what | measured | bound | verdict |",
            "|---|---|---|---|",
            *verdicts,
            "",
            "## In detail",
            "",
            "| what | measured |",
            "|---|---|",
            f"| `/metrics`, {metrics['bytes'] / 1000:,.0f} kB: 99th percentile | {metrics['p99']:.1f} ms |",
            f"| requests a second held over {_SECONDS} s | {requests['rate']:.0f} |",
            f"| their median and slowest | {requests['p50']:.1f} ms, {requests['max']:.0f} ms |",
            f"| the service's share of its core meanwhile | {requests['cpu']:.0%} |",
            f"| an event at its last client, median of {_EVENTS} events | {events['median']:.0f} ms |",
            f"| memory of the service with {_CLIENTS} clients gone again | {results['server']['mb']:.0f} MB |",
            "",
            (
                f"The requests take turns among {', '.join(f'`{path}`' for path in _MIX)}; each carries the token, "
                "is counted by the rate limit and logged. An event's time is from when the service noticed the "
                "snapshot, for which it looks once a second, to the last of all clients having it."
            ),
            "",
        ]
    )


def main() -> None:
    """Measure and report, or be the flows that run meanwhile."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.api", description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--out", type=Path, default=_ROOT / "docs" / "benchmarks-api.md")
    parser.add_argument("--night", action="store_true")
    options = parser.parse_args()
    if options.night:
        night()
    results = measure(options.rows)
    options.out.write_text(markdown(results, options.rows), encoding="utf-8")
    say(f"written to {options.out}")


if __name__ == "__main__":
    main()
