"""Run the evaluation as a worker's process does: the flow is loaded by its file, from `prefect.yaml`'s entrypoint."""

import sys
from datetime import date
from typing import Any

ASKED: dict[str, Any] = {
    "strategies": ["moving-average-cross"],
    "symbols": ["sample:IBM"],
    "first": date(2006, 1, 3),
    "last": date(2009, 12, 31),
    "grid": ["fast=5..20:1", "slow=30..45:1"],
    "engines": ["none"],
    "speed_bars": 0,
    "build": False,
}


def main() -> int:
    from prefect.flows import load_flow_from_entrypoint

    flow: Any = load_flow_from_entrypoint("flows/evaluate_backtests.py:evaluate_backtests")
    state = flow(**ASKED, return_state=True)
    return 0 if state.is_completed() else 1


if __name__ == "__main__":
    sys.exit(main())
