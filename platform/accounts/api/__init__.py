"""Tokens, API keys, and the user behind them."""
