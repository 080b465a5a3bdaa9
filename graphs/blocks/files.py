"""Files as text: data URIs (RFC 2397), which need no file store."""

import base64
import binascii
import mimetypes
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from graphs.blocks.base import BlockError


@dataclass(frozen=True, slots=True)
class File:
    """A file's content with its media type, such as text/plain."""

    content: bytes
    media_type: str

    @property
    def extension(self) -> str:
        """The usual ending of a name for this type, with its dot; empty when there is none."""
        return mimetypes.guess_extension(self.media_type) or ""


def from_data_uri(uri: str) -> File:
    """The file in a data URI; raises `BlockError` when it is malformed."""
    head, comma, data = uri.partition(",")
    if not comma or not head.lower().startswith("data:"):
        raise BlockError("a data URI looks like data:text/plain;base64,SGVsbG8=")
    media_type, *parameters = head[len("data:") :].split(";")
    content = unquote_to_bytes(data)
    if parameters and parameters[-1].strip().lower() == "base64":
        try:
            content = base64.b64decode(content, validate=True)
        except binascii.Error as error:
            raise BlockError(f"the data URI's base64 is malformed: {error}") from None
    return File(content, media_type.strip().lower() or "text/plain")


def to_data_uri(content: bytes, media_type: str) -> str:
    """A data URI of the content."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
