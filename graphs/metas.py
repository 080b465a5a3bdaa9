"""Versions for lists: without their drawings, so that these need not be read each time.

What is computed of a version that calls no other never changes, and is kept.
"""

from collections import OrderedDict
from collections.abc import Sequence
from uuid import UUID

from django.db.models import prefetch_related_objects

from graphs import services, tags
from graphs.models import GraphVersion, nodes_in_order
from graphs.rendering import Json, as_meta, computed_of

_MOST_KEPT = 1_000

_kept: OrderedDict[tuple[UUID, bool], Json] = OrderedDict()


def metas_of(versions: Sequence[GraphVersion], *, for_export: bool = False) -> list[Json]:
    """The versions, which have their graphs fetched along, in their order; exports are without secrets and owner."""
    kept = {version.pk: _kept.get((version.pk, for_export)) for version in versions}
    computed = {key: known for key, known in kept.items() if known is not None}
    new = [version for version in versions if version.pk not in computed]
    prefetch_related_objects(new, nodes_in_order())
    called = services.called_by(new)
    for version in new:
        computed[version.pk] = computed_of(version, called[version.pk], for_export=for_export)
        if not tags.calls_others(version):
            _kept[version.pk, for_export] = computed[version.pk]
    while len(_kept) > _MOST_KEPT:
        _kept.popitem(last=False)
    return [as_meta(version, computed[version.pk], for_export=for_export) for version in versions]
