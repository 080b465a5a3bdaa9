import asyncio
import gzip
import json
import ssl
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import httpcore2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core import http
from core.addresses import is_public
from core.http import Client, HttpFailed, HttpRefused
from tests.web import Answer, Request, a_server

NOT_PUBLIC = (
    "may not be reached from here: it is not public, and TASKLOOM_HTTP_ALLOW_PRIVATE of the server does not name it"
)
PRIVATE = [
    "0.0.0.1", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.254",
    "127.0.0.1", "127.1.2.3", "168.63.129.16", "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255",
    "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1", "192.168.255.255", "198.18.0.1",
    "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::a9fe:a9fe", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::10.0.0.1", "64:ff9b:1::7f00:1", "100::1",
    "2001::1", "2001:0:7f00:1::", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::1",
    "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "4000::1",
]  # fmt: skip
PUBLIC = [
    "8.8.8.8", "1.1.1.1", "93.184.216.34", "100.63.255.255", "100.128.0.1", "172.32.0.1", "192.0.1.1", "198.20.0.1",
    "168.63.129.17", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e", "64:ff9b::808:808",
]  # fmt: skip
DISGUISED = [
    "http://2130706433/", "http://017700000001/", "http://0x7f000001/", "http://0x7f.0.0.1/", "http://0177.0.0.1/",
    "http://127.1/", "http://127.0.1/", "http://0/", "http://127.0.0.1./", "http://1.2.3.4.5/", "http://0x/",
    "http://\uff11\uff12\uff17.0.0.1/", "http://127\u30020\u30020\u30021/", "http://\u2460.0.0.1/",
    "http://[::1%25lo]/", "http://[fe80::1%25eth0]/",
    "http://user@127.0.0.1/", "http://8.8.8.8@127.0.0.1/", "http://user:pass@example.com/", "http://8.8.8.8\\@127.0.0.1/",
    "http://127.0.0.1:80\\@8.8.8.8/", "http://exa mple.com/", "http://example.com\t/",
    "http://exa\nmple.com/", "http://example.com/\r\nHost: x", "http://\x00example.com/", "http:///x", "http://",
    "http:", "//example.com/", "example.com", "/etc/passwd", "", "ftp://example.com/", "file:///etc/passwd", "gopher://x/",
    "data:text/plain,x", "javascript:alert(1)", "ws://example.com/", "unix:///tmp/x", "http+unix://x/",
    "http://example.com:0/", "http://example.com:65536/", "http://example.com:-1/", "http://example.com:x/",
    "http://[::1", "http://[::g]/", "http://a..b:80:80/", "http://" + "a" * 9000 + ".com/",
]  # fmt: skip


# Reading the system's certificates takes longer than most tests.
NOBODY_TRUSTED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Network:
    """Stands for the internet: names have the addresses a test says, and each attempt to connect is written down."""

    def __init__(self, *addresses: str, port: int = 0, trusted: ssl.SSLContext = NOBODY_TRUSTED) -> None:
        self.addresses = addresses
        self.port = port
        self.trusted = trusted
        self.lookups: list[str] = []
        self.attempts: list[str] = []

    async def resolve(self, host: str, port: int) -> tuple[str, ...]:
        self.lookups.append(host)
        return self.addresses

    async def connect(self, address: str, port: int, timeout: float | None) -> httpcore2.AsyncNetworkStream:
        """Reach the test's own server whatever the address, or nobody."""
        self.attempts.append(address)
        if not self.port:
            raise httpcore2.ConnectError("nobody there")
        return await httpcore2.AnyIOBackend().connect_tcp("127.0.0.1", self.port, timeout)

    def client(self, *allow: str) -> Client:
        return Client(resolve=self.resolve, connect=self.connect, allow=allow, ssl_context=self.trusted)


def _echo(request: Request) -> Answer:
    seen = {"method": request.method, "path": request.path, "headers": request.headers, "body": request.body.decode()}
    return Answer(200, {"content-type": "application/json"}, json.dumps(seen).encode())


def _redirecting(steps: dict[str, tuple[int, str]]) -> Callable[[Request], Answer]:
    def answer(request: Request) -> Answer:
        if request.path in steps:
            status, location = steps[request.path]
            return Answer(status, {"location": location})
        return _echo(request)

    return answer


