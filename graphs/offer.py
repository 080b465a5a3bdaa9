"""Which blocks this installation offers: those that are switched off, or cannot work here, stay out of menus."""

from django.conf import settings

from graphs.blocks.base import Block
from graphs.blocks.registry import BLOCKS


def is_offered(block: Block) -> bool:
    """Whether people may draw with it. Nothing reaches a trigger where nobody knows this site's address."""
    return not block.disabled and (bool(settings.PLATFORM_BASE_URL) or not block.kind.is_trigger)


def offered() -> list[Block]:
    """The blocks that people may draw with, by name."""
    return [block for block in BLOCKS.all() if is_offered(block)]
