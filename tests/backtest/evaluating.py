"""The evaluation by the flow's own body, in a folder of its own, without Prefect's engine."""

from typing import Any

from fluxhero.backtest.report import EvaluationReport
from tests.house import plain_tasks


def evaluate(**parameters: Any) -> EvaluationReport:
    """Run the flow; no engine unless said, and no run for speed."""
    from flows import evaluate_backtests as module

    given: dict[str, Any] = {"engines": ["none"], "speed_bars": 0, "build": False, **parameters}
    with plain_tasks(module, {}):
        state = module.evaluate_backtests.fn(**given)
    report = state.data
    assert isinstance(report, EvaluationReport)
    return report
