"""Users with credits, and a Stripe that sells them some."""

from collections.abc import Iterator

import pytest
from django.db import connection
from pytest_django import Settings

from accounts.models import Role, User
from tests import make
from tests.fake_stripe import FakeStripe, selling


@pytest.fixture
def paid(settings: Settings) -> None:
    """People pay for what they use."""
    settings.CREDITS = "paid"


@pytest.fixture
def stripe(paid: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStripe]:
    """Stripe, which the platform is set up for."""
    with selling(settings, monkeypatch) as running:
        yield running


@pytest.fixture
def admin(db: None) -> User:
    """An administrator."""
    return make.a_user(role=Role.ADMIN)


@pytest.fixture
def a_hundred_connections(transactional_db: None) -> Iterator[None]:
    """As many workers may talk to Postgres at the same time, where otherwise eight may."""
    options = connection.settings_dict["OPTIONS"]["pool"]
    usual = options["max_size"]
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]  # Postgres has one
    options["max_size"] = 110
    yield
    connection.close()
    connection.close_pool()  # type: ignore[attr-defined]  # Postgres has one
    options["max_size"] = usual


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the ledger is tried."""
    parser.addoption("--ledger-turns", type=int, default=None, help="how often a hundred fight for one account")
    parser.addoption("--top-up-races", type=int, default=None, help="how often the news of a payment races itself")
    parser.addoption("--ledger-moves", type=int, default=None, help="how many random moves are compared with a model")


@pytest.fixture
def turns(request: pytest.FixtureRequest) -> int:
    """How often a hundred fight for one account."""
    # Only known when pytest was pointed at this folder.
    return request.config.getoption("ledger_turns", default=None) or 2


@pytest.fixture
def moves(request: pytest.FixtureRequest) -> int:
    """How many random moves are compared with a model."""
    return request.config.getoption("ledger_moves", default=None) or 400


@pytest.fixture
def races(request: pytest.FixtureRequest) -> int:
    """How often the news of a payment races itself."""
    return request.config.getoption("top_up_races", default=None) or 2
