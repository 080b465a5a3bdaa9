"""Buying credits and giving money back, through Stripe."""