@pytest.mark.parametrize("address", [*PRIVATE, str(IPv4Address(0))])
def test_an_address_inside_some_network_is_not_public(address: str):
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_on_the_internet_is_public(address: str):
    assert is_public(address)


async def test_no_hostile_address_is_ever_connected_to():
    tried = reached = 0
    literal = [f"http://[{address}]/" if ":" in address else f"http://{address}/" for address in PRIVATE]
    for url in [*literal, *DISGUISED]:
        network = Network()
        tried += 1
        with pytest.raises(HttpRefused):
            await network.client().request("GET", url)
        reached += len(network.attempts)
    for address in PRIVATE:
        for answers in ((address,), ("8.8.8.8", address), (address, "8.8.8.8")):
            network = Network(*answers)
            tried += 1
            with pytest.raises(HttpRefused) as refusal:
                await network.client().request("GET", "http://example.com/")
            assert str(refusal.value) == f"example.com:80 {NOT_PUBLIC}"
            reached += len(network.attempts)

    assert (reached, tried > 250) == (0, True), f"{reached} of {tried} reached"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:1/",
        "//169.254.169.254/",
        "http://[::1]/",
        "http://2130706433/",
        "file:///etc/passwd",
        "ftp://x/",
    ],
)
async def test_a_redirect_is_checked_like_any_request(status: int, location: str):
    async with a_server(_redirecting({"/": (status, location)})) as server:
        network = Network("8.8.8.8", port=server.port)
        client = network.client()
        with pytest.raises(HttpRefused):
            await client.request("GET", "http://example.com/")
        await client.close()

    assert network.attempts == ["8.8.8.8"]
    assert len(server.requests) == 1


async def test_a_name_that_changes_its_mind_is_checked_at_each_connection():
    async with a_server(lambda request: Answer(200, {"connection": "close"}, b"hello")) as server:
        network = Network("8.8.8.8", port=server.port)
        client = network.client()
        assert (await client.request("GET", "http://example.com/")).content == b"hello"
        network.addresses = ("127.0.0.1",)
        with pytest.raises(HttpRefused):
            await client.request("GET", "http://example.com/")
        await client.close()

    assert network.lookups == ["example.com", "example.com"]
    assert network.attempts == ["8.8.8.8"]


@pytest.mark.parametrize("address", PUBLIC)
async def test_a_public_address_is_connected_to_and_the_host_header_keeps_the_name(address: str):
    async with a_server(_echo) as server:
        network = Network(address, port=server.port)
        client = network.client()
        answer = await client.request("GET", "http://Example.com/path?q=1")
        await client.close()

    assert network.attempts == [address]
    assert answer.status == 200
    assert json.loads(answer.content)["headers"]["host"] == "example.com"
    assert json.loads(answer.content)["path"] == "/path?q=1"


async def test_the_next_address_is_tried_when_one_does_not_answer():
    network = Network("8.8.8.8", "1.1.1.1", "8.8.8.8")
    with pytest.raises(HttpFailed) as failure:
        await network.client().request("GET", "http://example.com/")

    assert network.attempts == ["8.8.8.8", "1.1.1.1"]
    assert str(failure.value) == "http://example.com/ did not answer: nobody there"


async def test_a_name_without_an_address_fails():
    with pytest.raises(HttpFailed) as failure:
        await Network().client().request("GET", "http://example.com/")
    assert str(failure.value) == "example.com has no address"


async def test_an_operator_can_allow_a_private_address_and_only_that_port():
    async with a_server(_echo) as server:
        client = Client(allow=server.allowed)
        assert (await client.request("GET", f"{server.origin}/x")).status == 200
        with pytest.raises(HttpRefused) as refusal:
            await client.request("GET", "http://127.0.0.1:1/x")
        await client.close()

    assert str(refusal.value) == f"127.0.0.1:1 {NOT_PUBLIC}"
    assert len(server.requests) == 1


async def test_the_loops_client_follows_the_settings_and_keeps_its_connection(settings: Any):
    async with a_server(_echo) as server:
        settings.HTTP_ALLOW_PRIVATE = server.allowed
        assert http.client() is http.client()
        for _ in range(3):
            await http.client().request("GET", server.origin)
        await http.close()
        await http.close()
        assert len(server.requests) == 3


async def test_nothing_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with a_server(_echo) as server:
        client = Client(allow=server.allowed)
        assert (await client.request("GET", server.origin)).status == 200
        await client.close()


