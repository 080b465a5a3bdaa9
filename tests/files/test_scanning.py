"""Files are looked through before they are kept."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core import checks
from pytest_django import Settings

from files import clamd
from files.errors import ScannerUnavailable
from tests.files.conftest import Kept, Upload
from tests.files.scanner import STREAM_LIMIT, Scanner, a_scanner


@pytest.fixture
def scanner(settings: Settings) -> Iterator[Scanner]:
    with a_scanner() as scanner:
        settings.CLAMD_URL = scanner.url
        yield scanner


def test_a_clean_file_is_seen_whole_and_kept(upload: Upload, scanner: Scanner, kept: Kept) -> None:
    assert upload(b"clean " * 1000).status_code == 200
    assert scanner.streams == [b"clean " * 1000]
    assert kept() == (1, 1)


def test_an_empty_file_is_asked_about_too(upload: Upload, scanner: Scanner) -> None:
    assert upload(b"").status_code == 200
    assert scanner.streams == [b""]


def test_an_infected_file_is_refused_by_what_was_found(upload: Upload, scanner: Scanner, kept: Kept) -> None:
    answer = upload(b"x" * 70_000 + b"INFECTED")

    assert (answer.status_code, answer.json()["code"]) == (400, "file_infected")
    assert answer.json()["message"] == "The virus scanner found Test.Word in the file"
    assert answer.json()["found"] == "Test.Word"
    assert kept() == (0, 0)


@pytest.mark.parametrize(
    "reply",
    [b"", b"stream: ", b"stream: OK, or not\0", b"OK\0", b"Can't write to temporary file. ERROR\0", b"\xff" * 9000],
)
def test_what_is_not_known_to_be_clean_is_not_kept(upload: Upload, scanner: Scanner, kept: Kept, reply: bytes) -> None:
    scanner.reply = reply
    answer = upload()

    assert (answer.status_code, answer.json()["code"]) == (503, "scanner_unavailable")
    assert kept() == (0, 0)


def test_what_is_too_long_for_the_scanner_is_not_kept(upload: Upload, scanner: Scanner, kept: Kept) -> None:
    answer = upload(b"x" * (STREAM_LIMIT + 300_000))

    assert (answer.status_code, answer.json()["code"]) == (503, "scanner_unavailable")
    assert kept() == (0, 0)


def test_without_the_scanner_nothing_is_kept(upload: Upload, settings: Settings, kept: Kept) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings.CLAMD_URL = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
    answer = upload()

    assert (answer.status_code, answer.json()["code"]) == (503, "scanner_unavailable")
    assert answer.json()["hint"] == "Try again in a moment."
    assert kept() == (0, 0)


def test_a_scanner_that_never_answers_is_given_up(
    upload: Upload, settings: Settings, monkeypatch: pytest.MonkeyPatch, kept: Kept
) -> None:
    monkeypatch.setattr(clamd, "TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.CLAMD_URL = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        assert upload().status_code == 503
    assert kept() == (0, 0)


def test_a_scanner_may_be_behind_a_unix_socket(upload: Upload, settings: Settings, tmp_path: Path) -> None:
    with a_scanner(socket.AF_UNIX, str(tmp_path / "clamd.ctl")) as scanner:
        settings.CLAMD_URL = scanner.url
        assert upload(b"clean").status_code == 200
        assert upload(b"INFECTED").status_code == 400
    assert scanner.streams == [b"clean", b"INFECTED"]
    assert upload(b"clean").status_code == 503


@pytest.mark.parametrize(
    "url", ["localhost:3310", "http://localhost", "tcp://", "tcp://host:port", "unix://", "unix://a/b"]
)
def test_an_address_that_leads_nowhere_is_found_by_check_and_lets_nothing_in(settings: Settings, url: str) -> None:
    settings.CLAMD_URL = url

    assert [found.id for found in checks.run_checks(tags=["security"]) if str(found.id).startswith("files.")] == [
        "files.E001"
    ]
    with pytest.raises(ScannerUnavailable):
        clamd.scan([b"hello"])


def test_check_says_when_a_public_site_scans_nothing(settings: Settings) -> None:
    settings.HTTPS = True

    assert "files.I001" in [found.id for found in checks.run_checks(tags=["security"])]
