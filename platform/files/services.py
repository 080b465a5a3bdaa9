"""Keep files, give them back and let them go.

A file's row is committed before its bytes are written, and deleted after them. So whenever a process dies, all bytes
in the storage have a row that says whose they are and until when, they count for the quota, and sweeping by rows finds
what was left. The other way round bytes without a row would have to be looked for by listing the whole storage.
"""

import hashlib
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Any
from uuid import UUID

from django.conf import settings
from django.core.files import File
from django.core.files.storage import Storage, storages
from django.db import transaction
from django.utils import timezone

from accounts.models import User
from files import clamd, naming, sniffing
from files.errors import (
    FileLost,
    FileTooLarge,
    NoSuchFile,
    QuotaExceeded,
    StorageUnavailable,
    TooManyFiles,
    UploadKeyReused,
)
from files.models import SCHEME, State, StoredFile

log = logging.getLogger(__name__)

MAX_FILES = 10_000
# The longest that an upload is kept; what runs make is kept for RUN_FILE_HOURS.
LONGEST_HOURS = 48
MEGABYTE = 1024 * 1024
_CHUNK = 256 * 1024
# Whoever stores a file for so long is gone.
ABANDONED_AFTER = timedelta(hours=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """What is to be kept: `content` is read from its beginning, `media_type` is what the sender says it is, or empty.

    What is stored again with the same `key` is stored once; what came first stays. If it `must_match`, another content
    or name with that key is refused.
    """

    content: "File[Any]"
    name: str
    media_type: str = ""
    lifetime: timedelta
    run_id: UUID | None = None
    key: str | None = None
    must_match: bool = False


@dataclass(frozen=True, slots=True)
class _Measured:
    size: int
    sha256: str
    head: bytes


def storage() -> Storage:
    """Where the bytes are."""
    return storages["files"]


def max_bytes() -> int:
    """How large a file may be."""
    return settings.UPLOAD_MB * MEGABYTE


def quota_bytes() -> int:
    """How much the files of one user may take together."""
    return settings.FILE_QUOTA_MB * MEGABYTE


def keep_file(user_id: UUID, new: NewFile) -> StoredFile:
    """Keep a file for its lifetime once it is known to be what it says and, if there is a scanner, clean.

    Raises `FileTooLarge`, `ContentMismatch`, `FileInfected`, `ScannerUnavailable`, `QuotaExceeded`, `TooManyFiles`,
    `UploadKeyReused` or `StorageUnavailable`; nothing is kept then.
    """
    kept = None if new.key is None else _kept_as(user_id, new.key)
    if kept is not None and not new.must_match:
        return kept
    name = naming.clean(new.name)
    measured = _measure(new.content)
    if kept is not None:
        return _same(kept, name, measured)
    media_type = sniffing.media_type_of(measured.head, name, new.media_type)
    clamd.scan(new.content.chunks(_CHUNK))
    try:
        file = _reserve(user_id, new, name, media_type, measured)
    except (QuotaExceeded, TooManyFiles):
        # What has expired is of no use to its owner, and sweepers come but once an hour.
        expired = StoredFile.objects.filter(user=user_id, expires_at__lte=timezone.now())
        if not remove(expired):
            raise
        file = _reserve(user_id, new, name, media_type, measured)
    if file.state == State.STORED:
        return _same(file, name, measured) if new.must_match else file
    _write(file, new.content)
    return file


def delete_file(user: User, file_id: UUID) -> None:
    """Let go of a file of this user; raises `NoSuchFile`."""
    remove([own_file(user, file_id)])


def own_file(user: User, file_id: UUID) -> StoredFile:
    """A file of this user; raises `NoSuchFile`."""
    file = StoredFile.objects.visible_to(user, timezone.now()).filter(pk=file_id).first()
    if file is None:
        raise NoSuchFile(file_id=str(file_id))
    return file


def linked_file(file_id: UUID) -> StoredFile:
    """A file that somebody has a good link to, as long as its owner may use the platform; raises `NoSuchFile`."""
    there = StoredFile.objects.filter(pk=file_id, state=State.STORED, expires_at__gt=timezone.now())
    file = there.filter(user__is_active=True).first()
    if file is None:
        raise NoSuchFile(file_id=str(file_id))
    return file


def named_file(user_id: UUID, uri: str) -> StoredFile:
    """The user's file with this URI; raises `NoSuchFile`, whether it is gone, another's or never was."""
    found = named_files(user_id, [uri])
    if not found:
        raise NoSuchFile(f"There is no file {uri} of yours, or it has expired", file_uri=uri)
    return found[uri]


def named_files(user_id: UUID, uris: Iterable[str]) -> dict[str, StoredFile]:
    """Those of the URIs that name a file of this user, with the file."""
    ids = {uri: _id_in(uri) for uri in uris}
    wanted = [file_id for file_id in ids.values() if file_id is not None]
    files = StoredFile.objects.visible_to(user_id, timezone.now()).in_bulk(wanted)
    return {uri: files[file_id] for uri, file_id in ids.items() if file_id in files}


def open_content(file: StoredFile) -> IO[bytes]:
    """The file's content, to be read and closed; raises `FileLost` and `StorageUnavailable`."""
    try:
        return storage().open(file.path)
    except FileNotFoundError:
        log.error("The content of file %s is gone from the storage", file.pk)
        raise FileLost(file_id=str(file.pk)) from None
    # Each kind of storage has errors of its own.
    except Exception as error:
        log.exception("File %s cannot be opened", file.pk)
        raise StorageUnavailable from error


def remove(files: Iterable[StoredFile]) -> int:
    """Let go of these files, and return of how many the bytes are gone; of the others sweeping tries again."""
    removed = 0
    for file in files:
        # From now on nobody sees it, whatever becomes of the bytes.
        StoredFile.objects.filter(pk=file.pk).update(state=State.LEAVING, key=None)
        try:
            storage().delete(file.path)
        # Each kind of storage has errors of its own.
        except Exception as error:
            log.warning("The content of file %s could not be deleted: %s", file.pk, error)
        else:
            StoredFile.objects.filter(pk=file.pk).delete()
            removed += 1
    return removed


def _kept_as(user_id: UUID, key: str) -> StoredFile | None:
    return StoredFile.objects.visible_to(user_id, timezone.now()).filter(key=key).first()


def _same(kept: StoredFile, name: str, measured: _Measured) -> StoredFile:
    if (kept.name, kept.sha256) != (name, measured.sha256):
        raise UploadKeyReused(file_id=str(kept.pk))
    return kept


def _measure(content: "File[Any]") -> _Measured:
    size, digest, head = 0, hashlib.sha256(), b""
    for chunk in content.chunks(_CHUNK):
        size += len(chunk)
        if size > max_bytes():
            raise FileTooLarge(f"The file has more than {settings.UPLOAD_MB} MB", limit=max_bytes())
        digest.update(chunk)
        head = head or chunk[: sniffing.HEAD]
    return _Measured(size, digest.hexdigest(), head)


# Not within another transaction: the row must be there, for whoever looks, before the bytes are.
@transaction.atomic(durable=True)
def _reserve(user_id: UUID, new: NewFile, name: str, media_type: str, measured: _Measured) -> StoredFile:
    """The row of a file that is about to be written, or of one with this key that is there already."""
    # Those who store at once for one user come one after the other, so that none counts without the others.
    User.objects.lock(user_id)
    if new.key is not None:
        # One that has expired, or whose writer is gone or will find out that it is too late. Only then a whole one is
        # looked for: what is being written may be whole at any moment, and its writer has told somebody so.
        here = StoredFile.objects.filter(user=user_id, key=new.key)
        here.exclude(state=State.STORED, expires_at__gt=timezone.now()).update(state=State.LEAVING, key=None)
        kept = _kept_as(user_id, new.key)
        if kept is not None:
            return kept
    number, used = StoredFile.objects.filter(user=user_id).usage()
    if number >= MAX_FILES:
        raise TooManyFiles(f"You have {MAX_FILES:,} files, as many as one user may have")
    if used + measured.size > quota_bytes():
        left = max(0, quota_bytes() - used)
        raise QuotaExceeded(
            f"The file has {measured.size:,} bytes; of your {settings.FILE_QUOTA_MB} MB {left:,} bytes are left",
            used_bytes=used,
            quota_bytes=quota_bytes(),
        )
    return StoredFile.objects.create(
        user_id=user_id,
        name=name,
        media_type=media_type,
        size=measured.size,
        sha256=measured.sha256,
        expires_at=timezone.now() + new.lifetime,
        run_id=new.run_id,
        key=new.key,
    )


def _write(file: StoredFile, content: "File[Any]") -> None:
    content.seek(0)
    try:
        storage().save(file.path, content)
        _reach_the_disk(file.path)
    # Each kind of storage has errors of its own.
    except Exception as error:
        log.exception("File %s could not be stored", file.pk)
        remove([file])
        raise StorageUnavailable from error
    if not StoredFile.objects.filter(pk=file.pk, state=State.STORING).update(state=State.STORED):
        remove([file])
        raise StorageUnavailable("Storing the file took too long, or was begun again meanwhile, so it was given up")
    file.state = State.STORED


def _reach_the_disk(path: str) -> None:
    """Wait until a content would outlast a loss of power, as its row does; a bucket has waited already."""
    try:
        whole = Path(storage().path(path))
    except NotImplementedError:
        return
    for place in (whole, whole.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _id_in(uri: str) -> UUID | None:
    try:
        return UUID(uri.removeprefix(SCHEME)) if uri.startswith(SCHEME) else None
    except ValueError:
        return None
