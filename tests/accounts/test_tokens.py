"""Tokens that prove nothing: each way to forge or twist one, and that none gets in."""

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from datetime import timedelta
from typing import Any

import jwt
import pytest
import time_machine
from django.conf import settings as django_settings
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import services, tokens
from accounts.models import Login, User
from accounts.tokens import Kind
from tests import make
from tests.accounts.keys import ISSUER, a_private_key, identity_claims, private_pem, public_pem, written_by_hand
from tests.accounts.test_api import signed, whoami

WRONG_CLAIMS: dict[str, dict[str, Any]] = {
    "expired": {"exp": int(time.time()) - 3600},
    "expired longer ago than clocks differ": {"exp": int(time.time()) - 11},
    "not valid yet": {"nbf": int(time.time()) + 3600},
    "issued in the future": {"iat": int(time.time()) + 3600},
    "without an end": {"exp": None},
    "without a beginning": {"iat": None},
    "an end that is a word": {"exp": "tomorrow"},
    "an end in a list": {"exp": [int(time.time()) + 60]},
    "an end after all years": {"exp": 10**15},
    "an end of many digits": {"exp": 10**400},
    "an infinite end": {"exp": float("inf")},
    "an end that is no number": {"exp": float("nan")},
    "a beginning that is a word": {"iat": "yesterday"},
    "another audience": {"aud": "somebody else"},
    "a part of the audience": {"aud": "authenticate"},
    "no audience": {"aud": None},
    "an empty audience": {"aud": []},
    "another issuer": {"iss": "https://elsewhere.example"},
    "no issuer": {"iss": None},
    "an empty issuer": {"iss": ""},
    "an issuer in a list": {"iss": ["taskloom"]},
    "the provider's issuer under our key": {"iss": ISSUER},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a subject that is no id": {"sub": "not an id"},
    "a subject that is a number": {"sub": 1},
    "a subject in a list": {"sub": ["x"]},
    "a subject with a quote": {"sub": "' OR true --"},
    "a subject with a NUL": {"sub": "a\0b"},
    "a subject that nobody has": {"sub": "01a202a8-0000-7000-8000-000000000000"},
    "a refresh token": {"token_type": "refresh"},
    "of another kind": {"token_type": "ACCESS"},
    "of no kind": {"token_type": None},
    "of no login": {"login": None},
    "of a login that is no id": {"login": "x"},
    "of a login that never was": {"login": "01a202a8-0000-7000-8000-000000000000"},
    "huge": {"padding": "x" * 9000},
}


def hmac_token(header: dict[str, Any], payload: dict[str, Any], key: bytes) -> str:
    """A token signed with whatever is known, also what libraries refuse as a key."""
    unsigned = written_by_hand(header, payload).rstrip(".")
    return f"{unsigned}.{_base64(hmac.new(key, unsigned.encode(), hashlib.sha256).digest())}"


