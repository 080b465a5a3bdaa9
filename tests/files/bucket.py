"""A bucket on the loopback address that speaks as much of S3 as storing files needs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

NAME = "bucket"
_MOMENT = "2026-01-01T00:00:00.000Z"
_HTTP_MOMENT = "Thu, 01 Jan 2026 00:00:00 GMT"


@dataclass
class Bucket:
    """Where it listens and what it holds, by key. One that is `broken` answers 500 to everything."""

    endpoint: str
    objects: dict[str, bytes] = field(default_factory=dict)
    is_broken: bool = False


@contextmanager
def a_bucket() -> Iterator[Bucket]:
    """A bucket for as long as the block lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    bucket = Bucket(f"http://127.0.0.1:{server.server_port}")
    server.bucket = bucket  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield bucket
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._is_served():
            self._bucket.objects[self._key] = body
            self._answer(200)

    def do_GET(self) -> None:
        if not self._is_served():
            return
        if self._key:
            self._send(self._bucket.objects.get(self._key))
        else:
            self._list(parse_qs(urlsplit(self.path).query))

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        if self._is_served():
            self._bucket.objects.pop(self._key, None)
            self._answer(204)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    @property
    def _bucket(self) -> Bucket:
        return self.server.bucket  # type: ignore[attr-defined,no-any-return]

    @property
    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).removeprefix(f"/{NAME}").removeprefix("/")

    def _is_served(self) -> bool:
        if self._bucket.is_broken:
            self._answer(500)
            return False
        signed = self.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 Credential=key/")
        if not signed:
            self._answer(403)
        return signed

    def _send(self, content: bytes | None) -> None:
        if content is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self._answer(200, content, **{"Last-Modified": _HTTP_MOMENT, "ETag": '"1"'})

    def _list(self, query: dict[str, list[str]]) -> None:
        prefix = query.get("prefix", [""])[0]
        below = {key[len(prefix) :].split("/")[0]: key for key in self._bucket.objects if key.startswith(prefix)}
        parts = []
        for name, key in sorted(below.items()):
            if key == prefix + name:
                parts.append(
                    f"<Contents><Key>{escape(key)}</Key><Size>1</Size><LastModified>{_MOMENT}</LastModified></Contents>"
                )
            else:
                parts.append(f"<CommonPrefixes><Prefix>{escape(prefix + name)}/</Prefix></CommonPrefixes>")
        body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(parts)}</ListBucketResult>"
        self._answer(200, body.encode())

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
