"""Files on pins: data URIs (RFC 2397), addresses, and the files of the workspace, `workspace://<id>`.

A block reads and stores files of the workspace by `read_file` and `store_file`, which see only those of the user whose
run it is part of. Both ask the database, so a plain generator calls them as they are and must not be PURE, and an async
one awaits `asyncio.to_thread(read_file, …)`.
"""

import asyncio
import base64
import binascii
import mimetypes
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote_to_bytes, urlsplit

from core import http
from core.errors import DomainError
from graphs.blocks.base import BlockError, Context

SCHEME = "workspace://"
# A worker holds a file in memory while a block has it.
MAX_BYTES = 100 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class File:
    """A file's content with its media type, such as text/plain, and its name, if it has one."""

    content: bytes
    media_type: str
    name: str = ""

    @property
    def extension(self) -> str:
        """The usual ending of a name for this type, with its dot; empty when there is none."""
        return mimetypes.guess_extension(self.media_type) or ""


class Workspace(Protocol):
    """Where the files of users are kept; its methods raise `DomainError`."""

    def read(self, uri: str, context: Context, most_bytes: int) -> File:
        """The file that the URI names."""

    def store(self, file: File, context: Context, part: str) -> str:
        """Keep a file, and return its URI."""


_workspaces: list[Workspace] = []


def connect(workspace: Workspace) -> None:
    """Have `read_file` and `store_file` use this workspace from now on."""
    _workspaces[:] = [workspace]


def read_file(text: str, context: Context) -> File:
    """The file in a data URI, or the workspace's of this name; raises `BlockError` when there is none to be had."""
    if not text.startswith(SCHEME):
        return from_data_uri(text)
    try:
        return _workspace().read(text, context, MAX_BYTES)
    except DomainError as error:
        raise BlockError(error.message) from None


def store_file(file: File, context: Context, part: str = "") -> str:
    """Keep a file in the workspace and return its URI; raises `BlockError` when it is not accepted.

    An attempt that comes after a lost one finds what that had stored. A block that stores several files in one run of
    it gives each a `part` of its own.
    """
    try:
        return _workspace().store(file, context, part)
    except DomainError as error:
        raise BlockError(error.message) from None


async def fetch_file(text: str, context: Context) -> File:
    """The file in a data URI, of the workspace, or at an http(s) address, which may have 10 MB."""
    if not text.lower().startswith(("http://", "https://")):
        return await asyncio.to_thread(read_file, text, context)
    try:
        answer = await http.client().request("GET", text)
    except DomainError as error:
        raise BlockError(error.message) from None
    if answer.status != 200:
        raise BlockError(f"a file could not be fetched: status {answer.status}")
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    return File(answer.content, media_type or "application/octet-stream", urlsplit(text).path.rpartition("/")[2])


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


def _workspace() -> Workspace:
    if not _workspaces:
        raise BlockError("files of the workspace are out of reach here")
    return _workspaces[0]
