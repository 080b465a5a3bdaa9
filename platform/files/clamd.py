"""Asking a clamd whether a file is clean, in its own protocol (clamd(8), INSTREAM)."""

import re
import socket
import struct
from collections.abc import Iterable
from contextlib import closing
from urllib.parse import urlsplit

from django.conf import settings

from files.errors import FileInfected, ScannerUnavailable

TIMEOUT = 60.0
_PORT = 3310
_LENGTH = struct.Struct("!I")
_LONGEST_REPLY = 4096
_CLEAN = "stream: OK"
_FOUND = re.compile(r"stream: (.+) FOUND")


def scan(chunks: Iterable[bytes]) -> None:
    """Return if the content of these chunks is clean, or if there is no scanner (`TASKLOOM_CLAMD_URL` is not set).

    Raises `FileInfected` with what was found, and `ScannerUnavailable` for every other end: what is not known to be
    clean is not kept.
    """
    if not settings.CLAMD_URL:
        return
    try:
        reply = _ask(chunks)
    except (OSError, ValueError) as error:
        raise ScannerUnavailable(f"The virus scanner does not answer: {error}") from error
    if reply == _CLEAN:
        return
    found = _FOUND.fullmatch(reply)
    if found:
        raise FileInfected(f"The virus scanner found {found[1]} in the file", found=found[1])
    raise ScannerUnavailable(f"The virus scanner could not look at the file: {reply or 'it gave no answer'}")


def problem_with(url: str) -> str:
    """Why no scanner can be reached at this address, as what follows its name; empty when it is well formed."""
    try:
        parts = urlsplit(url)
        is_good = (parts.scheme == "tcp" and parts.hostname and (parts.port or _PORT)) or (
            parts.scheme == "unix" and parts.path and not parts.netloc
        )
    except ValueError:
        is_good = False
    return "" if is_good else "is neither tcp://host:port nor unix:///path"


def _ask(chunks: Iterable[bytes]) -> str:
    with closing(_connect()) as clamd:
        try:
            clamd.sendall(b"zINSTREAM\0")
            for chunk in chunks:
                if chunk:
                    clamd.sendall(_LENGTH.pack(len(chunk)) + chunk)
            clamd.sendall(_LENGTH.pack(0))
        except BrokenPipeError:
            # It closes its end when it has enough, and what it says then tells why.
            pass
        reply = b""
        while not reply.endswith(b"\0") and len(reply) < _LONGEST_REPLY:
            part = clamd.recv(_LONGEST_REPLY)
            if not part:
                break
            reply += part
    return reply.rstrip(b"\0\n").decode(errors="replace")


def _connect() -> socket.socket:
    problem = problem_with(settings.CLAMD_URL)
    if problem:
        raise ValueError(f"TASKLOOM_CLAMD_URL {problem}")
    url = urlsplit(settings.CLAMD_URL)
    if url.scheme == "tcp":
        return socket.create_connection((url.hostname, url.port or _PORT), TIMEOUT)
    clamd = socket.socket(socket.AF_UNIX)
    clamd.settimeout(TIMEOUT)
    try:
        clamd.connect(url.path)
    except OSError:
        clamd.close()
        raise
    return clamd
