"""What `manage.py check` verifies of the settings, each finding with an id and a cure."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from accounts import tokens

_SHORTEST_SECRET = 32
_FEWEST_CHARACTERS = 12
_RANDOM_TEXT = "Set it to the output of: python -c 'import secrets; print(secrets.token_urlsafe(64))'"


@register(Tags.security)
def secrets_are_strong(**_: Any) -> list[CheckMessage]:
    """A secret that can be guessed signs anybody's tokens: E001 for sessions, E002 for access tokens."""
    found: list[CheckMessage] = []
    if _is_guessable(settings.SECRET_KEY):
        found.append(Error("DJANGO_SECRET_KEY is too easy to guess.", hint=_RANDOM_TEXT, id="config.E001"))
    try:
        tokens.own_keys()
    except tokens.KeyUnusable as error:
        found.append(Error(f"JWT_SIGNING_KEY cannot be used: {error}.", hint=_signing_hint(), id="config.E002"))
    else:
        if settings.JWT_ALGORITHM == "HS256" and _is_guessable(settings.JWT_SIGNING_KEY):
            found.append(Error("JWT_SIGNING_KEY is too easy to guess.", hint=_RANDOM_TEXT, id="config.E002"))
    return found


def _is_guessable(secret: str) -> bool:
    return len(secret.encode()) < _SHORTEST_SECRET or len(set(secret)) < _FEWEST_CHARACTERS


def _signing_hint() -> str:
    if settings.JWT_ALGORITHM not in tokens.ALGORITHMS:
        return f"Set JWT_ALGORITHM to one of {', '.join(tokens.ALGORITHMS)}."
    if settings.JWT_ALGORITHM == "HS256":
        return _RANDOM_TEXT
    return r"Set it to a private key in PEM, in one line with \n between: openssl genpkey -algorithm ed25519"


@register(Tags.security)
def identity_provider_is_sound(**_: Any) -> list[CheckMessage]:
    """An identity provider whose tokens cannot be checked, or whose keys anybody on the way could change: E004."""
    if not settings.IDENTITY_ISSUER:
        return []
    if settings.IDENTITY_JWKS_URL:
        if settings.DEBUG or settings.IDENTITY_JWKS_URL.startswith("https://"):
            return []
        return [Error("IDENTITY_JWKS_URL is not https.", hint="Name an https address.", id="config.E004")]
    try:
        tokens.provider_key()
    except tokens.KeyUnusable as error:
        hint = "Set IDENTITY_KEY to the provider's public key in PEM, or IDENTITY_JWKS_URL, and IDENTITY_ALGORITHM."
        return [Error(f"IDENTITY_KEY cannot be used: {error}.", hint=hint, id="config.E004")]
    return []


@register()
def channel_layer_waits(**_: Any) -> list[CheckMessage]:
    """redis-py gives up after 5 silent seconds unless told otherwise, which closes every idle WebSocket: E003."""
    layers: dict[str, dict[str, Any]] = settings.CHANNEL_LAYERS
    hosts = [
        host
        for layer in layers.values()
        for host in layer.get("CONFIG", {}).get("hosts", [])
        if not isinstance(host, dict) or host.get("socket_timeout", 0) is not None
    ]
    return [
        Error(
            f"The channel layer host {_address(host)} would be cut off after 5 silent seconds.",
            hint='Write it as {"address": url, "socket_timeout": None} in CHANNEL_LAYERS.',
            id="config.E003",
        )
        for host in hosts
    ]


def _address(host: Any) -> str:
    address = str(host["address"] if isinstance(host, dict) else host)
    # Whatever stands before the @ may be a password.
    return address.rpartition("@")[2]