def _base64(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def forgeries(good: str) -> dict[str, str]:
    """Tokens that nobody with a key made, for the owner of a good one."""
    claims = jwt.decode(good, options={"verify_signature": False})
    provider = identity_claims()
    head, body, signature = good.split(".")
    public = public_pem(a_private_key("RS256")).encode()
    promoted = _base64(json.dumps({**claims, "role": "admin"}).encode())
    stranger = private_pem(a_private_key("RS256", 1))
    twice = b'{"alg":"HS256","alg":"none"}'
    jwk = {"kty": "oct", "k": _base64(b"attacker" * 4), "kid": "x"}
    return {
        "empty": "",
        "nonsense": "nonsense",
        "two parts": f"{head}.{body}",
        "five parts": f"{good}.a.b",
        "only dots": "..",
        "without its signature": f"{head}.{body}.",
        "another signature": f"{head}.{body}.{_base64(b'0' * 32)}",
        "a shortened signature": f"{head}.{body}.{signature[:-4]}",
        "another body under the signature": f"{head}.{promoted}.{signature}",
        "alg none": jwt.encode(claims, "", algorithm="none"),
        "alg None": written_by_hand({"alg": "None"}, claims),
        "alg nOnE with a signature": written_by_hand({"alg": "nOnE"}, claims, b"x"),
        "no alg": written_by_hand({"typ": "JWT"}, claims),
        "alg a list": written_by_hand({"alg": ["HS256"]}, claims),
        "alg twice": f"{_base64(twice)}.{body}.",
        "a header that is no object": written_by_hand([], claims),  # type: ignore[arg-type]
        "a body that is no object": hmac_token({"alg": "HS256"}, [], b"k" * 32),  # type: ignore[arg-type]
        "deeply nested": f"{_base64(b'[' * 3000)}.{body}.{signature}",
        "HS512 with our secret": jwt.encode(claims, django_settings.JWT_SIGNING_KEY, "HS512"),
        "a known secret": jwt.encode(claims, "secret" * 8, "HS256"),
        "an empty secret": hmac_token({"alg": "HS256"}, claims, b""),
        "a stranger's RSA key": jwt.encode(claims, stranger, "RS256"),
        "its key in the header": jwt.encode(claims, b"attacker" * 4, "HS256", headers={"jwk": jwk}),
        "its key at an address": jwt.encode(
            claims, stranger, "RS256", headers={"jku": "https://evil.example/jwks", "kid": "x"}
        ),
        "a certificate in the header": jwt.encode(claims, stranger, "RS256", headers={"x5c": ["MII"], "x5u": "x"}),
        "a kid that is a path": jwt.encode(claims, b"\0" * 32, "HS256", headers={"kid": "../../dev/null"}),
        "a kid that is SQL": jwt.encode(claims, b"x" * 32, "HS256", headers={"kid": "' UNION SELECT 'x"}),
        "an unknown critical header": jwt.encode(
            claims, django_settings.JWT_SIGNING_KEY, "HS256", headers={"crit": ["exp"], "exp": 1}
        ),
        "the provider's public key as a secret": hmac_token({"alg": "HS256"}, provider, public),
        "the provider's claims, alg none": jwt.encode(provider, "", algorithm="none"),
        "the provider's claims under our secret": jwt.encode(provider, django_settings.JWT_SIGNING_KEY, "HS256"),
        "the provider's claims by a stranger": jwt.encode(provider, stranger, "RS256"),
        "the provider's claims by another algorithm": jwt.encode(
            provider, private_pem(a_private_key("ES256")), "ES256"
        ),
        "the provider's key as RS512": jwt.encode(provider, private_pem(a_private_key("RS256")), "RS512"),
        "our claims by the provider's key": jwt.encode(claims, private_pem(a_private_key("RS256")), "RS256"),
        "letters that are no letters": good.replace("e", "е", 1),  # noqa: RUF001  a Cyrillic one
        "a byte too many": f"{good} x",
    }


@pytest.fixture
def provider(settings: Settings) -> None:
    """An identity provider with an RSA key is configured beside our own secret."""
    settings.IDENTITY_ISSUER = ISSUER
    settings.IDENTITY_ALGORITHM = "RS256"
    settings.IDENTITY_KEY = public_pem(a_private_key("RS256"))


@pytest.mark.usefixtures("provider")
def test_of_all_forged_and_twisted_tokens_none_gets_in(anonymous: APIClient) -> None:
    user = make.a_user("ada@example.com")
    good = services.issue_tokens(user).access
    login = jwt.decode(good, options={"verify_signature": False})["login"]
    corpus = forgeries(good)
    for name, claims in WRONG_CLAIMS.items():
        corpus[name] = signed(**{"sub": str(user.pk), "login": login, **claims})
    corpus["a refresh token as it is"] = services.issue_tokens(user).refresh
    before = (User.objects.count(), Login.objects.count())

    answers = {name: whoami(anonymous, token) for name, token in corpus.items()}

    wrong = {name: answer.status_code for name, answer in answers.items() if answer.status_code != 401}
    assert (len(corpus), wrong) == (75, {})
    assert {answer.json()["code"] for answer in answers.values()} == {"token_refused", "token_without_subject"}
    assert (User.objects.count(), Login.objects.count()) == before
    assert whoami(anonymous, good).status_code == 200


def test_tokens_of_those_who_may_not_come_in_any_more_are_refused(anonymous: APIClient) -> None:
    gone, off, other = make.a_user(), make.a_user(), make.a_user()
    of_gone, of_off = services.issue_tokens(gone).access, services.issue_tokens(off).access
    gone.delete()
    User.objects.filter(pk=off.pk).update(is_active=False)
    login = services.issue_tokens(other)
    claims = jwt.decode(login.access, options={"verify_signature": False})
    of_another_login = signed(**{**claims, "sub": str(make.a_user().pk)})
    answers = [whoami(anonymous, token) for token in (of_gone, of_off, of_another_login)]
    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert {answer.json()["code"] for answer in answers} == {"token_refused"}


def test_clocks_may_differ_by_a_few_seconds(anonymous: APIClient) -> None:
    user = make.a_user()
    claims = jwt.decode(services.issue_tokens(user).access, options={"verify_signature": False})
    now = int(time.time())
    assert whoami(anonymous, signed(**{**claims, "iat": now + 5})).status_code == 200
    assert whoami(anonymous, signed(**{**claims, "exp": now - 5})).status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic abc", "Token x", "bearer  "])
def test_a_header_without_a_token_is_nobody(anonymous: APIClient, header: str) -> None:
    answer = anonymous.post("/api/auth/user", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("algorithm", ["EdDSA", "RS256", "ES256"])
@pytest.mark.parametrize("line_break", ["\n", "\\n"])
def test_tokens_can_be_signed_with_a_private_key(
    anonymous: APIClient, settings: Settings, algorithm: str, line_break: str
) -> None:
    settings.JWT_ALGORITHM = algorithm
    settings.JWT_SIGNING_KEY = private_pem(a_private_key(algorithm)).replace("\n", line_break)
    pair = services.issue_tokens(make.a_user())
    assert jwt.get_unverified_header(pair.access)["alg"] == algorithm
    checked = jwt.decode(
        pair.access, public_pem(a_private_key(algorithm)), algorithms=[algorithm], audience="authenticated"
    )
    assert (checked["aud"], checked["role"]) == ("authenticated", "user")
    assert whoami(anonymous, pair.access).status_code == 200
    assert anonymous.post("/api/auth/token/refresh", {"refresh": pair.refresh}, format="json").status_code == 200

    by_public_key = hmac_token({"alg": "HS256"}, checked, public_pem(a_private_key(algorithm)).encode())
    by_another = jwt.encode(checked, private_pem(a_private_key(algorithm, 1)), algorithm)
    for forged in (by_public_key, by_another, jwt.encode(checked, "", algorithm="none")):
        assert whoami(anonymous, forged).json()["code"] == "token_refused"


@pytest.mark.parametrize(
    ("algorithm", "key", "problem"),
    [
        ("HS256", "x" * 31, "it is shorter than 32 bytes"),
        ("HS256", public_pem(a_private_key("EdDSA")), "HS256 takes a random text, not a key in PEM"),
        ("EdDSA", "x" * 64, "it is no private key in PEM"),
        ("EdDSA", public_pem(a_private_key("EdDSA")), "it is no private key in PEM"),
        ("EdDSA", private_pem(a_private_key("RS256")), "it is no key for EdDSA"),
        ("RS256", private_pem(a_private_key("ES256")), "it is no key for RS256"),
        ("none", private_pem(a_private_key("EdDSA")), "it is no key for none, which is one of HS256, EdDSA"),
    ],
)
def test_a_key_that_does_not_fit_signs_nothing(settings: Settings, algorithm: str, key: str, problem: str) -> None:
    settings.JWT_ALGORITHM, settings.JWT_SIGNING_KEY = algorithm, key
    with pytest.raises(tokens.KeyUnusable, match=problem):
        tokens.sign(Kind.ACCESS, "x", 60)


def test_a_token_that_was_good_before_is_refused_once_it_has_expired(anonymous: APIClient) -> None:
    user = make.a_user()
    access = services.issue_tokens(user).access
    anonymous.credentials(HTTP_AUTHORIZATION=f"Bearer {access}")
    assert [anonymous.post("/api/auth/user").status_code for _ in range(2)] == [200, 200]
    with time_machine.travel(timezone.now() + timedelta(seconds=services.ACCESS_SECONDS + 9)):
        assert anonymous.post("/api/auth/user").status_code == 200
    with time_machine.travel(timezone.now() + timedelta(seconds=services.ACCESS_SECONDS + 11)):
        answer = anonymous.post("/api/auth/user")
    assert (answer.status_code, answer.json()["code"]) == (401, "token_refused")
