"""Links that let whoever has them download one file until they expire."""

from datetime import datetime
from uuid import UUID

from django.core.signing import BadSignature, Signer
from django.utils import timezone

from files.errors import DownloadLinkRefused

SHORTEST_SECONDS = 1
LONGEST_SECONDS = 7 * 24 * 3600


def token_for(file_id: UUID, until: datetime) -> str:
    """What makes the address of a file's content open for everybody until then."""
    return _signer().sign_object([str(file_id), int(until.timestamp())])


def check(token: str, file_id: UUID) -> None:
    """Return if `token` was made for this file and still holds; raises `DownloadLinkRefused`."""
    try:
        signed_id, until = _signer().unsign_object(token)
    except (BadSignature, ValueError):
        raise DownloadLinkRefused from None
    if signed_id != str(file_id) or until <= timezone.now().timestamp():
        raise DownloadLinkRefused


def _signer() -> Signer:
    return Signer(salt="files.download")
