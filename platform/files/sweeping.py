"""The janitor of files: what has expired, what was never finished, and bytes that no row names.

Done twice, at once or broken off, it does no harm: it only lets go of what nobody can use any more.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from files.models import StoredFile
from files.services import ABANDONED_AFTER, LONGEST_HOURS, remove, storage

log = logging.getLogger(__name__)

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Swept:
    """How many files were deleted, how many would not go, and how many contents without a row were deleted."""

    removed: int
    stuck: int
    orphans: int


def sweep() -> Swept:
    """Let go of all that is unwanted by now."""
    removed = stuck = 0
    now = timezone.now()
    unwanted = StoredFile.objects.unwanted(now, now - ABANDONED_AFTER).order_by("pk")
    page = list(unwanted[:_PAGE])
    while page:
        gone = remove(page)
        removed, stuck = removed + gone, stuck + len(page) - gone
        page = list(unwanted.filter(pk__gt=page[-1].pk)[:_PAGE])
    return Swept(removed, stuck, _sweep_orphans(now))


def _sweep_orphans(now: datetime) -> int:
    """Delete bytes without a row, as a deleted user or a restored backup leaves them; returns how many.

    Only those that are older than any file can get: should the database be the wrong one, they would have expired in
    the right one, too.
    """
    oldest = now - timedelta(hours=max(settings.RUN_FILE_HOURS, LONGEST_HOURS)) - ABANDONED_AFTER
    orphans = 0
    for names in _listed():
        known = set(StoredFile.objects.filter(pk__in=names).values_list("pk", flat=True))
        for file_id in names:
            path = StoredFile(pk=file_id).path
            if file_id not in known and storage().get_modified_time(path) < oldest:
                storage().delete(path)
                orphans += 1
    return orphans


def _listed() -> Iterator[list[UUID]]:
    """The ids of all files in the storage, a folder at a time."""
    try:
        folders, _ = storage().listdir("")
    except FileNotFoundError:
        return
    for folder in sorted(folders):
        _, names = storage().listdir(folder)
        ids = [file_id for name in names if (file_id := _id_of(name))]
        # What else lies there is none of ours.
        yield [file_id for file_id in ids if StoredFile(pk=file_id).path.startswith(f"{folder}/")]


def _id_of(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None
