"""Files come in by REST."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.core.files.uploadedfile import SimpleUploadedFile
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from files.models import State, StoredFile
from tests.files.conftest import Kept, Upload

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
MULTIPART = "multipart/form-data; boundary=edge"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_form(content: bytes = b"hello", name: str = "notes.txt", end: bytes = b"\r\n--edge--\r\n") -> bytes:
    head = f'--edge\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return head.encode() + content + end


def post(client: Any, body: bytes, media_type: str = MULTIPART, **more: str) -> Any:
    """Send a body as it is."""
    return client.generic("POST", "/api/files/upload", body, media_type, **more)


def test_an_upload_is_kept_and_told_by_its_uri(upload: Upload, user: User, kept: Kept) -> None:
    with time_machine.travel(NOON, tick=False):
        answer = upload(PNG, "Grüße.png", "image/png")
    file = StoredFile.objects.get()

    assert answer.status_code == 200
    assert answer.json() == {
        "id": str(file.pk),
        "file_uri": f"workspace://{file.pk}",
        "file_name": "Grüße.png",
        "size": 28,
        "content_type": "image/png",
        "sha256": hashlib.sha256(PNG).hexdigest(),
        "graph_exec_id": None,
        "created_at": "2026-03-01T12:00:00Z",
        "expires_at": "2026-03-02T12:00:00Z",
        "expires_in_hours": 24,
    }
    assert (file.user, file.state, kept()) == (user, State.STORED, (1, 1))


def test_an_empty_file_is_a_file(upload: Upload) -> None:
    answer = upload(b"", "empty.txt").json()

    assert (answer["size"], answer["content_type"]) == (0, "text/plain")


@pytest.mark.parametrize("hours", [1, 48])
def test_hours_are_counted_from_now(upload: Upload, hours: int) -> None:
    with time_machine.travel(NOON, tick=False):
        answer = upload(expiration_hours=hours).json()

    assert answer["expires_in_hours"] == hours
    assert StoredFile.objects.get().expires_at == NOON + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"expiration_hours": 0}, 400, "expiry_out_of_range"),
        ({"expiration_hours": 49}, 400, "expiry_out_of_range"),
        ({"expiration_hours": -1}, 400, "expiry_out_of_range"),
        ({"expiration_hours": "a day"}, 422, "request_invalid"),
        ({"expiration_hours": "1.5"}, 422, "request_invalid"),
        ({"provider": "s3"}, 400, "provider_unknown"),
    ],
)
def test_what_is_asked_wrongly_is_refused(upload: Upload, kept: Kept, query: dict[str, str], status: int, code: str):
    answer = upload(**query)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert kept() == (0, 0)


def test_the_contracts_provider_may_be_named(upload: Upload) -> None:
    assert upload(provider="gcs").status_code == 200


def test_a_file_may_be_as_large_as_the_limit_and_no_larger(upload: Upload, settings: Settings, kept: Kept) -> None:
    settings.UPLOAD_MB = 1

    assert upload(b"x" * 1024**2).json()["size"] == 1024**2
    answer = upload(b"x" * (1024**2 + 1))
    assert (answer.status_code, answer.json()["code"]) == (400, "file_too_large")
    assert answer.json()["message"] == "The file has more than 1 MB"
    assert kept() == (1, 1)


def test_a_form_that_announces_too_much_is_not_read(api: APIClient, settings: Settings, kept: Kept) -> None:
    settings.UPLOAD_MB = 1

    answer = post(api, b"", CONTENT_LENGTH="2000000")

    assert (answer.status_code, answer.json()["code"]) == (400, "file_too_large")
    assert kept() == (0, 0)


@pytest.mark.parametrize(
    ("body", "media_type", "status", "code"),
    [
        (a_form(end=b""), MULTIPART, 400, "upload_broken_off"),
        (a_form(end=b"\r\n--edge"), MULTIPART, 400, "upload_broken_off"),
        (a_form(b"half --\r\n", end=b"--\r\n"), MULTIPART, 400, "upload_broken_off"),
        (b"--edge--\r\n", MULTIPART, 422, "request_invalid"),
        (b"", MULTIPART, 422, "request_invalid"),
        (a_form(name=""), MULTIPART, 422, "request_invalid"),
        (a_form(name="../"), MULTIPART, 422, "request_invalid"),
        (a_form().replace(b'; filename="notes.txt"', b""), MULTIPART, 422, "request_invalid"),
        (a_form(), "multipart/form-data", 400, "parse_error"),
        (a_form() * 101, MULTIPART, 400, "parse_error"),
        (b'{"file": "hello"}', "application/json", 415, "unsupported_media_type"),
        (b"hello", "application/octet-stream", 415, "unsupported_media_type"),
    ],
)  # fmt: skip
def test_what_is_no_whole_form_leaves_nothing(
    api: APIClient, kept: Kept, body: bytes, media_type: str, status: int, code: str
) -> None:
    answer = post(api, body, media_type)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert kept() == (0, 0)


def test_a_whole_form_is_accepted(api: APIClient) -> None:
    assert post(api, a_form()).json()["size"] == 5


def test_a_file_that_is_not_what_it_says_is_refused(upload: Upload, kept: Kept) -> None:
    answer = upload(b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0", "holiday.jpg", "image/jpeg")

    assert (answer.status_code, answer.json()["code"]) == (400, "content_mismatch")
    assert answer.json()["message"] == (
        "'holiday.jpg' is not what its ending says: its content is a program for Windows"
    )
    assert kept() == (0, 0)


@pytest.mark.parametrize(
    ("sent", "kept_as"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\system32\\drivers.txt", "drivers.txt"),
        ("/absolute/path.txt", "path.txt"),
        ("C:\\notes.txt", "notes.txt"),
        (".htaccess", "htaccess"),
        ("con.txt", "_con.txt"),
        ("a<b>.txt", "a_b_.txt"),
        ("dots... ", "dots"),
    ],
)
def test_names_lead_nowhere(upload: Upload, kept: Kept, sent: str, kept_as: str) -> None:
    assert upload(name=sent).json()["file_name"] == kept_as
    assert kept() == (1, 1)


def test_nobody_uploads_without_a_token(anonymous: APIClient, upload: Upload, kept: Kept) -> None:
    assert upload(by=anonymous).status_code == 401
    assert kept() == (0, 0)


def test_an_upload_that_is_repeated_with_its_key_is_kept_once(api: APIClient, kept: Kept) -> None:
    first = post(api, a_form(), HTTP_IDEMPOTENCY_KEY="once")
    again = post(api, a_form(), HTTP_IDEMPOTENCY_KEY="once")

    assert (first.status_code, again.json()) == (200, first.json())
    for other in (a_form(b"another"), a_form(name="another.txt")):
        refused = post(api, other, HTTP_IDEMPOTENCY_KEY="once")
        assert (refused.status_code, refused.json()["code"]) == (409, "upload_key_reused")
        assert refused.json()["file_id"] == first.json()["id"]
    assert post(api, a_form(), HTTP_IDEMPOTENCY_KEY="ü").status_code == 422
    assert kept() == (1, 1)
    api.delete(f"/api/files/{first.json()['id']}")
    assert post(api, a_form(), HTTP_IDEMPOTENCY_KEY="once").json()["id"] != first.json()["id"]
    assert kept() == (1, 1)


def test_a_key_is_free_again_when_its_file_has_expired(api: APIClient, kept: Kept) -> None:
    first = post(api, a_form(), HTTP_IDEMPOTENCY_KEY="once").json()["id"]
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=25)):
        assert post(api, a_form(b"another"), HTTP_IDEMPOTENCY_KEY="once").status_code == 200
    assert [str(file.pk) for file in StoredFile.objects.filter(state=State.LEAVING)] == [first]


def test_one_users_key_is_not_anothers(api: APIClient, stranger: APIClient, kept: Kept) -> None:
    ids = {post(client, a_form(), HTTP_IDEMPOTENCY_KEY="once").json()["id"] for client in (api, stranger)}

    assert (len(ids), kept()) == (2, (2, 2))


# --- What is known of files -------------------------------------------------------------------------------------


def test_files_are_listed_newest_first_and_read_on_by_cursor(
    api: APIClient, upload: Upload, django_assert_num_queries: pytest.FixtureRequest
) -> None:
    ids = [upload(name=f"{number}.txt").json()["id"] for number in range(5)][::-1]

    with django_assert_num_queries(3):  # type: ignore[operator]
        first = api.get("/api/files?page_size=3").json()
    cursor = first["pagination"].pop("next_cursor")
    second = api.get(f"/api/files?page_size=3&cursor={cursor}").json()

    assert [file["id"] for file in first["files"] + second["files"]] == ids
    assert first["pagination"] == {"total_items": 5, "total_pages": 2, "current_page": 1, "page_size": 3}
    assert second["pagination"]["next_cursor"] is None
    assert first["usage"] == {"used_bytes": 25, "quota_bytes": 1024**3}


def test_one_file_is_told_like_in_the_list(api: APIClient, upload: Upload) -> None:
    made = upload().json()
    made.pop("expires_in_hours")

    assert api.get(f"/api/files/{made['id']}").json() == made == api.get("/api/files").json()["files"][0]


def test_a_deleted_file_is_gone_with_its_content(api: APIClient, upload: Upload, kept: Kept) -> None:
    file_id = upload().json()["id"]

    assert api.delete(f"/api/files/{file_id}").json() == {"id": file_id}
    assert kept() == (0, 0)
    assert api.get(f"/api/files/{file_id}").status_code == 404
    assert api.delete(f"/api/files/{file_id}").status_code == 404


ABSENT = UUID("01980000-0000-7000-8000-000000000000")
DOORS = [("get", ""), ("delete", ""), ("post", "/link"), ("get", "/download")]


@pytest.mark.parametrize(("method", "door"), DOORS)
def test_anothers_file_and_an_absent_and_an_expired_one_are_alike(
    api: APIClient, stranger: APIClient, upload: Upload, kept: Kept, method: str, door: str
) -> None:
    file_id = upload().json()["id"]

    foreign = getattr(stranger, method)(f"/api/files/{file_id}{door}")
    absent = getattr(api, method)(f"/api/files/{ABSENT}{door}")
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=25)):
        expired = getattr(api, method)(f"/api/files/{file_id}{door}")

    assert [answer.status_code for answer in (foreign, absent, expired)] == [404] * 3
    assert foreign.json() == expired.json() == {**absent.json(), "file_id": file_id}
    assert absent.json()["code"] == "no_such_file"
    assert kept() == (1, 1)


@pytest.mark.parametrize(("method", "door"), DOORS)
def test_nobody_reaches_a_file_without_a_token(
    anonymous: APIClient, upload: Upload, kept: Kept, method: str, door: str
) -> None:
    file_id = upload().json()["id"]

    assert getattr(anonymous, method)(f"/api/files/{file_id}{door}").status_code == 401
    assert kept() == (1, 1)


def test_lists_show_only_ones_own(stranger: APIClient, upload: Upload) -> None:
    upload()

    found = stranger.get("/api/files").json()
    assert (found["files"], found["usage"]["used_bytes"]) == ([], 0)


def test_two_files_in_one_form_are_one_too_many(api: APIClient, kept: Kept) -> None:
    both = [SimpleUploadedFile("a.txt", b"a"), SimpleUploadedFile("b.txt", b"b")]

    answer = api.post("/api/files/upload", {"file": both}, format="multipart")

    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
    assert kept() == (0, 0)
