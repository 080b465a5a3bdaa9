"""What `manage.py check` says about the blocks."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core import checks

from graphs.blocks.registry import BLOCKS


def blocks_are_usable(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Report each block or package that was left out, and why. A warning: everything else works without it."""
    return [
        checks.Warning(problem.message, hint=problem.hint, obj=problem.source, id="graphs.W001")
        for problem in BLOCKS.problems
    ]
