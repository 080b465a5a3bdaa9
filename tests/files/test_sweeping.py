"""What nobody can use any more goes."""

import os
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from uuid import uuid4

import pytest
import time_machine
from django.core.management import call_command
from rest_framework.test import APIClient

from accounts.models import User
from files import services, tasks
from files.models import State, StoredFile
from files.sweeping import Swept, sweep
from tests.files.conftest import Kept, Upload

NOTHING = Swept(0, 0, 0)


def test_expired_files_go_and_others_stay(upload: Upload, kept: Kept) -> None:
    upload(expiration_hours=1)
    stays = upload(expiration_hours=3).json()["id"]

    with time_machine.travel(datetime.now(UTC) + timedelta(hours=2)):
        assert sweep() == Swept(1, 0, 0)
        assert sweep() == NOTHING
    assert [str(file.pk) for file in StoredFile.objects.all()] == [stays]
    assert kept() == (1, 1)


def test_what_a_lost_process_left_goes_when_it_is_surely_gone(upload: Upload, kept: Kept, folder: Path) -> None:
    for _ in range(3):
        upload()
    half, empty, leaving = StoredFile.objects.order_by("pk")
    StoredFile.objects.filter(pk__in=[half.pk, empty.pk]).update(state=State.STORING)
    StoredFile.objects.filter(pk=leaving.pk).update(state=State.LEAVING)
    (folder / empty.path).unlink()

    assert sweep() == Swept(1, 0, 0)
    assert kept() == (2, 1)
    with time_machine.travel(datetime.now(UTC) + services.ABANDONED_AFTER + timedelta(minutes=1)):
        assert sweep() == Swept(2, 0, 0)
    assert kept() == (0, 0)


def test_contents_without_a_row_go_when_no_file_could_be_as_old(
    upload: Upload, user: User, kept: Kept, folder: Path
) -> None:
    upload()
    mine = folder / StoredFile.objects.get().path
    old, young = (folder / StoredFile(pk=uuid4()).path for _ in range(2))
    for path in (old, young):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"nobody's")
    (folder / "README").write_text("not ours")
    (folder / "ab").mkdir(exist_ok=True)
    (folder / "ab" / "notes.txt").write_text("not ours")
    long_ago = (datetime.now(UTC) - timedelta(hours=171)).timestamp()
    for path in (old, mine, folder / "README", folder / "ab" / "notes.txt"):
        os.utime(path, (long_ago, long_ago))

    assert sweep() == Swept(0, 0, 1)
    assert sweep() == NOTHING
    assert (old.exists(), young.exists(), mine.exists()) == (False, True, True)
    assert (folder / "README").exists()
    assert (folder / "ab" / "notes.txt").exists()


def test_a_content_that_will_not_go_is_hidden_and_tried_again(
    api: APIClient, upload: Upload, kept: Kept, folder: Path
) -> None:
    file = upload().json()
    path = folder / StoredFile.objects.get().path
    path.unlink()
    (path / "in the way").mkdir(parents=True)

    assert api.delete(f"/api/files/{file['id']}").status_code == 200
    assert api.get("/api/files").json()["files"] == []
    assert sweep() == Swept(0, 1, 0)
    (path / "in the way").rmdir()
    assert sweep() == Swept(1, 0, 0)
    assert kept() == (0, 0)


def test_beat_and_the_command_sweep_alike(upload: Upload, kept: Kept) -> None:
    def told() -> str:
        output = StringIO()
        call_command("sweep_files", stdout=output)
        return output.getvalue()

    upload(expiration_hours=1)
    assert told() == "0 files deleted, 0 without a row deleted\n"
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=2)):
        assert told() == "1 files deleted, 0 without a row deleted\n"
        tasks.sweep()
    assert kept() == (0, 0)


def test_a_storage_that_was_never_written_to_is_swept_too(db: None, folder: Path) -> None:
    assert sweep() == NOTHING
    assert not folder.exists()


@pytest.mark.parametrize("state", [State.STORING, State.LEAVING])
def test_what_is_not_whole_is_not_shown(api: APIClient, upload: Upload, state: State) -> None:
    file_id = upload().json()["id"]
    StoredFile.objects.update(state=state)

    assert api.get(f"/api/files/{file_id}").status_code == 404
    assert api.get("/api/files").json()["files"] == []
    assert api.get(f"/api/files/{file_id}/download").status_code == 404


def test_a_storage_that_fails_keeps_nothing(upload: Upload, kept: Kept, folder: Path) -> None:
    folder.write_bytes(b"in the way")
    answer = upload()

    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    # What it cannot write it cannot delete either: the row stays until it can.
    assert StoredFile.objects.get().state == State.LEAVING
    folder.unlink()
    assert sweep() == Swept(1, 0, 0)
    assert kept() == (0, 0)
