"""How uploads are read."""

from collections.abc import Mapping
from typing import IO, Any

from django.core.exceptions import SuspiciousOperation
from django.utils.http import parse_header_parameters
from rest_framework.exceptions import ParseError
from rest_framework.parsers import MultiPartParser

from core.api import Problem, RequestInvalid
from files.errors import FileTooLarge, UploadBrokenOff
from files.services import max_bytes

# What a form may have around its file: boundaries, headers, names of fields.
FORM_BYTES = 64 * 1024
# The last boundary, and what may stand behind it.
_TAIL = 512


class UploadParser(MultiPartParser):
    """Reads a form with one file, to its end; what is announced as too large is not read."""

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """The fields of the form; raises `FileTooLarge`, `UploadBrokenOff`, `RequestInvalid` and `ParseError`."""
        announced = str((parser_context or {})["request"].META.get("CONTENT_LENGTH") or "0")
        if announced.isdigit() and int(announced) > max_bytes() + FORM_BYTES:
            raise FileTooLarge(f"The file has more than {max_bytes() // 1024**2} MB", limit=max_bytes())
        body = _ToItsEnd(stream)
        try:
            form = super().parse(body, media_type, parser_context)  # type: ignore[arg-type]  # all that is asked of it
        except SuspiciousOperation as error:
            raise ParseError(f"The form is not acceptable: {error}") from None
        # Django takes a file for whole whose form ends in the middle of it.
        _, parameters = parse_header_parameters(media_type or "")
        if f"--{parameters['boundary']}--".encode() not in body.tail:
            raise UploadBrokenOff
        if sum(len(files) for _, files in form.files.lists()) > 1:
            raise RequestInvalid([Problem(loc=["body", "file"], msg="The form should have one file", type="one_file")])
        return form


class _ToItsEnd:
    """A stream that remembers how it ended."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.tail = b""

    def read(self, size: int = -1) -> bytes:
        part = self._stream.read(size)
        self.tail = (self.tail + part)[-_TAIL:]
        return part
