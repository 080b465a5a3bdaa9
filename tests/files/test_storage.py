"""Where contents are, as the environment says."""

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from config import env
from files.models import StoredFile
from files.services import storage
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
