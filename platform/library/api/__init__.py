"""Presets over REST."""
