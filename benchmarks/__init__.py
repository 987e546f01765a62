"""Ratios against the obvious alternatives, measured in one run: `python -m benchmarks`."""
