"""`fluxhero evaluate` as its user runs it: a real flow run, its output, its exit status, and what is left behind."""

import asyncio
from pathlib import Path

import pytest

from tests.command import Run

ALONE = ("--symbol", "sample:IBM", "--from", "2009-01-01", "--engine", "none", "--speed-bars", "0")


@pytest.mark.server
def test_one_strategy_from_the_command_to_the_artifacts(
    data: Path, run: Run, prefect_harness: str
) -> None:
    ended = run("evaluate", "moving-average-cross", "--set", "fast=5", *ALONE)
    assert ended.status == 0, ended.err
    assert "moving-average-cross(fast=5, slow=50) on IBM" in ended.out
    assert "evaluation-" in ended.out
    told = run("evaluate", "perfect-predictor", *ALONE, "--json")
    document = told.document
    assert told.status == 0
    assert document["ok"]
    assert document["strategies"][0]["symbol"] == "IBM"
    kept = run("query", "SELECT strategy, count(*) FROM trials GROUP BY ALL ORDER BY 1", "--json")
    assert [row["strategy"] for row in kept.document["rows"]] == [
        "moving-average-cross",
        "perfect-predictor",
    ]
    markdown = asyncio.run(_artifact("evaluate-backtests"))
    assert "xychart-beta" in markdown


async def _artifact(key: str) -> str:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    async with get_client() as client:
        found = await client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        )
    return str(found[0].data)


@pytest.mark.parametrize(
    ("arguments", "status", "what"),
    [
        (("no-such-strategy",), 2, "there is no strategy no-such-strategy"),
        (("--engine", "no-such-engine"), 2, "there is no engine no-such-engine"),
        (("--from", "yesterday"), 2, "yesterday"),
        (("random", "--set", "hold=none"), 2, "hold"),
        (("--shares", "0"), 2, "0"),
    ],
)
@pytest.mark.server
def test_wrong_usage(
    data: Path,
    run: Run,
    prefect_harness: str,
    arguments: tuple[str, ...],
    status: int,
    what: str,
) -> None:
    ended = run("evaluate", *arguments)
    assert ended.status == status
    assert what in ended.err
