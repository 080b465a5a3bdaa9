"""Answers that are made while they are sent."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator

from django.db import connections
from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

_PIECE_BYTES = 64 * 1024


class Negotiation(BaseContentNegotiation):
    """Leaves the parameter `format` to the view; errors are JSON whatever was asked for."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser:
        """The first."""
        return next(iter(parsers))

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """The first."""
        first = next(iter(renderers))
        return first, first.media_type


class Download(StreamingHttpResponse):
    """Something to save, of which no more than a piece is in memory at once.

    Under ASGI each piece is made in a thread when the client has taken the one before; it uses no connection to the
    database in between.
    """

    def __init__(self, content: Iterator[bytes], *, name: str, media_type: str) -> None:
        self._pieces = _pieces(content)
        super().__init__(self._pieces, content_type=media_type)
        self.headers["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
        self.headers["X-Content-Type-Options"] = "nosniff"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The pieces, one after the other."""
        while piece := await asyncio.to_thread(self._next):
            yield piece

    def _next(self) -> bytes:
        try:
            return next(self._pieces, b"")
        finally:
            # Each piece may be made in another thread, and connections belong to threads.
            connections.close_all()


def _pieces(content: Iterator[bytes]) -> Iterator[bytes]:
    piece = bytearray()
    for each in content:
        piece += each
        if len(piece) >= _PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)
