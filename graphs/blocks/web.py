"""Blocks that talk to the web."""
