"""A storage of each test's own, and what is in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from pytest_django import Settings
from rest_framework.test import APIClient

from files.models import StoredFile

Upload = Callable[..., Any]
Kept = Callable[[], tuple[int, int]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, settings: Settings) -> Path:
    """Where the contents are."""
    path = tmp_path / "files"
    files = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(path)}}
    settings.STORAGES = {**settings.STORAGES, "files": files}
    return path


@pytest.fixture
def kept(folder: Path) -> Kept:
    """How many files there are as rows, and as contents."""
    return lambda: (StoredFile.objects.count(), sum(path.is_file() for path in folder.rglob("*")))


@pytest.fixture
def upload(api: APIClient) -> Upload:
    """Uploads a file as `user`, or with another client."""

    def send(
        content: bytes = b"hello", name: str = "notes.txt", media_type: str = "", *, by: APIClient = api, **query: Any
    ) -> Any:
        path = "/api/files/upload?" + "&".join(f"{key}={value}" for key, value in query.items())
        return by.post(path, {"file": SimpleUploadedFile(name, content, media_type)}, format="multipart")

    return send
