"""Run the evaluation as a worker's process does: the flow is loaded by its file, from `prefect.yaml`'s entrypoint."""

import sys
from datetime import date

GRID = ["fast=5..20:1", "slow=30..45:1"]


def main() -> int:
    from prefect.flows import load_flow_from_entrypoint

    flow = load_flow_from_entrypoint("flows/evaluate_backtests.py:evaluate_backtests")
    state = flow(
        strategies=["moving-average-cross"],
        symbols=["sample:IBM"],
        first=date(2006, 1, 3),
        last=date(2009, 12, 31),
        grid=GRID,
        engines=["none"],
        speed_bars=0,
        build=False,
        return_state=True,
    )
    return 0 if state.is_completed() else 1


if __name__ == "__main__":
    sys.exit(main())
