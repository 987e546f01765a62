"""What each number of a tearsheet means to a trader, in a sentence; docs/statistics.md says how it is reckoned."""

from typing import Final

MEANINGS: Final = {
    "Total return": "What became of the starting cash in all, after costs.",
    "A year": "The steady yearly growth that gives the same.",
    "Volatility": "How much it swings in a year: the standard deviation of the daily returns, scaled to a year.",
    "Sharpe ratio": (
        "Yearly return above the risk-free rate for each unit of swing; ± is its standard error, where one is given."
    ),
    "Sortino ratio": "The same, but only swings downward count.",
    "Deepest drawdown": "The largest fall from a peak that you would have had to sit through.",
    "Longest below a peak": "Calendar days until a peak was reached again, or until the end.",
    "Round trips": "Trades that were opened and closed; a position open at the end is none.",
    "Won": "Share of the round trips that gained after commission.",
    "Average win": "Mean gain of those that gained.",
    "Average loss": "Mean loss of those that lost.",
    "Profit factor": "USD won for each USD lost.",
    "Bars held": "How many bars a round trip lasts on average.",
    "Invested": "Share of the bars at whose close a position was held.",
    "Commission": "Paid in all.",
    "Slippage": "What worse prices than the open cost in all.",
    "Above zero, had it been the only trial": (
        "How sure one could be that the true Sharpe ratio is above zero, had nothing else been tried."
    ),
    "Trials on this data": "Variants that were ever tried on this symbol's bars, this one included.",
    "Best of as many by luck alone": "The Sharpe ratio to expect of the best of so many trials without any skill.",
    "Above that, given the trials": (
        "How sure one can be that the true Sharpe ratio is above what luck gives (the deflated Sharpe ratio);"
        " 95 % or more is good, below 50 % is likely to be luck."
    ),
    "Days to be 95 % sure": "How long a record has to be for that, had this been the only trial.",
    "Probability of overfitting": (
        "How often the best parameters on some of the days are in the worse half on the others;"
        " above 50 % is worse than a coin."
    ),
    "Rank of the best on other days": (
        "Where the best on some of the days ends among all trials on the others; 100 % is first, 50 % the middle."
    ),
    "Sharpe ratio, middle 90 %": "Where it lies in 90 % of 1,000 samples of the same days, drawn anew.",
    "A year, middle 90 %": "The same of the yearly growth.",
    "Drawdown, middle 90 %": "The same of the deepest drawdown: if the upper end would make you stop, trade less.",
    "Samples that lose": "Share of those samples that lost money.",
    "Best of the sweep": (
        "The combination of parameters with the best Sharpe ratio; chosen afterwards, and to be trusted the less"
        " the more were tried."
    ),
    "Neighbours near the best": (
        "Of the combinations one step of the grid away from the best, how many reach half of its Sharpe ratio;"
        " few of them are a sign of noise."
    ),
    "Months profitable": "Of the months tested; more than 60 % are needed.",
    "Without a trade": "Months in which nothing was bought or sold; they count as not profitable.",
    "A coin does as well": "How often a coin would give as many profitable months among those traded.",
    "All months together": "What the months tested gave one after the other.",
    "More than 60 %": "Whether the walk-forward passes.",
}
