"""The project's settings, made quick, and apart for each of pytest's worker processes."""

import os

from config import env
from config.embedded import paths
from config.settings import *  # noqa: F403  these are those settings
from config.settings import CHANNEL_LAYERS, RATES, TASKLOOM_HOME

# Worker gw0 has database 1, gw1 database 2, …; without workers database 0. Postgres: pytest-django does the same.
_number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw-1").removeprefix("gw")) + 1

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Tests of limits set their own.
PLATFORM_BASE_URL = "https://taskloom.example.com"
RATES = dict.fromkeys(RATES, "off")
REDIS_URL = paths.redis_url(TASKLOOM_HOME).replace("db=0", f"db={_number}")
CELERY_BROKER_URL = env.text("CELERY_BROKER_URL") or paths.broker_url(REDIS_URL).replace(
    "virtual_host=0", f"virtual_host={_number}"
)
# Publishing knows no databases, so the prefix keeps the workers apart.
CHANNEL_LAYERS = {
    "default": {
        **CHANNEL_LAYERS["default"],
        "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": None}], "prefix": f"taskloom-{_number}"},
    },
}
