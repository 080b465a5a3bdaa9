"""The project's database, and nothing else between a request and its view."""

from tests.bench.settings import *  # noqa: F403  these are those settings

ROOT_URLCONF = "tests.bench.bare"
MIDDLEWARE = []
