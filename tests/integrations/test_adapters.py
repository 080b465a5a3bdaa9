"""Whose deliveries are believed: vectors of the schemes' own documents, and forgeries."""

import gzip
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from core.errors import DomainError
from integrations import adapters, services
from integrations.errors import HeaderUnusable, SignatureRefused
from integrations.kinds import Event
from integrations.models import Webhook
from tests.integrations.signing import JSON, github, hmac_by_openssl, standard

SECRET = "5ca1ab1e" * 8
OTHER = "f005ba11" * 8
BODY = b'{"action": "opened", "number": 7}'
NOW = int(time.time())

Headers = dict[str, str]


def a_webhook(provider: str, **fields: Any) -> Webhook:
    return Webhook(provider=provider, webhook_type="plain", secret=SECRET, **fields)


HUB = a_webhook("github")
SIGNED = a_webhook("generic_webhook", config={"signed": True})
OPEN = a_webhook("generic_webhook")


def test_github_s_own_example_is_accepted() -> None:
    headers = {
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": "1",
        "X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    }
    secret, body = "It's a Secret to Everybody", b"Hello, World!"
    assert adapters.github(headers, body, [secret], timezone.now()) == Event("push", "1", body)


def test_the_example_of_standard_webhooks_is_accepted_for_five_minutes() -> None:
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1a,other v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    body, secrets = b'{"test": 2432232314}', ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
    at = datetime.fromtimestamp(1614265330, tz=UTC)
    for seconds in (-300, 0, 300):
        event = adapters.generic(headers, body, secrets, at + timedelta(seconds=seconds))
        assert event == Event("plain", "msg_p5jXN8AQM9LWM0D4loKWxJek", body)
    for seconds in (-301, 301):
        with pytest.raises(SignatureRefused, match="more than 5 minutes away"):
            adapters.generic(headers, body, secrets, at + timedelta(seconds=seconds))


def test_events_are_named_as_their_provider_does() -> None:
    assert services.verify(HUB, github(SECRET, BODY, event="issues"), BODY) == Event("issues.opened", "72d3162e", BODY)
    push = b'{"ref": "main", "action": ["not", "a", "word"]}'
    assert services.verify(HUB, github(SECRET, push), push).kind == "push"
    ping = services.verify(HUB, github(SECRET, BODY, event="ping"), BODY)
    assert ping.is_test
    assert services.verify(SIGNED, standard(SECRET, BODY), BODY) == Event("plain", "msg_1", BODY)


def test_who_sends_to_an_open_webhook_may_name_the_delivery() -> None:
    named = {"webhook-id": "a", "Idempotency-Key": "b"}
    assert services.verify(OPEN, JSON, BODY).delivery_id is None
    assert services.verify(OPEN, JSON | {"Idempotency-Key": "b"}, BODY).delivery_id == "b"
    assert services.verify(OPEN, JSON | named, BODY).delivery_id == "a"
    cloud = {"Content-Type": "application/cloudevents+json; charset=utf-8", "Content-Encoding": "identity"}
    assert services.verify(OPEN, cloud, BODY).payload == BODY


@pytest.mark.parametrize("webhook", [HUB, SIGNED], ids=["github", "standard"])
def test_while_secrets_change_either_is_good(webhook: Webhook) -> None:
    sign: Callable[[str, bytes], Headers] = github if webhook is HUB else standard
    until = timezone.now() + timedelta(hours=1)
    changing = a_webhook(webhook.provider, config=webhook.config, previous_secret=OTHER, previous_secret_until=until)
    for secret in (SECRET, OTHER):
        assert services.verify(changing, sign(secret, BODY), BODY).payload == BODY
    changing.previous_secret_until = timezone.now()
    with pytest.raises(SignatureRefused):
        services.verify(changing, sign(OTHER, BODY), BODY)


# --- Forgeries --------------------------------------------------------------------------------------------------

HONEST_GITHUB = github(SECRET, BODY)
HONEST_STANDARD = standard(SECRET, BODY, at=NOW)
_MAC = HONEST_GITHUB["X-Hub-Signature-256"]
_V1 = HONEST_STANDARD["webhook-signature"]


def without(headers: Mapping[str, str], name: str) -> Headers:
    return {key: value for key, value in headers.items() if key != name}


def github_by_key(key: bytes, body: bytes) -> Headers:
    return HONEST_GITHUB | {"X-Hub-Signature-256": f"sha256={hmac_by_openssl(key, body).hex()}"}


FORGERIES_OF_GITHUB: dict[str, tuple[Headers, bytes, int]] = {
    "unsigned": (without(HONEST_GITHUB, "X-Hub-Signature-256"), BODY, 403),
    "empty signature": (HONEST_GITHUB | {"X-Hub-Signature-256": ""}, BODY, 403),
    "signature without digits": (HONEST_GITHUB | {"X-Hub-Signature-256": "sha256="}, BODY, 403),
    "another secret": (github(OTHER, BODY), BODY, 403),
    "the secret read as base64": (github_by_key(b64decode(SECRET), BODY), BODY, 403),
    "another body": (HONEST_GITHUB, BODY.replace(b"7", b"8"), 403),
    "a space more": (HONEST_GITHUB, BODY + b" ", 403),
    "empty body": (HONEST_GITHUB, b"", 403),
    "a digit less": (HONEST_GITHUB | {"X-Hub-Signature-256": _MAC[:-1]}, BODY, 403),
    "another digit": (HONEST_GITHUB | {"X-Hub-Signature-256": _MAC[:-1] + "fe"[_MAC[-1] == "f"]}, BODY, 403),
    "capital digits": (HONEST_GITHUB | {"X-Hub-Signature-256": "sha256=" + _MAC[7:].upper()}, BODY, 403),
    "another scheme": (HONEST_GITHUB | {"X-Hub-Signature-256": _MAC.replace("sha256", "sha1")}, BODY, 403),
    "the old header": (without(HONEST_GITHUB, "X-Hub-Signature-256") | {"X-Hub-Signature": _MAC}, BODY, 403),
    "two signatures": (HONEST_GITHUB | {"X-Hub-Signature-256": f"sha256=00,{_MAC}"}, BODY, 403),
    "no ASCII": (HONEST_GITHUB | {"X-Hub-Signature-256": _MAC + "é"}, BODY, 403),
    "no event": (without(HONEST_GITHUB, "X-GitHub-Event"), BODY, 400),
    "an odd event": (HONEST_GITHUB | {"X-GitHub-Event": "../push"}, BODY, 400),
    "no name": (without(HONEST_GITHUB, "X-GitHub-Delivery"), BODY, 400),
    "an endless name": (HONEST_GITHUB | {"X-GitHub-Delivery": "x" * 191}, BODY, 400),
    "a form": (HONEST_GITHUB | {"Content-Type": "application/x-www-form-urlencoded"}, BODY, 415),
}
FORGERIES_OF_STANDARD: dict[str, tuple[Headers, bytes, int]] = {
    "unsigned": (without(HONEST_STANDARD, "webhook-signature"), BODY, 403),
    "empty signature": (HONEST_STANDARD | {"webhook-signature": ""}, BODY, 403),
    "a version without a signature": (HONEST_STANDARD | {"webhook-signature": "v1,"}, BODY, 403),
    "another secret": (standard(OTHER, BODY), BODY, 403),
    "another body": (HONEST_STANDARD, BODY.replace(b"7", b"8"), 403),
    "a space more": (HONEST_STANDARD, b" " + BODY, 403),
    "another name": (HONEST_STANDARD | {"webhook-id": "msg_2"}, BODY, 403),
    "another time": (HONEST_STANDARD | {"webhook-timestamp": str(NOW - 1)}, BODY, 403),
    "stale": (standard(SECRET, BODY, at=NOW - 400), BODY, 403),
    "from the future": (standard(SECRET, BODY, at=NOW + 400), BODY, 403),
    "another version": (HONEST_STANDARD | {"webhook-signature": _V1.replace("v1,", "v2,")}, BODY, 403),
    "no version": (HONEST_STANDARD | {"webhook-signature": _V1.removeprefix("v1,")}, BODY, 403),
    "behind ten others": (HONEST_STANDARD | {"webhook-signature": "v1,x " * 10 + _V1}, BODY, 403),
    "the dot moved": (
        HONEST_STANDARD | {"webhook-id": "msg_1." + HONEST_STANDARD["webhook-timestamp"][:1]}, BODY, 403,
    ),
    "no name": (without(HONEST_STANDARD, "webhook-id"), BODY, 400),
    "another key's name": (without(HONEST_STANDARD, "webhook-id") | {"Idempotency-Key": "msg_1"}, BODY, 400),
    "no time": (without(HONEST_STANDARD, "webhook-timestamp"), BODY, 400),
    "no number": (HONEST_STANDARD | {"webhook-timestamp": "now"}, BODY, 400),
    "a negative time": (HONEST_STANDARD | {"webhook-timestamp": f"-{NOW}"}, BODY, 400),
    "Arabic digits": (HONEST_STANDARD | {"webhook-timestamp": "\N{ARABIC-INDIC DIGIT ONE}" * 10}, BODY, 400),
    "an endless time": (HONEST_STANDARD | {"webhook-timestamp": "9" * 5000}, BODY, 400),
}  # fmt: skip
FORGED = [
    pytest.param(webhook, *forgery, id=f"{name}, {what}")
    for name, webhook, forgeries in (
        ("github", HUB, FORGERIES_OF_GITHUB),
        ("standard", SIGNED, FORGERIES_OF_STANDARD),
    )
    for what, forgery in forgeries.items()
]


@pytest.mark.parametrize(("webhook", "headers", "body", "status"), FORGED)
def test_a_forgery_is_refused(webhook: Webhook, headers: Headers, body: bytes, status: int) -> None:
    with time_machine.travel(NOW, tick=False), pytest.raises(DomainError) as refused:
        services.verify(webhook, headers, body)
    assert refused.value.status == status
    assert SECRET not in str(refused.value)


BAD = {
    "nothing": (b"", 422),
    "no JSON": (b"{", 422),
    "no UTF-8": (b'{"a": "\xff"}', 422),
    "a list": (b"[]", 422),
    "a text": (b'"x"', 422),
    "null": (b"null", 422),
    "NaN": (b'{"a": NaN}', 422),
    "a NUL": (b'{"a": "\\u0000"}', 422),
    "half a character": (b'{"a": "\\ud800"}', 422),
    "a key twice": (b'{"a": 1, "a": 2}', 422),
    "deep": (b'{"a": ' + b"[" * 65 + b"]" * 65 + b"}", 422),
    "deeper than any stack": (b'{"a": ' + b"[" * 400_000, 422),
    "long digits": (b'{"a": ' + b"9" * 5000 + b"}", 422),
    "huge": (b'{"a": "' + b"x" * (1024 * 1024) + b'"}', 413),
}


@pytest.mark.parametrize(("body", "status"), BAD.values(), ids=BAD)
def test_what_cannot_be_kept_is_refused(body: bytes, status: int) -> None:
    with pytest.raises(DomainError) as refused:
        services.verify(OPEN, JSON, body)
    assert refused.value.status == status
    # Nothing is read of it before its sender is known.
    with pytest.raises(DomainError) as unsigned:
        services.verify(SIGNED, JSON | {"webhook-id": "1", "webhook-timestamp": str(NOW)}, body)
    assert unsigned.value.status == (413 if status == 413 else 403)


def test_a_body_as_large_as_allowed_is_taken() -> None:
    body = b'{"a": "' + b"x" * (1024 * 1024 - 9) + b'"}'
    assert len(services.verify(OPEN, JSON, body).payload) == 1024 * 1024


@pytest.mark.parametrize("how", ["gzip", "br", "GZIP, identity"])
def test_nothing_is_unpacked(how: str) -> None:
    bomb = gzip.compress(b'{"a": "' + b" " * 10_000_000 + b'"}')
    with pytest.raises(DomainError) as refused:
        services.verify(OPEN, JSON | {"Content-Encoding": how}, bomb)
    assert refused.value.status == 415


@pytest.mark.parametrize("name", ["", "x" * 191, "tab\there", "né", "line\nbreak"])
@pytest.mark.parametrize("header", ["webhook-id", "Idempotency-Key"])
def test_a_name_that_cannot_be_kept_is_refused(header: str, name: str) -> None:
    with pytest.raises(HeaderUnusable, match=f"{header}: Input should be 1 to 190 printable ASCII characters"):
        services.verify(OPEN, JSON | {header: name}, BODY)
