"""What `manage.py check --deploy` verifies beside Django's own checks: that production is set up as such."""

import re
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004  that is its name
from django.http.request import validate_host

from core.throttles import GUARDS

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_PRINTED = "django.core.mail.backends.console.EmailBackend"


@register(Tags.security)
def other_sites_are_named_well(**_: Any) -> list[CheckMessage]:
    """A site that may use the interface from its pages: E005 for what cannot be one, or not in production."""
    return [
        Error(f"TASKLOOM_CORS_ORIGINS: {entry} {flaw}.", hint=cure, id="config.E005")
        for entry in [*settings.CORS_ALLOWED_ORIGINS, *settings.CORS_ALLOWED_ORIGIN_REGEXES]
        for flaw, cure in _flaws(entry, is_pattern=entry in settings.CORS_ALLOWED_ORIGIN_REGEXES)
    ]


def _flaws(entry: str, *, is_pattern: bool) -> list[tuple[str, str]]:
    if is_pattern:
        try:
            fits = re.compile(entry).match
        except re.error as error:
            return [(f"is no regular expression: {error}", "Write it as Python does, without commas.")]
        anybody = fits("https://a.example") and fits("https://b.test:8443")
        return [("lets every site in", "Name the host that all of them end with.")] if anybody else []
    parts = urlsplit(entry)
    if parts.scheme not in ("http", "https") or not parts.hostname or entry != f"{parts.scheme}://{parts.netloc}":
        return [("is no origin", "Write https://app.example.com: a scheme and a host, nothing behind.")]
    if settings.HTTPS and (parts.scheme == "http" or parts.hostname in _LOCAL):
        return [("is not for production", "Name an https address of a host that others can reach.")]
    return []


@register(Tags.security)
def proxies_are_counted(**_: Any) -> list[CheckMessage]:
    """E006 for a number of proxies that cannot be."""
    if settings.PROXIES >= 0:
        return []
    return [
        Error("TASKLOOM_PROXIES is less than 0.", hint="Set it to how many proxies are in front.", id="config.E006")
    ]


@register(Tags.security, deploy=True)
def proxies_are_known(**_: Any) -> list[CheckMessage]:
    """A proxy that ends TLS but is not counted makes all clients one: W001."""
    if settings.PROXIES or not settings.HTTPS:
        return []
    hint = "Set TASKLOOM_PROXIES to how many proxies append to X-Forwarded-For, 1 for one that does."
    return [Warning("All clients share the limits of the proxy in front.", hint=hint, id="config.W001")]


@register(Tags.security, deploy=True)
def passwords_cannot_be_guessed(**_: Any) -> list[CheckMessage]:
    """Scopes that guard passwords and mailboxes must have a limit: W002."""
    guarding = sorted(name for name in settings.RATES if name.removesuffix("_account") in GUARDS)
    off = [name for name in guarding if settings.RATES[name] == "off"]
    if not off:
        return []
    hint = "Leave them out of TASKLOOM_RATES, or set a rate such as 30/m."
    return [Warning(f"There is no limit for {', '.join(off)}.", hint=hint, id="config.W002")]


@register(Tags.security, deploy=True)
def hosts_are_named(**_: Any) -> list[CheckMessage]:
    """A site that answers to any name can be addressed by one that somebody else chose: W003."""
    if "*" not in settings.ALLOWED_HOSTS:
        return []
    hint = "Name the hosts in DJANGO_ALLOWED_HOSTS, e.g. taskloom.example.com."
    return [Warning("The site answers to any host name.", hint=hint, id="config.W003")]


@register(Tags.security, deploy=True)
def mail_reaches_people(**_: Any) -> list[CheckMessage]:
    """Mail that is printed, or whose links lead to the server itself: W004 and W005."""
    found: list[CheckMessage] = []
    if settings.EMAIL_BACKEND == _PRINTED:
        hint = "Set EMAIL_URL, e.g. smtp+tls://user:password@host:587."
        found.append(Warning("Mail is written to the log of the workers.", hint=hint, id="config.W004"))
    parts = urlsplit(settings.FRONTEND_URL)
    if parts.scheme != "https" or parts.hostname in _LOCAL:
        hint = "Set TASKLOOM_FRONTEND_URL to the https address of the site that people use."
        found.append(Warning("Links in mails lead nowhere for others.", hint=hint, id="config.W005"))
    return found


@register(Tags.security, deploy=True)
def events_come_in(**_: Any) -> list[CheckMessage]:
    """Webhooks under a host that is not answered to, W006, or open to whoever is on the way, W007."""
    found: list[CheckMessage] = []
    if not settings.PLATFORM_BASE_URL:
        return found
    url = urlsplit(settings.PLATFORM_BASE_URL)
    if not validate_host(url.hostname or "", settings.ALLOWED_HOSTS):
        message = f"Webhooks are told to {url.hostname}, and what comes there is refused."
        found.append(Warning(message, hint="Add it to DJANGO_ALLOWED_HOSTS.", id="config.W006"))
    if url.scheme != "https":
        hint = "Set PLATFORM_BASE_URL to the https address of this site."
        found.append(Warning("What comes in by webhooks can be read on its way.", hint=hint, id="config.W007"))
    return found
