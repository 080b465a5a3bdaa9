"""The WebSocket of runs."""
