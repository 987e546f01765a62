"""docs/BACKTESTING_EVALUATION.md and its plots, generated from a run's evaluation.

`python -m fluxhero.backtest.evaluation_page docs/backtesting-evaluation.json` writes the page and the plots beside
the file, and docs/backtesting-integration.md where an engine qualifies. Nothing on it is written by hand.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from fluxhero.backtest.criteria import CRITERIA
from fluxhero.backtest.engine_sections import agreement, engines, own_figures
from fluxhero.backtest.evaluation import Evaluation
from fluxhero.backtest.evaluation_plots import plots_of
from fluxhero.backtest.evaluation_report import outcome_of
from fluxhero.backtest.in_words import NONE, number, percent, rules_in_words
from fluxhero.backtest.integration_plan import integration_plan
from fluxhero.backtest.markdown import IMAGE, plot
from fluxhero.durable import read_bytes, write_atomically
from fluxhero.errors import BadInputError
from fluxhero.markdown import cell, table
from fluxhero.wording import counted

PAGE: Final = "BACKTESTING_EVALUATION.md"
PLAN: Final = "backtesting-integration.md"


def read_evaluation(path: Path) -> Evaluation:
    """The evaluation that a run left.

    Raises:
        BadInputError: the file holds none.
        StorageIOError: it cannot be read.
    """
    try:
        return Evaluation.model_validate_json(read_bytes(path))
    except ValidationError as error:
        raise BadInputError(
            f"{path} holds no evaluation: {error.errors()[0]['msg']}",
            next_step="give the evaluation.json that `fluxhero evaluate` of this release wrote",
        ) from error


def write_page(source: Path) -> list[Path]:
    """Write page, plots and, where an engine qualifies, the integration plan beside an evaluation's file.

    Raises:
        BadInputError: the file holds no evaluation.
        StorageIOError: a file cannot be read or written.
    """
    evaluation = read_evaluation(source)
    folder = source.parent
    plots = plots_of(evaluation)
    files = {folder / IMAGE.format(name): drawn for name, drawn in plots.items()}
    files[folder / PAGE] = document(evaluation, tuple(plots), source.name)
    plan = integration_plan(evaluation)
    if plan is not None:
        files[folder / PLAN] = plan
    else:
        (folder / PLAN).unlink(missing_ok=True)
    for path, text in files.items():
        write_atomically(path, text.encode())
    return list(files)


def document(evaluation: Evaluation, plots: Sequence[str], source: str) -> str:
    """The page as markdown.

    Args:
        evaluation: all of it.
        plots: names of those that were drawn.
        source: name of the file it is generated from.
    """
    decision = evaluation.decision
    parts = [
        "# Which backtesting engine",
        f"**{decision.headline}**",
        decision.text,
        f"There is an [integration plan]({PLAN}).\n" if decision.engine else "",
        (
            f"Measured on {evaluation.at:%d %B %Y} by run `{evaluation.run}` of release {evaluation.release} in"
            f" {evaluation.seconds:,.0f} s. This page is generated from [{source}]({source}); no"
            " figure on it is estimated, and what was not measured says why. Times are of one machine"
            f" and mean nothing without it: {_machine(evaluation)}."
        ),
        (
            "`fluxhero evaluate` measures anew; its `evaluation.json`, copied over that file, makes this page by"
            f" `python -m fluxhero.backtest.evaluation_page docs/{source}`."
        ),
        plot("scores", plots),
        "## How it was decided",
        "\n".join(f"{place}. {rule}" for place, rule in enumerate(decision.rules, 1)),
        _requirements(evaluation),
        "## The matrix",
        plot("matrix", plots),
        _scores(evaluation),
        _criteria(),
        "### What was measured",
        *_measured(evaluation),
        "## The engines",
        engines(evaluation),
        plot("speed", plots),
        "## Do they agree?",
        *agreement(evaluation, plots),
        *own_figures(evaluation),
        "## Validation tests",
        (
            "Buy-and-hold, perfect predictor and random entries tell whether an engine is right. The walk-forward"
            " tells of the strategy; there an engine is right if it finds what the reference finds."
        ),
        _validations(evaluation),
        "## Is it luck?",
        _luck(evaluation),
        "## What it was run on",
        rules_in_words(evaluation.contract)
        + ". The rules in full: [the contract](backtest-contract.md).",
        _data(evaluation),
        *_wrong(evaluation),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def _machine(evaluation: Evaluation) -> str:
    one = evaluation.machine
    cores = counted(one.cores, "core")
    return f"{one.processor}, {cores}, {one.memory_gb:.0f} GB, {one.system}, Python {one.python}"


def _requirements(evaluation: Evaluation) -> str:
    return table(
        ("engine", ">total", "qualifies", "because"),
        (
            (
                one.engine,
                f"{one.total:.1f}",
                "no" if one.disqualified else "yes",
                "; ".join(one.disqualified) or "it meets all three",
            )
            for one in evaluation.standings
        ),
    )


def _scores(evaluation: Evaluation) -> str:
    found = evaluation.standings
    if not found:
        return ""
    return table(
        ("criterion", ">weight", *(f">{one.engine}" for one in found)),
        (
            (
                measure.criterion,
                f"{measure.weight.normalize():f}",
                *(_score(one.measures[place].score) for one in found),
            )
            for place, measure in enumerate(found[0].measures)
        ),
    )


def _score(score: float | None) -> str:
    return "?" if score is None else f"{score:.1f}"


def _criteria() -> str:
    listed = table(
        ("criterion", "what is measured", "score"),
        ((name, one.measured, one.rule) for name, one in CRITERIA.items()),
    )
    return f"### How each is measured and scored\n\n{listed}"


def _measured(evaluation: Evaluation) -> list[str]:
    return [
        f"**{one.engine}**\n\n"
        + table(
            ("criterion", "found", ">score"),
            (
                (
                    measure.criterion,
                    measure.text if measure.score is not None else f"not measured: {measure.text}",
                    _score(measure.score),
                )
                for measure in one.measures
            ),
        )
        for one in evaluation.standings
    ]


def _validations(evaluation: Evaluation) -> str:
    listed = table(
        ("engine", "test", "symbol", "outcome", "found", "wanted", "how"),
        (
            (
                one.engine,
                one.test,
                one.symbol,
                outcome_of(one).replace("failed", "**failed**"),
                one.value,
                one.wanted,
                one.text,
            )
            for one in evaluation.validations
        ),
    )
    return listed or "None was done."


def _luck(evaluation: Evaluation) -> str:
    rows = []
    for one in evaluation.luck:
        found = evaluation.reference_performance(one.label, one.symbol)
        figures = (NONE,) * 4
        if found is not None:
            figures = (
                percent(found.total_return),
                number(found.sharpe),
                percent(found.max_drawdown),
                f"{found.trades:,}",
            )
        rows.append((one.label, one.symbol, *figures, one.luck.verdict if one.luck else one.reason))
    listed = table(
        ("strategy", "symbol", ">return", ">Sharpe", ">drawdown", ">round trips", "is it luck?"),
        rows,
    )
    return listed or "No strategy was tested."


def _data(evaluation: Evaluation) -> str:
    used = [*evaluation.data, *([evaluation.speed_data] if evaluation.speed_data else [])]
    return table(
        ("symbol", ">bars", "of", "from", "to", "source", "notes"),
        (
            (
                one.symbol,
                f"{one.bars:,}",
                one.timeframe,
                f"{one.first:%Y-%m-%d}",
                f"{one.last:%Y-%m-%d}",
                one.source,
                "; ".join(one.notes),
            )
            for one in used
        ),
    )


def _wrong(evaluation: Evaluation) -> list[str]:
    if not evaluation.failures:
        return []
    return ["## What went wrong", "\n".join(f"- {cell(one)}" for one in evaluation.failures)]


if __name__ == "__main__":
    write_page(Path(sys.argv[1]))
