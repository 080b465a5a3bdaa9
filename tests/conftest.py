"""What every test may ask for."""

import math
from collections.abc import Callable, Iterator

import pytest
from django.core.management.commands import flush
from django.db import connections
from django.db.backends.postgresql.operations import DatabaseOperations
from rest_framework.test import APIClient

from accounts.models import User
from credits import price_lists
from tests import flushing, make


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run quick kinds first, and of each kind what may take long, lest one worker ends alone; the rest is random."""
    items.sort(key=lambda item: (_slowness(item), -_patience(item)))


def _patience(item: pytest.Item) -> float:
    """How many seconds the test may take, where it says so itself; without end is longest."""
    marker = item.get_closest_marker("timeout")
    return 0 if marker is None else marker.args[0] or math.inf


def _slowness(item: pytest.Item) -> int:
    if item.get_closest_marker("journey"):
        return 3
    if "/house/" in item.nodeid:
        return 0
    fixtures = getattr(item, "fixturenames", ())
    return 2 if item.get_closest_marker("django_db") or "db" in fixtures or "transactional_db" in fixtures else 1


@pytest.fixture(autouse=True, scope="session")
def _quick_flush() -> Iterator[None]:
    """Empties the database between tests within milliseconds, the ledger included; see flushing.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "sql_flush", flushing.statements)
        patch.setattr(flush, "emit_post_migrate_signal", flushing.restore)
        yield


@pytest.fixture
def user(db: None) -> User:
    """Somebody."""
    return make.a_user()


@pytest.fixture
def owner(transactional_db: None) -> User:
    """Whose graphs run."""
    return make.a_user()


@pytest.fixture
def client_of() -> Callable[[User | None], APIClient]:
    """Makes the REST client of a given person."""
    return _client_of


@pytest.fixture
def api(user: User) -> APIClient:
    """The REST client of `user`."""
    return _client_of(user)


@pytest.fixture
def stranger(db: None) -> APIClient:
    """The REST client of somebody else, who owns nothing."""
    return _client_of(make.a_user())


@pytest.fixture
def anonymous(db: None) -> APIClient:
    """The REST client of nobody."""
    return _client_of(None)


def _client_of(user: User | None) -> APIClient:
    # Failures come back as the answer a client would get, not as an exception in the test.
    client = APIClient(raise_request_exception=False)
    if user is not None:
        client.force_authenticate(user)
    return client


@pytest.fixture
def closing() -> Iterator[None]:
    """Closes the connections that async code leaves on other threads."""
    yield
    for connection in connections.all(initialized_only=True):
        connection.close()


@pytest.fixture(autouse=True)
def _no_prices_from_before() -> None:
    """The process forgets which price list was the newest in another test's database."""
    price_lists.forget()
