"""Signed tokens: making ours, and reading ours and those of an outside identity provider.

A token is checked with the one key and the one algorithm that the settings give its issuer. Nothing in its header is
followed: it cannot choose an algorithm, bring a key or say where one is; `kid` only picks among the provider's own.
"""

import math
import time
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from django.conf import settings
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError

from accounts.errors import TokenRefused, TokenWithoutSubject
from accounts.jwks import published_key

ISSUER = "taskloom"
AUDIENCE = "authenticated"
ALGORITHMS = ("HS256", "EdDSA", "RS256", "ES256")
SHORTEST_SECRET = 32
SHORTEST_RSA_BITS = 2048
# How far the clocks of those who issue and read a token may be apart.
LEEWAY_SECONDS = 10
LONGEST_TOKEN = 8192
_REQUIRED = ["exp", "iat", "aud", "iss"]


class Kind(StrEnum):
    """What one of our tokens is for; a provider's are all for access."""

    ACCESS = "access"
    REFRESH = "refresh"


class KeyUnusable(ValueError):
    """The settings' key does not fit their algorithm, or is too weak."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token proves: whose it is, until when, and that `issuer` says so."""

    subject: str
    issuer: str
    until: datetime
    payload: Mapping[str, Any]

    @property
    def are_ours(self) -> bool:
        """Whether this platform issued the token."""
        return self.issuer == ISSUER


def sign(kind: Kind, subject: str, seconds: int, **claims: Any) -> str:
    """A token of ours for `subject`, good for `seconds`; raises `KeyUnusable`."""
    now = int(datetime.now(UTC).timestamp())
    payload = {
        "sub": subject,
        "iat": now,
        "exp": now + seconds,
        "jti": uuid4().hex,
        "token_type": kind.value,
        **claims,
    }
    return _own_backend(settings.JWT_ALGORITHM, settings.JWT_SIGNING_KEY).encode(payload)


def read(token: str, kind: Kind) -> Claims:
    """What a good token of this kind says; raises `TokenRefused`, `TokenWithoutSubject` when it names nobody.

    Raises `IdentityProviderUnavailable` while the key to check it with cannot be had.
    """
    if len(token) > LONGEST_TOKEN:
        raise TokenRefused
    try:
        issuer = _claimed_issuer(token)
        if issuer == ISSUER:
            payload = _own_payload(token, settings.JWT_ALGORITHM, settings.JWT_SIGNING_KEY)
            is_of_kind = payload.get("token_type") == kind
        elif issuer and issuer == settings.IDENTITY_ISSUER:
            audience, algorithm = settings.IDENTITY_AUDIENCE, settings.IDENTITY_ALGORITHM
            payload = _decode(token, _provider_key(token), algorithm, audience, issuer)
            is_of_kind = kind is Kind.ACCESS
        else:
            raise TokenRefused
        _check_times(payload)
        # Some numbers that JSON can hold are no times.
        until = datetime.fromtimestamp(payload["exp"], UTC)
    except (jwt.PyJWTError, TokenBackendError, KeyError, TypeError, ValueError, OverflowError, RecursionError, OSError):
        raise TokenRefused from None
    subject = payload.get("sub")
    if not subject:
        raise TokenWithoutSubject
    if not is_of_kind or not isinstance(subject, str) or len(subject) > 255 or "\0" in subject:
        raise TokenRefused
    return Claims(subject, issuer, until, payload)


def own_keys() -> tuple[Any, Any]:
    """The keys to sign and to check our tokens with; raises `KeyUnusable`."""
    return _own_keys(settings.JWT_ALGORITHM, settings.JWT_SIGNING_KEY)


def provider_key() -> Any:
    """The key in the settings to check the identity provider's tokens with; raises `KeyUnusable`."""
    return _checking_key(settings.IDENTITY_ALGORITHM, settings.IDENTITY_KEY)


