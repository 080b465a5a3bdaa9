"""How often somebody may do what: each request takes a token of the buckets of its scope.

A view names the scope of its requests that change something as `throttle_scope`; all others are `general`, or
`anonymous` when nobody is logged in. docs/security.md lists the scopes.
"""

import math
import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from django.utils.crypto import salted_hmac
from rest_framework.exceptions import APIException
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from core.buckets import Bucket, Verdict, take
from core.clients import address_of
from core.errors import DomainError

if TYPE_CHECKING:
    # Whose settings name the class below.
    from rest_framework.views import APIView

# Where somebody might guess a password or the token of a mail, or have mail sent to others.
GUARDS = frozenset({"sign_in", "mails", "proofs"})
# Scopes with a second bucket, for the account or address that the request is about.
_ABOUT_SOMEBODY = frozenset({"sign_in", "mails"})

_RATE = re.compile(r"([0-9]+)/([0-9]*)([smhd])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_OFF = "off"


class TooManyRequests(DomainError):
    """There were too many requests of this kind."""

    status: ClassVar[int] = 429
    hint: ClassVar[str] = "Come back after as many seconds as the header Retry-After says."


class Throttle(BaseThrottle):
    """Lets a request pass when each bucket it counts against has a token."""

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """True, or `TooManyRequests` is raised. What the answer has to tell stays with the request."""
        scope = None if request.method in SAFE_METHODS else getattr(view, "throttle_scope", None)
        if scope is None:
            scope = "general" if request.user.is_authenticated else "anonymous"
        buckets = _buckets(request, scope)
        try:
            buckets += _buckets_about_somebody(request, scope)
        except (DomainError, APIException):
            # A body that cannot be read counts as well.
            check(request._request, scope, buckets)
            raise
        check(request._request, scope, buckets)
        return True


def check(request: HttpRequest, scope: str, buckets: list[Bucket]) -> None:
    """Take a token from each of the buckets; raises `TooManyRequests` and then takes none."""
    if not buckets:
        return
    verdict = take(buckets, guards=scope in GUARDS)
    if verdict is None:
        return
    request.rate_limit = verdict  # type: ignore[attr-defined]  # for `limit_headers`
    if not verdict.accepted:
        raise TooManyRequests(scope=verdict.key.partition(":")[0], retry_after=math.ceil(verdict.wait))


def check_sign_in(request: HttpRequest, email: str) -> None:
    """Count an attempt to log in outside of the REST views; raises `TooManyRequests`."""
    from_here = _bucket("sign_in", f"ip:{address_of(request)}")
    check(request, "sign_in", [*from_here, *_bucket("sign_in_account", _pseudonym(email))])


def check_mail(request: Request, email: str) -> None:
    """Count a request that, unlike others of its view, has a mail sent; raises `TooManyRequests`."""
    check(request._request, "mails", [*_bucket("mails", _who(request)), *_bucket("mails_account", _pseudonym(email))])


def check_webhook(request: Request, webhook_id: UUID) -> None:
    """Count something that has to do with this webhook, whoever asks; raises `TooManyRequests`."""
    check(request._request, "webhooks", _bucket("webhooks", str(webhook_id)))


def check_stranger(request: Request) -> None:
    """Count a request of a view without a throttle against its address; raises `TooManyRequests`."""
    check(request._request, "anonymous", _bucket("anonymous", f"ip:{address_of(request._request)}"))


def limit_headers(request: HttpRequest) -> dict[str, str]:
    """What the answer to a request says about its limit; nothing when the request was not counted."""
    verdict: Verdict | None = getattr(request, "rate_limit", None)
    if verdict is None:
        return {}
    headers = {
        "RateLimit-Limit": str(verdict.limit),
        "RateLimit-Remaining": str(verdict.remaining),
        "RateLimit-Reset": str(math.ceil(verdict.reset)),
    }
    return headers if verdict.accepted else {**headers, "Retry-After": str(math.ceil(verdict.wait))}


@cache
def rate_of(text: str) -> tuple[int, int] | None:
    """What a text such as `20/15m` says: how many acts, in how many seconds; None for `off`."""
    if text == _OFF:
        return None
    if (found := _RATE.fullmatch(text)) is None:
        raise ValueError(f"{text!r} is no rate")
    count, periods, unit = found.groups()
    return int(count), int(periods or 1) * _SECONDS[unit]


def _buckets(request: Request, scope: str) -> list[Bucket]:
    buckets = _bucket(scope, _who(request))
    key_id = getattr(request.auth, "key_id", None)
    if key_id is not None:
        # One program that runs wild must not use up what its owner's other programs may do.
        buckets += _bucket("keys", str(key_id))
    return buckets


def _buckets_about_somebody(request: Request, scope: str) -> list[Bucket]:
    if scope not in _ABOUT_SOMEBODY:
        return []
    email = _whom_it_is_about(request, scope)
    return _bucket(f"{scope}_account", _pseudonym(email)) if email else []


def _bucket(scope: str, whose: str) -> list[Bucket]:
    """The bucket of somebody for a scope; none when the scope is not limited."""
    rate = rate_of(settings.RATES[scope])
    return [] if rate is None else [Bucket(f"{scope}:{whose}", *rate)]


def _who(request: Request) -> str:
    if request.user.is_authenticated:
        return f"user:{request.user.pk}"
    return f"ip:{address_of(request._request)}"


def _whom_it_is_about(request: Request, scope: str) -> str:
    """The email in the body, or what an attempt at one's own password is for."""
    if scope == "sign_in" and request.user.is_authenticated:
        return str(getattr(request.user, "email", ""))
    body: object = request.data
    email = body.get("email") if isinstance(body, Mapping) else body
    return email if isinstance(email, str) else ""


def _pseudonym(email: str) -> str:
    """An email address as Redis may keep it: nobody can read it there."""
    return salted_hmac("core.throttles", email.strip().lower(), algorithm="sha256").hexdigest()[:32]
