"""Where contents are, as the environment says."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings
from rest_framework.test import APIClient

from config import env
from files.models import StoredFile
from files.services import storage
from files.sweeping import Swept, sweep
from tests.files.bucket import NAME as BUCKET
from tests.files.bucket import Bucket, a_bucket
from tests.files.conftest import Upload

NAME = "TASKLOOM_FILES_URL"


def test_contents_are_in_the_home_folder_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NAME, raising=False)

    assert env.file_storage(NAME)["OPTIONS"]["location"] == str(env.home() / "files")


def test_a_folder_may_be_named_and_is_nobody_elses(
    upload: Upload, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(NAME, (tmp_path / "a folder").as_uri())
    settings.STORAGES = {**settings.STORAGES, "files": env.file_storage(NAME)}
    upload(b"hello")
    path = tmp_path / "a folder" / StoredFile.objects.get().path

    assert path.read_bytes() == b"hello"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert storage().exists(StoredFile.objects.get().path)


@pytest.mark.parametrize("url", ["files", "http://host/files", "file://host/files", "file:", "s3:", "s3:///prefix"])
def test_what_names_no_place_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv(NAME, url)

    with pytest.raises(ImproperlyConfigured, match=f"^{NAME} must be like file:///folder or s3://bucket/prefix"):
        env.file_storage(NAME)


# --- In a bucket ------------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with a_bucket() as bucket:
        monkeypatch.setenv(NAME, f"s3://{BUCKET}/task%20files?endpoint_url={bucket.endpoint}&region_name=eu-1")
        settings.STORAGES = {**settings.STORAGES, "files": env.file_storage(NAME)}
        yield bucket


def test_contents_may_be_in_a_bucket(api: APIClient, upload: Upload, bucket: Bucket) -> None:
    file_id = upload(b"hello").json()["id"]
    path = StoredFile.objects.get().path

    assert bucket.objects == {f"task files/{path}": b"hello"}
    answer: Any = api.get(f"/api/files/{file_id}/download", headers={"Range": "bytes=1-2"})
    assert (answer.status_code, b"".join(answer.streaming_content)) == (206, b"el")
    assert api.delete(f"/api/files/{file_id}").status_code == 200
    assert bucket.objects == {}


def test_a_bucket_is_swept_like_a_folder(upload: Upload, bucket: Bucket) -> None:
    upload()
    kept_one = f"task files/{StoredFile.objects.get().path}"
    bucket.objects[f"task files/{StoredFile(pk=uuid4()).path}"] = b"nobody's"
    bucket.objects["elsewhere/notes.txt"] = b"not ours"

    assert sweep() == Swept(0, 0, 1)
    assert sorted(bucket.objects) == ["elsewhere/notes.txt", kept_one]


def test_while_a_bucket_is_broken_nothing_is_kept_or_lost(api: APIClient, upload: Upload, bucket: Bucket) -> None:
    file_id = upload(b"hello").json()["id"]
    bucket.is_broken = True

    refused = upload(b"another")
    assert (refused.status_code, refused.json()["code"]) == (503, "storage_unavailable")
    missing = api.get(f"/api/files/{file_id}/download")
    assert (missing.status_code, missing.json()["code"]) == (503, "storage_unavailable")
    bucket.is_broken = False
    assert sweep() == Swept(1, 0, 0)
    assert [str(file.pk) for file in StoredFile.objects.all()] == [file_id]
    assert len(bucket.objects) == 1


@pytest.mark.parametrize("package", ["storages", "boto3"])
def test_a_bucket_needs_a_package_that_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    monkeypatch.setenv(NAME, "s3://bucket")

    with pytest.raises(ImproperlyConfigured, match=r"which needs a package more: pip install 'taskloom\[s3\]'"):
        env.file_storage(NAME)


def test_what_a_bucket_is_not_told_by_its_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "s3://bucket?secret_key=1&acl=public")

    with pytest.raises(ImproperlyConfigured, match="may say endpoint_url and region_name, but not acl, secret_key"):
        env.file_storage(NAME)
