"""How the menu says no."""

from core.errors import Invalid


class OneFilterOnly(Invalid):
    """Blocks are listed by category, by type or by provider, not by several of these."""

    hint = "Leave all but one out."
