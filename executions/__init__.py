"""Runs of graphs, from the request to the last event."""