async def test_a_cookie_is_never_kept_for_the_next_request():
    async with a_server(lambda request: Answer(200, {"set-cookie": "who=me"})) as server:
        client = Client(allow=server.allowed)
        await client.request("GET", server.origin)
        await client.request("GET", server.origin)
        await client.close()

    assert ["cookie" in request.headers for request in server.requests] == [False, False]


@pytest.mark.parametrize(
    ("body", "sent", "content_type"),
    [
        ({"json": {"a": 1}}, b'{"a":1}', "application/json"),
        ({"data": {"a": "1"}}, b"a=1", "application/x-www-form-urlencoded"),
        ({"content": b"raw"}, b"raw", None),
        ({}, b"", None),
    ],
)
async def test_a_body_is_sent_in_its_form(body: dict[str, Any], sent: bytes, content_type: str | None):
    async with a_server(_echo) as server:
        client = Client(allow=server.allowed)
        await client.request("POST", server.origin, headers={"X-One": "1"}, **body)
        await client.close()

    (request,) = server.requests
    assert request.body == sent
    assert request.headers.get("content-type") == content_type
    assert request.headers["x-one"] == "1"
    assert request.headers["user-agent"] == "Taskloom"


@pytest.mark.parametrize(
    ("status", "method", "becomes", "body"),
    [
        (301, "POST", "GET", ""),
        (302, "POST", "GET", ""),
        (303, "POST", "GET", ""),
        (303, "PUT", "GET", ""),
        (302, "PUT", "PUT", '{"a":1}'),
        (307, "POST", "POST", '{"a":1}'),
        (308, "POST", "POST", '{"a":1}'),
        (302, "HEAD", "HEAD", ""),
    ],
)
async def test_a_redirect_keeps_or_changes_the_method_as_its_status_says(status, method, becomes, body):
    async with a_server(_redirecting({"/": (status, "/next")})) as server:
        client = Client(allow=server.allowed)
        answer = await client.request(method, server.origin, json={"a": 1} if method != "HEAD" else None)
        await client.close()

    last = server.requests[-1]
    assert (last.method, last.path, last.body.decode()) == (becomes, "/next", body)
    assert answer.url == f"{server.origin}/next"
    if not body:
        assert "content-type" not in last.headers


async def test_secret_headers_stay_with_their_origin():
    secret = {"Authorization": "Bearer x", "Cookie": "a=b", "X-Api-Key": "k", "X-Auth-Token": "t", "Accept": "text/x"}
    async with a_server(_redirecting({"/": (302, "/same"), "/same": (302, "http://other.example/end")})) as server:
        network = Network("8.8.8.8", port=server.port)
        client = network.client()
        await client.request("GET", "http://example.com/", headers=secret)
        await client.close()

    sent = [{name for name in request.headers if name in map(str.lower, secret)} for request in server.requests]
    everything = {name.lower() for name in secret}
    assert sent == [everything, everything, {"accept"}]


async def test_redirects_have_a_limit():
    async with a_server(lambda request: Answer(302, {"location": f"/{len(request.path)}x"})) as server:
        client = Client(allow=server.allowed)
        with pytest.raises(HttpFailed) as failure:
            await client.request("GET", f"{server.origin}/?secret=1")
        await client.close()

    assert str(failure.value) == f"{server.origin}/ redirects more than 10 times"
    assert len(server.requests) == 11


async def test_a_redirect_without_a_place_to_go_is_an_answer():
    async with a_server(lambda request: Answer(302, body=b"here")) as server:
        client = Client(allow=server.allowed)
        assert (await client.request("GET", server.origin)).content == b"here"
        await client.close()


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [("gzip", gzip.compress(b"x" * 1000)), ("deflate", zlib.compress(b"x" * 1000)), ("identity", b"x" * 1000)],
    ids=["gzip", "deflate", "identity"],
)
async def test_an_answer_is_decompressed(encoding: str, packed: bytes):
    async with a_server(lambda request: Answer(200, {"content-encoding": encoding}, packed)) as server:
        client = Client(allow=server.allowed)
        assert (await client.request("GET", server.origin)).content == b"x" * 1000
        with pytest.raises(HttpFailed) as failure:
            await client.request("GET", server.origin, max_bytes=999)
        assert str(failure.value) == "The answer is larger than 999 bytes"
        assert len((await client.request("GET", server.origin, max_bytes=1000)).content) == 1000
        await client.close()


