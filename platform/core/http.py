"""The one way out to the web: every request that a user can cause goes through here.

Only http and https, only to public addresses. A name is resolved once, every address it has is checked, and the
connection goes to a checked address, so that a name cannot change its mind in between. Redirects start over from the
top. Nothing is taken from the environment, no cookie is kept, and time and size are limited.
"""

import asyncio
import re
import socket
import ssl
import zlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import httpcore2
import httpx2
from django.conf import settings

from core.addresses import is_public
from core.errors import Invalid, Unavailable

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 30.0
TOTAL_SECONDS = 60.0
MAX_BYTES = 10_000_000
MAX_REDIRECTS = 10
MAX_ADDRESSES = 8
USER_AGENT = "Taskloom"
_REDIRECTS = (301, 302, 303, 307, 308)
_BODYLESS = ("GET", "HEAD", "OPTIONS")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_SECRET_HEADER = re.compile(r"auth|cookie|secret|token|password|api-?key", re.IGNORECASE)
_SECRET_PARTS = re.compile(r"(?<=//)[^/?#]*@|[?#].*", re.DOTALL)
_CONTENT_HEADERS = ("content-type", "content-length", "transfer-encoding")
# How a message is framed and where it goes is decided here, not by whoever writes its headers.
_OWN_HEADERS = (
    "host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect",
)  # fmt: skip


class HttpRefused(Invalid):
    """This request may not be sent."""

    hint = "Only http and https to public addresses; an operator can allow others in TASKLOOM_HTTP_ALLOW_PRIVATE."


class HttpFailed(Unavailable):
    """The other side did not answer as it should."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, read to its end and decompressed. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    url: str


Resolve = Callable[[str, int], Awaitable[Collection[str]]]


class Connect(Protocol):
    """Opens a connection to an address."""

    async def __call__(self, address: str, port: int, timeout: float | None) -> httpcore2.AsyncNetworkStream:
        """Return the open connection; raise an error of httpcore2."""


class Client:
    """Sends requests. Belongs to one event loop; keeps connections open for the next request to the same origin."""

    def __init__(
        self,
        *,
        allow: Iterable[str] = (),
        resolve: Resolve | None = None,
        connect: Connect | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Allow the `host:port` pairs in `allow` although they are not public. The rest is for other networks."""
        guard = _Guard(frozenset(entry.lower() for entry in allow), resolve or _resolve, connect or _connect)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context or httpx2.create_ssl_context(trust_env=False),
            max_connections=200,
            max_keepalive_connections=40,
            keepalive_expiry=20.0,
            network_backend=guard,
        )

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        seconds: float = TOTAL_SECONDS,
        max_bytes: int = MAX_BYTES,
        **body: Any,
    ) -> Response:
        """Send a request, follow its redirects, and return the answer whatever its status.

        seconds     for all of it, redirects included
        max_bytes   of the decompressed answer
        body        httpx2's `content`, `json`, `data` or `files`

        Raises `HttpRefused` for what may not be sent and `HttpFailed` when no complete answer came.
        """
        _check_headers(method, headers or {})
        try:
            async with asyncio.timeout(seconds):
                return await self._follow(method.upper(), url, dict(headers or {}), body, max_bytes)
        except TimeoutError:
            raise HttpFailed(f"{_shown(url)} did not answer within {seconds:g} s") from None
        except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            raise HttpFailed(f"{_shown(url)} did not answer: {str(error) or type(error).__name__}") from None

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    async def _follow(
        self, method: str, url: str, headers: dict[str, str], body: dict[str, Any], max_bytes: int
    ) -> Response:
        target = _checked_url(url)
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._send(httpx2.Request(method, target, headers=_complete(headers), **body), max_bytes)
            if answer.status not in _REDIRECTS or "location" not in answer.headers:
                return answer
            origin = _origin(target)
            target = _checked_url(_joined(target, answer.headers["location"]))
            if _origin(target) != origin:
                headers = {name: value for name, value in headers.items() if not _SECRET_HEADER.search(name)}
            if method not in _BODYLESS and (answer.status == 303 or (answer.status < 303 and method == "POST")):
                method, body = "GET", {}
                headers = {name: value for name, value in headers.items() if name.lower() not in _CONTENT_HEADERS}
        raise HttpFailed(f"{_shown(url)} redirects more than {MAX_REDIRECTS} times")

    async def _send(self, request: httpx2.Request, max_bytes: int) -> Response:
        limits = {"connect": CONNECT_SECONDS, "read": SILENCE_SECONDS, "write": SILENCE_SECONDS, "pool": TOTAL_SECONDS}
        response = await self._pool.handle_async_request(
            httpcore2.Request(
                request.method,
                httpcore2.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=await request.aread(),
                extensions={"timeout": limits},
            )
        )
        try:
            headers = dict(httpx2.Headers(response.headers))
            content = b"" if request.method == "HEAD" else await _read(response, headers, max_bytes)
            return Response(response.status, headers, content, str(request.url))
        finally:
            await response.aclose()


_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Client] = WeakKeyDictionary()


def client() -> Client:
    """The running event loop's client, which stays until `close`."""
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        _clients[loop] = Client(allow=settings.HTTP_ALLOW_PRIVATE)
    return _clients[loop]


