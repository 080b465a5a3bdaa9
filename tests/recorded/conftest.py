"""Whether runs are recorded, too."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Only seen when this folder is named: `pytest tests/recorded --record`."""
    parser.addoption("--record", action="store_true", help="write down the runs of files that have no turns yet")
