"""Files in the admin site."""

import pytest
from django.test import Client

from accounts.models import Role
from files.models import StoredFile
from tests import make
from tests.files.conftest import Kept, Upload


@pytest.fixture
def operator(db: None, client: Client) -> Client:
    client.force_login(make.a_user(role=Role.ADMIN))
    return client


def test_an_operator_finds_files_and_deletes_them(operator: Client, upload: Upload, kept: Kept) -> None:
    upload(name="secret plans.txt")
    file = StoredFile.objects.get()
    page = operator.get("/admin/files/storedfile/", {"q": "plans"}).content.decode()
    one = operator.get(f"/admin/files/storedfile/{file.pk}/change/").content.decode()

    assert "secret plans.txt" in page
    assert file.sha256 in one
    assert "hello" not in one
    picked = {"action": "let_go", "_selected_action": [str(file.pk)]}
    answer = operator.post("/admin/files/storedfile/", picked, follow=True)
    assert "1 files are deleted." in answer.content.decode()
    assert kept() == (0, 0)


def test_nobody_else_gets_there(client: Client, upload: Upload, kept: Kept) -> None:
    upload()
    client.force_login(make.a_user())

    assert client.get("/admin/files/storedfile/").status_code == 302
    assert kept() == (1, 1)


def test_an_operator_adds_and_changes_none(operator: Client, upload: Upload) -> None:
    upload()
    file = StoredFile.objects.get()

    assert operator.get("/admin/files/storedfile/add/").status_code == 403
    assert operator.post(f"/admin/files/storedfile/{file.pk}/change/", {"name": "x"}).status_code == 403
    assert operator.post(f"/admin/files/storedfile/{file.pk}/delete/", {"post": "yes"}).status_code == 403
