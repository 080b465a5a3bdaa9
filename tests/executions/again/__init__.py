"""Runs that go on from one that has ended: what succeeded is taken over, the rest is run."""
