"""Importing this loads every block, so that processes forked from here have them at once."""

from executions.engine import node_process
from graphs.blocks.registry import BLOCKS

__all__ = ["node_process"]

BLOCKS.all()
