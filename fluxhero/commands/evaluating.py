"""`fluxhero evaluate`: which engine fits, and is the result real?"""

from datetime import datetime

import click

from fluxhero.commands.output import finish
from fluxhero.commands.parameters import DAY, json_option, timeframe_option
from fluxhero.commands.running import prefect_ready, report_of

_MINUTE_BARS = 100_000


@click.command(
    short_help="Compare backtesting engines, and ask whether a strategy's result is luck."
)
@click.argument("strategies", nargs=-1, metavar="[STRATEGY]...")
@click.option(
    "--symbol",
    "symbols",
    multiple=True,
    metavar="SYMBOL",
    help="Whose bars, from the cache that `fluxhero refresh` fills; repeat for more (default: real daily "
    "bars that are shipped, sample:AAPL, sample:GOOG, sample:IBM and sample:MSFT).",
)
@timeframe_option
@click.option("--from", "first", type=DAY, metavar="DAY", help="Leave out bars of earlier days.")
@click.option("--to", "last", type=DAY, metavar="DAY", help="Leave out bars of later days.")
@click.option(
    "--set",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the strategy; repeat for more. With one STRATEGY only.",
)
@click.option(
    "--grid",
    multiple=True,
    metavar="NAME=VALUES",
    help="Values of a parameter to try, as in fast=5..50:5 or entry=1,1.5,2; repeat for more. "
    "With one STRATEGY only (default: the grid that the strategy itself names).",
)
@click.option(
    "--engine",
    "engines",
    multiple=True,
    metavar="ENGINE",
    help="Compare this engine only; repeat for more (default: all; none: no engine).",
)
@click.option(
    "--shares",
    type=click.IntRange(1, 10_000_000),
    help="Shares of every order (default: as many as the equity pays for).",
)
@click.option("--allow-short", is_flag=True, help="Let the strategy be short, too.")
@click.option(
    "--speed-bars",
    type=click.IntRange(0, 1_000_000),
    default=_MINUTE_BARS,
    show_default=True,
    help="Minute bars that the engines' speed is measured on; 0 leaves that out.",
)
@click.option(
    "--build/--no-build",
    default=True,
    help="Build the environments of engines that have none yet, which takes packages from the "
    "network, once (default: build).",
)
@click.option(
    "--sweep-engine",
    type=click.Choice(["reference", "vectorbt"]),
    default="reference",
    show_default=True,
    help="What runs the combinations of the grids; the reference is the quicker one.",
)
@click.option("--pdf", is_flag=True, help="Write each tearsheet as a PDF file, too.")
@json_option
def evaluate(
    *,
    strategies: tuple[str, ...],
    symbols: tuple[str, ...],
    timeframe: str,
    first: datetime | None,
    last: datetime | None,
    parameters: tuple[str, ...],
    grid: tuple[str, ...],
    engines: tuple[str, ...],
    shares: int | None,
    allow_short: bool,
    speed_bars: int,
    build: bool,
    sweep_engine: str,
    pdf: bool,
    as_json: bool,
) -> None:
    """Run strategies by one set of rules in every backtesting engine, and say what the result is worth.

    Each engine runs in an environment of its own. Whether it agrees with the reference to the cent is
    measured, and every difference is put down to its cause; docs/backtest-contract.md has the rules. Of
    each strategy is asked what a good result may come from other than skill: the number of variants
    tried, a lucky period, costs left out, looking ahead.

    STRATEGY is one of moving-average-cross, mean-reversion, buy-and-hold, random and perfect-predictor,
    or yours as module:Class, found from this folder (docs/strategies.md); without one, all five.
    Ends with 1 when a strategy or an engine failed, or a strategy looks ahead; an engine that cannot be
    installed here is a row of the report.

    \b
    Examples:
      fluxhero evaluate                                  everything, on shipped data
      fluxhero evaluate moving-average-cross --set fast=20 --set slow=100 --engine none
      fluxhero evaluate my_module:Strategy --symbol AAPL --from 2020-01-01 --to 2025-12-31
      fluxhero evaluate my_module:Strategy --symbol AAPL --grid fast=5..50:5 --pdf
    """
    with prefect_ready():
        from flows.evaluate_backtests import evaluate_backtests

        report = report_of(
            evaluate_backtests(
                strategies=list(strategies),
                symbols=list(symbols),
                timeframe=timeframe,
                first=first.date() if first else None,
                last=last.date() if last else None,
                parameters=list(parameters),
                grid=list(grid),
                engines=list(engines),
                shares=shares,
                allow_short=allow_short,
                speed_bars=speed_bars,
                build=build,
                sweep_engine=sweep_engine,
                pdf=pdf,
                return_state=True,
            )
        )
    finish(report, as_json=as_json)
