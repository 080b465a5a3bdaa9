"""The tokens of links to shared runs.

A row keeps a number drawn at random and the hash of the token. The token itself comes of that number and the server's
secret, so that who has only the rows has no link.
"""

import hashlib
from uuid import UUID

from django.utils.crypto import salted_hmac

_SALT = "executions.links"


def token_of(nonce: UUID) -> str:
    """The token that the server's secret makes of a number: a random UUID to whoever does not know the secret."""
    made = salted_hmac(_SALT, nonce.hex, algorithm="sha256").digest()
    return str(UUID(bytes=made[:16], version=4))


def digest_of(token: str) -> str:
    """The hash by which a token is found."""
    return hashlib.sha256(token.encode()).hexdigest()
