"""The project's settings as they are, with quick password hashing and high limits for the one user of the benchmark."""

from config.settings import *  # noqa: F403  these are those settings
from config.settings import RATES

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Counted like everybody's requests, and never refused.
RATES = dict.fromkeys(RATES, "1000000/s")
