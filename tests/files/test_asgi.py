"""Files as the ASGI server sees them."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.db import connection
from rest_framework.test import APIClient

from accounts import services
from accounts.models import User
from core.asgi import ThreadedHandler
from files.models import StoredFile
from tests.core.test_asgi import LEAVES, Client, Message, Slow, _taken
from tests.files.conftest import Upload
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

CONTENT = bytes(range(256)) * 4000
FORM = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello\r\n--edge--\r\n'


@pytest.fixture
def link(owner: User, upload: Upload) -> tuple[str, bytes]:
    """The path and query of a link to a megabyte."""
    client = APIClient()
    client.force_authenticate(owner)
    file_id = upload(CONTENT, "big.bin", by=client).json()["id"]
    url = urlsplit(client.post(f"/api/files/{file_id}/link").json()["url"])
    return url.path, url.query.encode()


def an_upload(owner: User, *messages: Message, length: int) -> Client:
    headers = [
        (b"authorization", b"Bearer " + services.issue_tokens(owner).access.encode()),
        (b"content-type", b"multipart/form-data; boundary=edge"),
        (b"content-length", str(length).encode()),
    ]
    return Client("/api/files/upload", messages, method="POST", headers=headers)


def test_a_content_is_sent_in_pieces_and_no_connection_is_held_meanwhile(link: tuple[str, bytes]) -> None:
    handler = ThreadedHandler()
    taken = _taken()
    slow = Slow(link[0], query_string=link[1])
    asyncio.run(slow.asks(handler))
    wait_until(lambda: _taken() <= taken)

    client = asyncio.run(Client(link[0], query_string=link[1]).asks(handler))

    assert client.answer == (200, CONTENT)
    assert len(client.got) > 10
    assert (slow.answer[0], len(slow.answer[1])) == (200, 65_536)


def test_headers_alone_are_sent_without_reading_the_content(link: tuple[str, bytes]) -> None:
    client = asyncio.run(Client(link[0], query_string=link[1], method="HEAD").asks(ThreadedHandler()))

    assert (client.answer, dict(client.got[0]["headers"])[b"Content-Length"]) == ((200, b""), b"1024000")


def test_an_upload_that_breaks_off_leaves_nothing(owner: User, folder: Path) -> None:
    begun = {"type": "http.request", "body": FORM[:-20], "more_body": True}

    client = asyncio.run(an_upload(owner, begun, LEAVES, length=len(FORM)).asks(ThreadedHandler()))

    assert client.got == []
    assert not StoredFile.objects.exists()
    assert list(folder.rglob("*")) == []


def test_an_upload_that_announces_too_much_is_not_even_received(owner: User, folder: Path) -> None:
    sent = {"type": "http.request", "body": FORM, "more_body": True}
    client = an_upload(owner, sent, length=300 * 1024**2)

    asyncio.run(client.asks(ThreadedHandler()))

    assert client.answer[0] == 400
    assert b'"code":"file_too_large"' in client.answer[1]
    assert not StoredFile.objects.exists()
    assert list(folder.rglob("*")) == []


def test_a_whole_upload_is_kept(owner: User, folder: Path) -> None:
    parts: list[Message] = [
        {"type": "http.request", "body": FORM[:50], "more_body": True},
        {"type": "http.request", "body": FORM[50:]},
    ]

    client = asyncio.run(an_upload(owner, *parts, length=len(FORM)).asks(ThreadedHandler()))

    assert client.answer[0] == 200
    assert [path.read_bytes() for path in folder.rglob("*") if path.is_file()] == [b"hello"]
    connection.close()
