"""The project's settings as they are, with quick password hashing for the one user the benchmark makes."""

from config.settings import *  # noqa: F403  these are those settings

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