async def close() -> None:
    """Close the running event loop's client, before the loop ends."""
    known = _clients.pop(asyncio.get_running_loop(), None)
    if known is not None:
        await known.close()


class _Guard(httpcore2.AsyncNetworkBackend):
    """Opens connections to public addresses, and to those that an operator allows."""

    def __init__(self, allow: frozenset[str], resolve: Resolve, connect: Connect) -> None:
        self._allow = allow
        self._resolve = resolve
        self._connect = connect

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address of `host` that answers; raises `HttpRefused` when one of them is not public."""
        try:
            addresses = [str(ip_address(host))]
        except ValueError:
            addresses = list(dict.fromkeys(await self._resolve(host, port)))[:MAX_ADDRESSES]
        if not addresses:
            raise HttpFailed(f"{host} has no address")
        if f"{host.lower()}:{port}" not in self._allow and not all(map(is_public, addresses)):
            reason = "it is not public, and TASKLOOM_HTTP_ALLOW_PRIVATE of the server does not name it"
            raise HttpRefused(f"{host}:{port} may not be reached from here: {reason}", host=host)
        for address in addresses[:-1]:
            try:
                return await self._connect(address, port, timeout)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._connect(addresses[-1], port, timeout)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Refuse: sockets of this machine are never anybody's business."""
        raise HttpRefused("Unix sockets may not be reached from here")

    async def sleep(self, seconds: float) -> None:
        """Wait between the attempts to connect."""
        await asyncio.sleep(seconds)


async def _resolve(host: str, port: int) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise HttpFailed(f"{host} has no address") from None
    return [str(entry[4][0]) for entry in found]


async def _connect(address: str, port: int, timeout: float | None) -> httpcore2.AsyncNetworkStream:
    return await httpcore2.AnyIOBackend().connect_tcp(address, port, timeout)


def _checked_url(text: str) -> httpx2.URL:
    """The address as a URL that can only be read in one way."""
    if len(text) > 8_000 or "\\" in text or any(ord(character) <= 0x20 for character in text):
        raise HttpRefused(f"This is no web address: {_shown(text)!r}")
    try:
        url = httpx2.URL(text)
        is_web = url.scheme in ("http", "https") and bool(url.host) and 0 < (url.port or 80) < 65_536
    except httpx2.InvalidURL as error:
        raise HttpRefused(f"This is no web address: {_shown(text)!r} ({error})") from None
    if not is_web or not url.is_absolute_url or url.port == 0:
        raise HttpRefused(f"This is no http or https address: {_shown(text)!r}")
    if url.userinfo:
        raise HttpRefused("Put a name and password into a header, not into the address")
    if _is_disguised(url.host):
        raise HttpRefused(f"This is no host name: {url.host!r}")
    return url


def _is_disguised(host: str) -> bool:
    """Whether a system would read the host as an IPv4 address though it is not written as one: 127.1, 0x7f.1, 1."""
    if ":" in host:
        return "%" in host
    if not _NUMERIC_LABEL.fullmatch(host.rstrip(".").rpartition(".")[2]):
        return False
    try:
        return str(IPv4Address(host)) != host
    except ValueError:
        return True


def _check_headers(method: str, headers: Mapping[str, str]) -> None:
    if not _TOKEN.fullmatch(method):
        raise HttpRefused(f"This is no method: {method!r}")
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise HttpRefused(f"The header {name!r} has characters that no header may have")
        if name.lower() in _OWN_HEADERS:
            raise HttpRefused(f"The header {name} is set by the platform")


def _complete(headers: Mapping[str, str]) -> httpx2.Headers:
    usual = {"accept": "*/*", "accept-encoding": "gzip, deflate", "user-agent": USER_AGENT}
    complete = httpx2.Headers(usual, encoding="latin-1")
    complete.update(httpx2.Headers(dict(headers), encoding="latin-1"))
    return complete


def _joined(base: httpx2.URL, location: str) -> str:
    try:
        return str(base.join(location))
    except httpx2.InvalidURL as error:
        raise HttpFailed(f"{base.host} redirects to what is no web address: {error}") from None


def _origin(url: httpx2.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


async def _read(response: httpcore2.Response, headers: Mapping[str, str], max_bytes: int) -> bytes:
    """The body, decompressed as it arrives and never further than `max_bytes`."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise HttpFailed(f"The answer is compressed in a way nobody asked for: {encoding!r}")
    decompress = zlib.decompressobj(wbits=47) if "gzip" in encoding or encoding == "deflate" else None
    body = bytearray()
    try:
        async for chunk in response.aiter_stream():
            body += decompress.decompress(chunk, max_bytes - len(body) + 1) if decompress else chunk
            if len(body) > max_bytes:
                raise HttpFailed(f"The answer is larger than {max_bytes} bytes")
    except zlib.error:
        raise HttpFailed(f"The answer is not {encoding}, as it claims to be") from None
    if decompress and body and not decompress.eof:
        raise HttpFailed("The answer ends too early")
    return bytes(body)


def _shown(url: str) -> str:
    """The address without what may be secret in it."""
    return _SECRET_PARTS.sub("", url)[:200]
