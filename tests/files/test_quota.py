"""What one user may keep."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from files import services
from files.models import State, StoredFile
from tests.files.conftest import Kept, Upload

MEGABYTE = 1024**2


@pytest.fixture(autouse=True)
def one_megabyte(settings: Settings) -> None:
    settings.FILE_QUOTA_MB = 1


def test_a_quota_is_filled_to_its_last_byte_and_no_further(upload: Upload, kept: Kept) -> None:
    assert upload(b"x" * (MEGABYTE - 5)).status_code == 200
    refused = upload(b"123456")
    assert (refused.status_code, refused.json()["code"]) == (409, "quota_exceeded")
    assert refused.json()["message"] == "The file has 6 bytes; of your 1 MB 5 bytes are left"
    assert (refused.json()["used_bytes"], refused.json()["quota_bytes"]) == (MEGABYTE - 5, MEGABYTE)
    assert upload(b"12345").status_code == 200
    assert kept() == (2, 2)


def test_what_is_deleted_gives_its_room_back(api: APIClient, upload: Upload) -> None:
    file_id = upload(b"x" * MEGABYTE).json()["id"]
    assert upload(b"y").status_code == 409
    api.delete(f"/api/files/{file_id}")
    assert upload(b"y").status_code == 200


def test_what_has_expired_makes_room_when_it_is_needed(upload: Upload, kept: Kept) -> None:
    upload(b"x" * MEGABYTE, expiration_hours=1)
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=2)):
        assert upload(b"y").status_code == 200
    assert kept() == (1, 1)


def test_what_is_being_stored_and_deleted_counts(upload: Upload, user: User) -> None:
    for state in (State.STORING, State.LEAVING):
        upload(b"x" * MEGABYTE)
        StoredFile.objects.update(state=state)
        assert upload(b"y").status_code == 409
        services.remove(StoredFile.objects.all())


def test_one_users_files_do_not_count_for_another(stranger: APIClient, upload: Upload) -> None:
    upload(b"x" * MEGABYTE)
    assert upload(b"x" * MEGABYTE, by=stranger).status_code == 200


def test_files_are_counted_too(upload: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "MAX_FILES", 2)
    assert [upload(b"").status_code for _ in range(3)] == [200, 200, 409]
    assert upload(b"").json()["code"] == "too_many_files"


def test_of_uploads_at_once_with_one_key_one_is_kept(owner: User, kept: Kept) -> None:
    for key in range(1, 4):
        answers = _at_once(owner, 8, HTTP_IDEMPOTENCY_KEY=str(key))

        assert {answer.status_code for answer in answers} <= {200, 503}
        told = {answer.json()["id"] for answer in answers if answer.status_code == 200}
        assert told == {str(StoredFile.objects.get(key=f"upload:{key}", state=State.STORED).pk)}
        assert kept() == (key, key)


def test_of_uploads_at_once_exactly_as_many_fit_as_fit(owner: User, kept: Kept) -> None:
    assert sorted(answer.status_code for answer in _at_once(owner, 16)) == [200] * 10 + [409] * 6
    assert kept() == (10, 10)
    assert StoredFile.objects.filter(state=State.STORED).usage() == (10, 1_000_000)


def _at_once(owner: User, number: int, **headers: str) -> list[Any]:
    """What so many uploads of 100,000 bytes are answered that are sent at the same moment."""
    answers: list[Any] = []
    start = threading.Barrier(number)

    def send() -> None:
        client: Any = APIClient()
        client.force_authenticate(owner)
        start.wait()
        form = {"file": SimpleUploadedFile("x.txt", b"x" * 100_000)}
        answers.append(client.post("/api/files/upload", form, format="multipart", **headers))
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
