"""Users with credits."""

import pytest
from pytest_django import Settings

from accounts.models import Role, User
from tests import make


@pytest.fixture
def paid(settings: Settings) -> None:
    """People pay for what they use."""
    settings.CREDITS = "paid"


@pytest.fixture
def admin(db: None) -> User:
    """An administrator."""
    return make.a_user(role=Role.ADMIN)


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the ledger is tried."""
    parser.addoption("--ledger-turns", type=int, default=None, help="how often a hundred fight for one account")
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
