"""Fetching from a broker what happened to an account: orders, fills, dividends, fees.

What comes is written down as the broker says it; what it means is `fluxhero.ledger.formats`' business.
"""
