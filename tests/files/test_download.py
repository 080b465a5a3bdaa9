"""Contents go out: to owners, and by links."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import time_machine
from rest_framework.test import APIClient

from accounts.models import User
from files.models import StoredFile
from tests.files.conftest import Upload

CONTENT = bytes(range(256)) * 4
HTML = b"<script>alert(document.domain)</script>"


def at(link: str) -> str:
    parts = urlsplit(link)
    return f"{parts.path}?{parts.query}"


def got(client: APIClient, path: str, **headers: str) -> tuple[int, bytes, Mapping[str, str]]:
    """The status, body and headers of a download."""
    answer: Any = client.get(path, headers=headers)
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return answer.status_code, body, answer.headers


@pytest.fixture
def file_id(upload: Upload) -> str:
    return str(upload(CONTENT, "data.bin").json()["id"])


@pytest.fixture
def link(api: APIClient, file_id: str) -> str:
    """The path and query of a link to that file."""
    return at(api.post(f"/api/files/{file_id}/link").json()["url"])


def test_the_owner_gets_what_was_uploaded(api: APIClient, file_id: str) -> None:
    status, body, headers = got(api, f"/api/files/{file_id}/download", Accept="image/png")

    assert (status, body) == (200, CONTENT)
    assert (headers["Content-Length"], headers["Content-Type"]) == ("1024", "application/octet-stream")


def test_no_content_is_shown_or_run_by_a_browser(api: APIClient, upload: Upload) -> None:
    file_id = upload(HTML, 'Grüße "1".html', "text/html").json()["id"]
    _, _, headers = got(api, f"/api/files/{file_id}/download")

    assert headers["Content-Disposition"] == "attachment; filename*=utf-8''Gr%C3%BC%C3%9Fe%20_1_.html"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["Cache-Control"] == "no-store, no-cache, must-revalidate, private"


def test_a_link_opens_the_file_to_everybody_for_an_hour(api: APIClient, anonymous: APIClient, file_id: str) -> None:
    with time_machine.travel(datetime(2026, 3, 1, 12, tzinfo=UTC), tick=False) as clock:
        StoredFile.objects.update(expires_at=datetime(2026, 3, 2, tzinfo=UTC))
        made = api.post(f"/api/files/{file_id}/link").json()
        assert made["expires_at"] == "2026-03-01T13:00:00Z"
        assert made["url"].startswith(f"http://testserver/api/files/{file_id}/download?token=")
        clock.shift(timedelta(minutes=59, seconds=59))
        assert got(anonymous, at(made["url"]))[:2] == (200, CONTENT)
        clock.shift(timedelta(seconds=1))
        refused = anonymous.get(at(made["url"]))
    assert (refused.status_code, refused.json()["code"]) == (403, "download_link_refused")


def test_a_link_holds_no_longer_than_its_file(api: APIClient, upload: Upload) -> None:
    file = upload(expiration_hours=1).json()
    link = api.post(f"/api/files/{file['id']}/link", {"expires_in_seconds": 7200}, format="json").json()

    assert datetime.fromisoformat(file["expires_at"]) - datetime.fromisoformat(link["expires_at"]) < timedelta(
        seconds=1
    )


@pytest.mark.parametrize("seconds", [0, -1, 7 * 86_400 + 1, "long"])
def test_a_link_holds_a_second_to_a_week(api: APIClient, file_id: str, seconds: object) -> None:
    answer = api.post(f"/api/files/{file_id}/link", {"expires_in_seconds": seconds}, format="json")

    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")


def test_no_changed_link_opens_anything(api: APIClient, anonymous: APIClient, upload: Upload, link: str) -> None:
    other = upload(b"another", "other.txt").json()["id"]
    path, token = link.split("?token=")
    changed = [
        token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :] for place in range(len(token) - 1)
    ]
    forged = [*changed, "", "x", token + "A", token.rpartition(":")[0], "🙂", f"{token}:{token}"]
    answers = [anonymous.get(path, {"token": text}) for text in forged]
    answers.append(anonymous.get(f"/api/files/{other}/download", {"token": token}))

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(403, "download_link_refused")}
    assert len(answers) > 100
    assert got(anonymous, link)[:2] == (200, CONTENT)


def test_links_end_with_their_file_and_with_its_owners_account(
    api: APIClient, anonymous: APIClient, user: User, file_id: str, link: str
) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert got(anonymous, link)[0] == 404
    User.objects.filter(pk=user.pk).update(is_active=True)
    assert got(anonymous, link)[0] == 200
    api.delete(f"/api/files/{file_id}")
    assert got(anonymous, link)[0] == 404


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-9", 0, 9), ("bytes=1000-", 1000, 1023), ("bytes=-24", 1000, 1023), ("bytes=5-5", 5, 5),
     ("bytes=1000-9999", 1000, 1023), ("bytes=-9999", 0, 1023)],
)  # fmt: skip
def test_a_part_is_sent_on_request(api: APIClient, file_id: str, asked: str, first: int, last: int) -> None:
    status, body, headers = got(api, f"/api/files/{file_id}/download", Range=asked)

    assert (status, body) == (206, CONTENT[first : last + 1])
    assert headers["Content-Range"] == f"bytes {first}-{last}/1024"
    assert headers["Content-Length"] == str(last - first + 1)


@pytest.mark.parametrize("asked", ["bytes=-", "bytes=9-5", "bytes=0-1,4-5", "lines=1-2", "bytes=a-b"])
def test_a_range_that_means_nothing_gives_all(api: APIClient, file_id: str, asked: str) -> None:
    assert got(api, f"/api/files/{file_id}/download", Range=asked)[:2] == (200, CONTENT)


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=5000-6000", "bytes=-0"])
def test_a_part_that_is_not_there_is_refused(api: APIClient, file_id: str, asked: str) -> None:
    answer = api.get(f"/api/files/{file_id}/download", headers={"Range": asked})

    assert (answer.status_code, answer.json()["code"]) == (416, "no_such_part")
    assert answer.headers["Content-Range"] == "bytes */1024"


def test_who_asks_for_headers_gets_them_alone(api: APIClient, file_id: str) -> None:
    answer: Any = api.head(f"/api/files/{file_id}/download")

    assert (answer.status_code, answer.headers["Content-Length"], b"".join(answer.streaming_content)) == (
        200,
        "1024",
        b"",
    )


def test_a_part_of_what_it_was_is_not_mixed_with_what_it_is(api: APIClient, file_id: str) -> None:
    path = f"/api/files/{file_id}/download"
    etag = got(api, path)[2]["ETag"]

    assert got(api, path, Range="bytes=0-9", **{"If-Range": etag})[0] == 206
    assert got(api, path, Range="bytes=0-9", **{"If-Range": '"other"'})[0] == 200


def test_a_content_that_is_gone_is_said_to_be(api: APIClient, file_id: str, folder: Path) -> None:
    next(path for path in folder.rglob("*") if path.is_file()).unlink()
    answer = api.get(f"/api/files/{file_id}/download")

    assert (answer.status_code, answer.json()["code"]) == (404, "file_lost")
