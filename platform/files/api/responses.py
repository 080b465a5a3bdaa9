"""How contents are sent: in pieces, whole or in part, and so that no browser runs them."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import IO

from django.http import HttpRequest, StreamingHttpResponse
from django.utils.http import content_disposition_header

_PIECE = 256 * 1024
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class Unsatisfiable(Exception):
    """The content has no such part."""


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes from `start` on, `length` of them."""

    start: int
    length: int

    @classmethod
    def asked_for(cls, request: HttpRequest, size: int, etag: str) -> "Part | None":
        """The part that the request wants, or None for all; raises `Unsatisfiable`.

        Several parts at once, and parts of what the content is no longer, are answered with all of it (RFC 9110).
        """
        asked = _RANGE.fullmatch(request.headers.get("Range", "").strip())
        if asked is None or asked[0] == "bytes=-" or request.headers.get("If-Range", etag) != etag:
            return None
        first, last = asked.groups()
        if not first:
            start, end = max(0, size - int(last)), size
        else:
            start, end = int(first), min(size, int(last) + 1 if last else size)
            if last and int(last) < start:
                return None
        if start >= size or start >= end:
            raise Unsatisfiable
        return cls(start, end - start)


class ContentResponse(StreamingHttpResponse):
    """An open file, or a part of it, as something to save; the file is closed with the response.

    Under ASGI each piece is read in a thread when the client has taken the one before.
    """

    def __init__(
        self, content: IO[bytes], *, size: int, name: str, media_type: str, etag: str, part: Part | None
    ) -> None:
        self._left = part.length if part else size
        self._content = content
        content.seek(part.start if part else 0)
        super().__init__(_pieces(content, self._left), status=206 if part else 200, content_type=media_type)
        self.headers["Content-Length"] = str(self._left)
        self.headers["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
        self.headers["X-Content-Type-Options"] = "nosniff"
        # Whatever a browser makes of it: it may neither run nor fetch anything.
        self.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
        self.headers["Accept-Ranges"] = "bytes"
        self.headers["ETag"] = etag
        if part:
            self.headers["Content-Range"] = f"bytes {part.start}-{part.start + part.length - 1}/{size}"

    def leave_out_content(self) -> None:
        """Send only the headers: who asks for them shall not have all of it read."""
        self._left = 0
        self.streaming_content = ()

    def close(self) -> None:
        """End the response, and with it the file."""
        super().close()
        self._content.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The pieces, one after the other."""
        pieces = _pieces(self._content, self._left)
        while piece := await asyncio.to_thread(next, pieces, b""):
            yield piece


def _pieces(content: IO[bytes], left: int) -> Iterator[bytes]:
    while left and (piece := content.read(min(_PIECE, left))):
        left -= len(piece)
        yield piece
