"""People whom an identity provider vouches for."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import jwt
import pytest
from django.db import connections
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import jwks, services
from accounts.models import Identity, User
from tests import make
from tests.accounts.keys import ISSUER, a_private_key, identity_claims, private_pem, public_pem, published
from tests.accounts.test_api import whoami


def identity_token(algorithm: str = "RS256", number: int = 0, kid: str | None = None, **claims: Any) -> str:
    key = private_pem(a_private_key(algorithm, number))
    return jwt.encode(identity_claims(**claims), key, algorithm, headers={"kid": kid} if kid else None)


@pytest.fixture(autouse=True)
def provider(settings: Settings) -> None:
    settings.IDENTITY_ISSUER = ISSUER
    settings.IDENTITY_ALGORITHM = "RS256"
    settings.IDENTITY_KEY = public_pem(a_private_key("RS256"))


def test_the_first_token_makes_the_user_and_the_next_ones_find_it(anonymous: APIClient) -> None:
    first = whoami(anonymous, identity_token(name="Ada"))
    assert first.status_code == 200
    assert (first.json()["email"], first.json()["name"], first.json()["role"]) == ("ada@example.com", "Ada", "user")

    # What the provider says later does not change the account.
    second = whoami(anonymous, identity_token(email="other@example.com", name="Other"))
    assert second.json() == first.json()
    assert (User.objects.count(), Identity.objects.count()) == (1, 1)
    assert not User.objects.get().has_usable_password()


def test_a_token_of_the_provider_opens_every_operation(anonymous: APIClient) -> None:
    answer = anonymous.get("/api/graphs", headers={"Authorization": f"Bearer {identity_token()}"})
    assert (answer.status_code, answer.json()) == (200, [])


def test_the_users_id_is_the_providers_where_it_is_one_and_free(anonymous: APIClient) -> None:
    own, taken = str(uuid4()), str(make.a_user().pk)
    assert whoami(anonymous, identity_token(sub=own)).json()["id"] == own
    assert whoami(anonymous, identity_token(sub=taken, email="b@example.com")).json()["id"] != taken


def test_a_role_in_the_token_gives_no_rights(anonymous: APIClient) -> None:
    assert whoami(anonymous, identity_token(role="admin")).json()["role"] == "user"


@pytest.mark.parametrize("algorithm", ["HS256", "EdDSA", "ES256"])
def test_the_provider_may_sign_otherwise(anonymous: APIClient, settings: Settings, algorithm: str) -> None:
    settings.IDENTITY_ALGORITHM = algorithm
    if algorithm == "HS256":
        settings.IDENTITY_KEY = key = "a secret that is shared with the provider"
    else:
        settings.IDENTITY_KEY, key = public_pem(a_private_key(algorithm)), private_pem(a_private_key(algorithm))
    assert whoami(anonymous, jwt.encode(identity_claims(), key, algorithm)).status_code == 200
    assert whoami(anonymous, identity_token()).status_code == 401


def test_an_email_that_somebody_has_is_not_taken_over(anonymous: APIClient) -> None:
    ada = make.a_user("ada@example.com")
    answer = whoami(anonymous, identity_token())
    assert (answer.status_code, answer.json()["code"]) == (401, "email_of_another_account")
    assert (User.objects.count(), Identity.objects.count()) == (1, 0)

    Identity.objects.create(user=ada, issuer=ISSUER, subject="auth|ada")
    assert whoami(anonymous, identity_token()).json()["id"] == str(ada.pk)


@pytest.mark.parametrize(
    "claims",
    [
        {"email": None},
        {"email": ""},
        {"email": "no address"},
        {"email": ["ada@example.com"]},
        {"email": "a" * 250 + "@example.com"},
        {"email_verified": False},
    ],
)
def test_a_token_that_says_too_little_makes_nobody(anonymous: APIClient, claims: dict[str, Any]) -> None:
    answer = whoami(anonymous, identity_token(**claims))
    assert (answer.status_code, answer.json()["code"]) == (401, "identity_refused")
    assert User.objects.count() == 0


def test_a_user_who_is_switched_off_is_not_made_anew(anonymous: APIClient) -> None:
    whoami(anonymous, identity_token())
    User.objects.update(is_active=False)
    assert whoami(anonymous, identity_token()).json()["code"] == "token_refused"
    assert whoami(anonymous, identity_token(email="new@example.com")).json()["code"] == "token_refused"
    assert User.objects.count() == 1


def test_without_a_provider_in_the_settings_its_tokens_are_worthless(anonymous: APIClient, settings: Settings) -> None:
    settings.IDENTITY_ISSUER = ""
    assert whoami(anonymous, identity_token()).status_code == 401
    assert whoami(anonymous, identity_token(iss="")).status_code == 401


def test_a_provider_without_a_key_proves_nothing(anonymous: APIClient, settings: Settings) -> None:
    settings.IDENTITY_KEY = ""
    assert whoami(anonymous, identity_token()).status_code == 401


def test_a_token_of_the_provider_cannot_be_refreshed_or_logged_out_here(anonymous: APIClient) -> None:
    token = identity_token()
    answer = anonymous.post("/api/auth/token/refresh", {"refresh": token}, format="json")
    assert answer.json()["code"] == "token_refused"
    answer = anonymous.post("/api/auth/logout", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_our_login")


@pytest.mark.django_db(transaction=True)
def test_twenty_first_uses_at_once_make_one_user() -> None:
    token = identity_token()

    def use(_: int) -> str:
        try:
            return str(services.session_of(token).user.pk)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(use, range(20)))
    assert found == {str(User.objects.get().pk)}


class Published:
    """A provider's JWKS on the loopback address: what it answers, and how often it was asked."""

    def __init__(self) -> None:
        self.body: bytes = b""
        self.status = 200
        self.asked = 0
        shown = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shown.asked += 1
                self.send_response(shown.status)
                self.send_header("Content-Length", str(len(shown.body)))
                self.end_headers()
                self.wfile.write(shown.body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def show(self, *keys: dict[str, Any]) -> None:
        self.body = json.dumps({"keys": keys}).encode()


@pytest.fixture
def keys(settings: Settings) -> Iterator[Published]:
    shown = Published()
    thread = threading.Thread(target=shown.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    settings.IDENTITY_JWKS_URL = f"http://127.0.0.1:{shown.server.server_address[1]}/jwks.json"
    yield shown
    shown.server.shutdown()
    shown.server.server_close()
    thread.join()


def test_published_keys_are_read_once_and_picked_by_their_id(anonymous: APIClient, keys: Published) -> None:
    keys.show(published("RS256", "a"), published("RS256", "b", 1), published("ES256", "c"))
    assert whoami(anonymous, identity_token(kid="a")).status_code == 200
    assert whoami(anonymous, identity_token(kid="b", number=1)).status_code == 200
    for forged in (
        identity_token(kid="b"),
        identity_token(kid="c"),
        identity_token("ES256", kid="c"),
        identity_token(kid="nobody's"),
        identity_token(),
    ):
        assert whoami(anonymous, forged).json()["code"] == "token_refused"
    assert keys.asked == 1


def test_a_token_without_a_key_id_means_the_only_key(anonymous: APIClient, keys: Published) -> None:
    keys.show(published("RS256", "a"))
    assert whoami(anonymous, identity_token()).status_code == 200


def test_a_new_key_is_found_soon_and_unknown_ones_do_not_ask_each_time(
    anonymous: APIClient, keys: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.show(published("RS256", "a"))
    assert whoami(anonymous, identity_token(kid="a")).status_code == 200
    keys.show(published("RS256", "b", 1))
    for _ in range(5):
        assert whoami(anonymous, identity_token(kid="b", number=1)).status_code == 401
    assert keys.asked == 1

    monkeypatch.setattr(jwks, "RETRY_SECONDS", 0.0)
    assert whoami(anonymous, identity_token(kid="b", number=1)).status_code == 200
    # A key that is published no longer is worthless.
    assert whoami(anonymous, identity_token(kid="a")).status_code == 401


def test_while_the_provider_is_away_known_keys_stay_good(
    anonymous: APIClient, keys: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "KEEP_SECONDS", 0.0)
    keys.show(published("RS256", "a"))
    assert whoami(anonymous, identity_token(kid="a")).status_code == 200
    keys.status = 500
    assert whoami(anonymous, identity_token(kid="a")).status_code == 200
    assert keys.asked == 2


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"keys": [5]}', b'{"keys": [{"kty": "RSA"}]}', b"[" * 1000])
def test_a_provider_whose_keys_were_never_read_is_503(anonymous: APIClient, keys: Published, body: bytes) -> None:
    keys.body = body
    answer = whoami(anonymous, identity_token(kid="a"))
    assert (answer.status_code, answer.json()["code"]) == (503, "identity_provider_unavailable")
    assert User.objects.count() == 0


def test_a_published_secret_is_no_key(anonymous: APIClient, keys: Published, settings: Settings) -> None:
    settings.IDENTITY_ALGORITHM = "HS256"
    keys.show({"kty": "oct", "k": "c2VjcmV0" * 8, "kid": "a", "alg": "HS256"})
    token = jwt.encode(identity_claims(), b"secret" * 8, "HS256", headers={"kid": "a"})
    assert whoami(anonymous, token).status_code == 503
