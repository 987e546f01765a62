"""The picture of an evaluation on a run's page."""

from fluxhero.backtest.evaluation_plots import results_png
from fluxhero.backtest.trials import REFERENCE
from tests.backtest.sample_evaluation import sample

SAMPLE = sample()


def test_a_picture_of_what_the_reference_made_of_each_strategy() -> None:
    ours = [one for one in SAMPLE.curves if one.engine == REFERENCE]
    assert ours
    picture = results_png(SAMPLE)
    assert picture is not None
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    others = tuple(one for one in SAMPLE.curves if one.engine != REFERENCE)
    assert results_png(SAMPLE.model_copy(update={"curves": others})) is None
