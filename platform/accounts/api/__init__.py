"""Tokens, and the user behind them."""
