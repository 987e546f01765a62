"""Runs are killed; nothing is lost, doubled or changed. A sample for every run, the whole for `-m slow`."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.crash.matrix import STORES, Result, run_matrix


def judge(results: Sequence[Result], kills: int) -> None:
    wrong = [(r.store, r.operation, r.points, r.violations) for r in results if r.violations]
    assert not wrong
    assert sum(result.kills for result in results) >= kills
    assert all(result.recovered for result in results)
    assert sum(result.looks for result in results) > 0, "a reader looked on"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("store", STORES)
def test_a_sample_of_kills_loses_nothing(store: str, tmp_path: Path) -> None:
    judge(run_matrix(12, 20261123, tmp_path, stores=[store]), 12)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_every_kill_loses_nothing(tmp_path: Path) -> None:
    judge(run_matrix(320, 1, tmp_path, jobs=2, every=True), 300)
