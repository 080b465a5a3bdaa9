"""Keys to sign tokens with, and the tokens of an identity provider."""

import json
import time
from base64 import urlsafe_b64encode
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ISSUER = "https://identity.example/auth"


def a_private_key(algorithm: str, number: int = 0) -> Any:
    """A key that fits the algorithm; another one for each number."""
    return _private_key(algorithm, number)


@cache
def _private_key(algorithm: str, number: int) -> Any:
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def private_pem(key: Any) -> str:
    """The key as an environment variable has it."""
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return str(pem.decode())


def public_pem(key: Any) -> str:
    """Its public half."""
    public = key.public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return str(pem.decode())


def published(algorithm: str, kid: str, number: int = 0) -> dict[str, Any]:
    """Its public half, as a JWKS has it."""
    public = jwt.get_algorithm_by_name(algorithm)
    shown: Any = public.to_jwk(a_private_key(algorithm, number).public_key(), as_dict=True)
    return {**shown, "kid": kid, "alg": algorithm, "use": "sig"}


def identity_claims(**claims: Any) -> dict[str, Any]:
    """What a good token of the provider says, but for the claims given; None leaves one out."""
    now = int(time.time())
    good = {"sub": "auth|ada", "email": "Ada@Example.com", "aud": "authenticated", "iss": ISSUER, "iat": now}
    return {key: value for key, value in {**good, "exp": now + 600, **claims}.items() if value is not None}


def written_by_hand(header: dict[str, Any], payload: Any, signature: bytes = b"") -> str:
    """A token that no library would make."""
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
