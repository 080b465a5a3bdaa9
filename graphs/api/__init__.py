"""Graphs, their versions, and the catalogue of blocks."""
