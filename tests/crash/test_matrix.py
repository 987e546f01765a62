"""Runs are killed; nothing is lost, doubled or changed. A sample for every run, the whole for `-m slow`."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.crash.bench import Result
from tests.crash.matrix import ARCHIVE, INGEST, MIGRATION, PLACES, STORES, run_matrix


def judge(results: Sequence[Result], kills: int) -> None:
    wrong = [(r.store, r.operation, r.points, r.violations) for r in results if r.violations]
    assert not wrong
    assert sum(result.kills for result in results) >= kills
    assert all(result.recovered for result in results)


def judge_with_reader(results: Sequence[Result], kills: int) -> None:
    judge(results, kills)
    assert sum(result.looks for result in results) > 0, "a reader looked on"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("store", STORES)
def test_a_sample_of_kills_loses_nothing(store: str, tmp_path: Path) -> None:
    places = [place for place in ARCHIVE if place[0] == store]
    judge_with_reader(run_matrix(8, 20261123, tmp_path, places=places), 8)


@pytest.mark.timeout(240)
def test_a_sample_of_killed_ingests_loses_nothing(tmp_path: Path) -> None:
    judge(run_matrix(4, 20261124, tmp_path, places=INGEST), 4)


@pytest.mark.timeout(240)
def test_a_sample_of_killed_migrations_loses_nothing(tmp_path: Path) -> None:
    judge(run_matrix(6, 20261124, tmp_path, places=MIGRATION), 6)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_every_kill_loses_nothing(tmp_path: Path) -> None:
    results = run_matrix(640, 1, tmp_path, places=PLACES, jobs=2, every=True)
    judge_with_reader(results, 600)