def _provider_key(token: str) -> Any:
    if not settings.IDENTITY_JWKS_URL:
        return provider_key()
    return published_key(
        settings.IDENTITY_JWKS_URL, settings.IDENTITY_ALGORITHM, jwt.get_unverified_header(token).get("kid")
    )


def _decode(token: str, key: Any, algorithm: str, audience: str, issuer: str) -> dict[str, Any]:
    payload: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=[algorithm],
        audience=audience,
        issuer=issuer,
        leeway=LEEWAY_SECONDS,
        # Whether the subject is there is told apart from all other faults.
        options={"require": _REQUIRED, "verify_sub": False, "enforce_minimum_key_length": True},
    )
    return payload


def _claimed_issuer(token: str) -> Any:
    """Who the token says it is from, which only tells what to check it with; raises `ValueError`."""
    _, payload, _ = token.split(".")
    claims = orjson.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims.get("iss") if isinstance(claims, dict) else None


# That we have signed a token never changes; whether it has expired is asked each time.
@lru_cache(maxsize=1024)
def _own_payload(token: str, algorithm: str, key: str) -> Mapping[str, Any]:
    backend = _own_backend(algorithm, key)
    return MappingProxyType(backend.decode(token))  # type: ignore[arg-type]  # it takes the text, whatever it says


def _check_times(payload: Mapping[str, Any]) -> None:
    if not all(isinstance(payload[name], (int, float)) and math.isfinite(payload[name]) for name in ("exp", "iat")):
        raise TokenRefused
    if payload["exp"] <= time.time() - LEEWAY_SECONDS:
        raise TokenRefused


@lru_cache(maxsize=8)
def _own_backend(algorithm: str, text: str) -> TokenBackend:
    private, public = _own_keys(algorithm, text)
    return TokenBackend(algorithm, private, public, audience=AUDIENCE, issuer=ISSUER, leeway=LEEWAY_SECONDS)


@lru_cache(maxsize=8)
def _own_keys(algorithm: str, text: str) -> tuple[Any, Any]:
    if algorithm == "HS256":
        return (secret := _secret(text)), secret
    try:
        private: Any = load_pem_private_key(_pem(text), password=None)
    except (ValueError, TypeError) as error:
        raise KeyUnusable(f"it is no private key in PEM without a password ({error})") from None
    _check_fits(algorithm, private)
    return private, private.public_key()


@lru_cache(maxsize=8)
def _checking_key(algorithm: str, text: str) -> Any:
    if algorithm == "HS256":
        return _secret(text)
    try:
        public: Any = load_pem_public_key(_pem(text))
    except ValueError as error:
        raise KeyUnusable(f"it is no public key in PEM ({error})") from None
    _check_fits(algorithm, public)
    return public


def _secret(text: str) -> bytes:
    if len(text.encode()) < SHORTEST_SECRET:
        raise KeyUnusable(f"it is shorter than {SHORTEST_SECRET} bytes")
    # A public key is no secret: whoever knows it could sign.
    if "-----BEGIN" in text:
        raise KeyUnusable("HS256 takes a random text, not a key in PEM")
    return text.encode()


def _pem(text: str) -> bytes:
    # An environment file holds one line for each variable.
    return text.replace("\\n", "\n").encode()


def _check_fits(algorithm: str, key: Any) -> None:
    match key:
        case Ed25519PrivateKey() | Ed25519PublicKey():
            fits = algorithm == "EdDSA"
        case EllipticCurvePrivateKey() | EllipticCurvePublicKey():
            fits = algorithm == "ES256" and isinstance(key.curve, SECP256R1)
        case RSAPrivateKey() | RSAPublicKey():
            fits = algorithm == "RS256"
            if fits and key.key_size < SHORTEST_RSA_BITS:
                raise KeyUnusable(f"it has {key.key_size} bits; RSA needs at least {SHORTEST_RSA_BITS}")
        case _:
            fits = False
    if not fits:
        raise KeyUnusable(f"it is no key for {algorithm}, which is one of {', '.join(ALGORITHMS)}")
