"""What `manage.py check` verifies of the settings, each finding with an id and a cure."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

_SHORTEST_SECRET = 32
_FEWEST_CHARACTERS = 12


@register(Tags.security)
def secrets_are_strong(**_: Any) -> list[CheckMessage]:
    """A secret that can be guessed signs anybody's tokens: E001 for sessions, E002 for access tokens."""
    found: list[CheckMessage] = []
    for identity, variable, value in (
        ("config.E001", "DJANGO_SECRET_KEY", str(settings.SECRET_KEY)),
        ("config.E002", "JWT_SIGNING_KEY", str(settings.SIMPLE_JWT["SIGNING_KEY"])),
    ):
        if len(value.encode()) < _SHORTEST_SECRET or len(set(value)) < _FEWEST_CHARACTERS:
            found.append(
                Error(
                    f"{variable} is too easy to guess.",
                    hint="Set it to the output of: python -c 'import secrets; print(secrets.token_urlsafe(64))'",
                    id=identity,
                ),
            )
    return found


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
