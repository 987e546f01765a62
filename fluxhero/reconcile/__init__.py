"""Fills matched to round trips, and a broker's executions held against a bot's own ledger."""