async def test_a_bomb_is_not_unpacked():
    bomb = gzip.compress(b"\0" * 200_000_000, compresslevel=9)
    async with a_server(lambda request: Answer(200, {"content-encoding": "gzip"}, bomb)) as server:
        client = Client(allow=server.allowed)
        with pytest.raises(HttpFailed) as failure:
            await client.request("GET", server.origin)
        await client.close()
    assert str(failure.value) == "The answer is larger than 10000000 bytes"


CUT_SHORT = gzip.compress(b"x" * 99, mtime=0)[:-9]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(200, {"content-encoding": "br"}, b"x"), "The answer is compressed in a way nobody asked for: 'br'"),
        (Answer(200, {"content-encoding": "gzip, gzip"}, b"x"), "The answer is compressed in a way nobody asked for"),
        (Answer(200, {"content-encoding": "gzip"}, b"plain"), "The answer is not gzip, as it claims to be"),
        (Answer(200, {"content-encoding": "gzip"}, CUT_SHORT), "The answer ends too early"),
        (Answer(raw=b"not http at all\r\n\r\n"), "did not answer: "),
        (Answer(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nshort"), "did not answer: "),
        (Answer(302, {"location": "http://[::1"}), "redirects to what is no web address"),
    ],
)
async def test_a_broken_answer_is_a_failure(answer: Answer, message: str):
    async with a_server(lambda request: answer) as server:
        client = Client(allow=server.allowed)
        with pytest.raises(HttpFailed) as failure:
            await client.request("GET", server.origin)
        await client.close()
    assert message in str(failure.value)
    assert failure.value.status == 503


async def test_a_silent_server_is_given_up_after_the_time_asked_for():
    async with a_server(lambda request: Answer(raw=None)) as server:
        client = Client(allow=server.allowed)
        with pytest.raises(HttpFailed) as failure:
            await client.request("GET", f"{server.origin}/?secret=1", seconds=0.2)
        await client.close()
    assert str(failure.value) == f"{server.origin}/ did not answer within 0.2 s"


@pytest.mark.parametrize(
    ("method", "headers", "message"),
    [
        ("GET", {"X": "a\r\nHost: evil"}, "The header 'X' has characters that no header may have"),
        ("GET", {"X\n": "a"}, "The header 'X\\n' has characters that no header may have"),
        ("GET", {"": "a"}, "The header '' has characters that no header may have"),
        ("GET", {"X": "Ω"}, "The header 'X' has characters that no header may have"),
        ("GET", {"Host": "inside"}, "The header Host is set by the platform"),
        ("GET", {"Transfer-Encoding": "chunked"}, "The header Transfer-Encoding is set by the platform"),
        ("GET /\r\n", {}, "This is no method: 'GET /\\r\\n'"),
    ],
)
async def test_a_request_cannot_smuggle(method: str, headers: dict[str, str], message: str):
    network = Network("8.8.8.8")
    with pytest.raises(HttpRefused) as refusal:
        await network.client().request(method, "http://example.com/", headers=headers)
    assert str(refusal.value) == message
    assert network.attempts == []


def _certificate(folder: Path, name: str) -> Path:
    """A file with a key and a certificate for the host `name`, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    file = folder / "certificate.pem"
    file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    return file


async def test_a_certificate_is_checked_against_the_name_and_not_the_address(tmp_path: Path):
    file = _certificate(tmp_path, "example.com")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file)
    async with a_server(_echo, tls) as server:
        network = Network("8.8.8.8", port=server.port, trusted=ssl.create_default_context(cafile=str(file)))
        client = network.client()
        assert (await client.request("GET", "https://example.com/")).status == 200
        with pytest.raises(HttpFailed) as failure:
            await client.request("GET", "https://other.example/")
        await client.close()

    assert "certificate" in str(failure.value)
    assert len(server.requests) == 1


async def test_many_requests_at_once_share_a_client():
    async with a_server(_echo) as server:
        client = Client(allow=server.allowed)
        answers = await asyncio.gather(*(client.request("GET", f"{server.origin}/{number}") for number in range(50)))
        await client.close()

    assert sorted(json.loads(answer.content)["path"] for answer in answers) == sorted(f"/{n}" for n in range(50))
