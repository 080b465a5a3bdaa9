"""How keeping files, and getting them back, fails."""

from typing import ClassVar

from core.errors import Conflict, Invalid, NotFound, Refused, Unavailable


class NoSuchFile(NotFound):
    """There is no such file."""

    hint: ClassVar[str] = "GET /api/files lists yours. Files go when they expire."


class FileLost(NotFound):
    """The file is listed, but its content is gone from the storage."""

    hint: ClassVar[str] = "Upload it again, and tell who runs this server."


class ProviderUnknown(Invalid):
    """There is only one place for files, called gcs."""

    hint: ClassVar[str] = "Leave `provider` out."


class ExpiryOutOfRange(Invalid):
    """A file is kept between 1 and 48 hours."""

    hint: ClassVar[str] = "Send `expiration_hours` from 1 to 48, or leave it out for 24."


class FileTooLarge(Invalid):
    """The file is larger than files may be."""

    hint: ClassVar[str] = "Send less, or raise TASKLOOM_UPLOAD_MB."


class UploadBrokenOff(Invalid):
    """The upload ends before its last boundary, so the file may not be whole."""

    hint: ClassVar[str] = "Send it again."


class ContentMismatch(Invalid):
    """The file is not what its name or content type says."""

    hint: ClassVar[str] = "Give it the name and type that its content has, or send it as application/octet-stream."


class FileInfected(Invalid):
    """The virus scanner found something in the file."""


class QuotaExceeded(Conflict):
    """Your files would take more room than you have."""

    hint: ClassVar[str] = "Delete files that are no longer needed: GET /api/files lists them."


class TooManyFiles(Conflict):
    """You have as many files as one user may have."""

    hint: ClassVar[str] = "Delete files that are no longer needed: GET /api/files lists them."


class UploadKeyReused(Conflict):
    """This key has uploaded another file."""

    hint: ClassVar[str] = "Choose a new key for each file; repeat a key only to repeat the same upload."


class DownloadLinkRefused(Refused):
    """The link is expired, or was not made for this file."""

    hint: ClassVar[str] = "POST /api/files/{file_id}/link makes a new one."


class ScannerUnavailable(Unavailable):
    """The virus scanner does not answer, and nothing is kept that it has not seen."""


class StorageUnavailable(Unavailable):
    """The storage does not take or give files at the moment."""
