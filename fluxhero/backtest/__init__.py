"""Backtest evaluation: which engine fits, do they agree, and is a result likely to be luck."""
