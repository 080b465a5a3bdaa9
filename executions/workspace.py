"""The files of users, for runs: what blocks read and store, and whether a run is given files that are there."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.files.base import ContentFile
from django.db import connection

from executions.checks import RunChecks
from files import services
from files.errors import FileTooLarge
from files.services import NewFile
from graphs.blocks.base import Context
from graphs.blocks.files import SCHEME, File
from graphs.errors import NodeErrors

# How a text that names a file begins in JSON.
MARK = f'"{SCHEME}'.encode()
MOST_FILES = 1000


class RunFiles:
    """The workspace that blocks see: the files of the user whose run it is. It is used in threads of its callers."""

    def read(self, uri: str, context: Context, most_bytes: int) -> File:
        """The file that the URI names; raises `NoSuchFile`, `FileTooLarge`, `FileLost` or `StorageUnavailable`."""
        try:
            file = services.named_file(context.user_id, uri)
        finally:
            _give_connection_back()
        if file.size > most_bytes:
            raise FileTooLarge(
                f"{file.name!r} has {file.size:,} bytes, more than the {most_bytes:,} that a block reads"
            )
        with services.open_content(file) as content:
            return File(content.read(), file.media_type, file.name)

    def store(self, file: File, context: Context, part: str) -> str:
        """Keep a file of the run and return its URI; raises what `keep_file` raises."""
        new = NewFile(
            content=ContentFile(file.content),
            name=file.name or f"file{file.extension}",
            media_type=file.media_type,
            lifetime=timedelta(hours=settings.RUN_FILE_HOURS),
            run_id=context.run_id,
            key=f"{context.key}:{part}",
        )
        try:
            return services.keep_file(context.user_id, new).uri
        finally:
            _give_connection_back()


def missing_files(
    checks: RunChecks, user_id: UUID, inputs: Mapping[str, Any], masks: Mapping[str, Mapping[str, Any]]
) -> NodeErrors:
    """What to say of inputs by name, and of masks by node id and pin, that name files which the user has not."""
    given = {
        **{(node_id, "value"): value for name, value in inputs.items() for node_id in checks.nodes_of_input(name)},
        **{(node_id, pin): value for node_id, pins in masks.items() for pin, value in pins.items()},
    }
    named = {place: set(_uris_in(value)) for place, value in given.items()}
    uris = set().union(*named.values())
    if len(uris) > MOST_FILES:
        return {
            str(checks.definition.id): {"inputs": f"They name {len(uris):,} files; a run may be given {MOST_FILES:,}"}
        }
    there = services.named_files(user_id, uris)
    errors: NodeErrors = {}
    for (node_id, pin), wanted in named.items():
        if gone := sorted(wanted - there.keys()):
            errors.setdefault(node_id, {})[pin] = f"There is no file {gone[0]} of yours, or it has expired"
    return errors


def _uris_in(value: Any) -> Iterator[str]:
    """The texts inside of a value that name files."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str) and item.startswith(SCHEME):
            yield item
        elif isinstance(item, Mapping):
            pending += item.values()
        elif isinstance(item, (list, tuple)):
            pending += item


def _give_connection_back() -> None:
    """Threads that run blocks live long, and connections are few."""
    if not connection.in_atomic_block:
        connection.close()
