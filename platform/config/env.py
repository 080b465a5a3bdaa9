"""The environment variables that configure Taskloom: each has a name, a type, a default and a meaning.

`.env.example` is checked against this list. Nothing else reads the environment.
"""

import json
import os
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Variable:
    """One environment variable; `default` is shown in `.env.example`, an empty one means unset."""

    name: str
    default: str
    meaning: str


VARIABLES = [
    Variable("TASKLOOM_HOME", ".taskloom", "Where the embedded Postgres and Valkey keep their data and sockets."),
    Variable("DATABASE_URL", "", "Postgres, e.g. postgresql://user:password@host:5432/taskloom. Unset: embedded."),
    Variable("REDIS_URL", "", "Redis or Valkey, e.g. redis://host:6379/0. Unset: embedded."),
    Variable("CELERY_BROKER_URL", "", "Another broker than REDIS_URL, e.g. amqp://user:password@host:5672//."),
    Variable("DJANGO_SECRET_KEY", "", "Signs sessions. Required with DATABASE_URL; embedded makes its own."),
    Variable("JWT_ALGORITHM", "HS256", "How tokens are signed: HS256, EdDSA, RS256 or ES256."),
    Variable("JWT_SIGNING_KEY", "", "Secret of at least 32 bytes, or a private key. Required with DATABASE_URL."),
    Variable("TASKLOOM_REFRESH_GRACE_SECONDS", "0", "How long a used refresh token may come again, e.g. from tabs."),
    Variable("IDENTITY_ISSUER", "", "The claim `iss` of an identity provider whose tokens are accepted, too."),
    Variable("IDENTITY_AUDIENCE", "authenticated", "The claim `aud` that its tokens must have."),
    Variable("IDENTITY_ALGORITHM", "RS256", "How it signs them: HS256, EdDSA, RS256 or ES256."),
    Variable("IDENTITY_KEY", "", "What to check them with: its public key, or for HS256 its secret."),
    Variable("IDENTITY_JWKS_URL", "", "Instead of the key: where it publishes its keys, https://….json."),
    Variable("EMAIL_URL", "consolemail://", "How mail leaves, e.g. smtp+tls://user:password@host:587. Unset: the log."),
    Variable("TASKLOOM_MAIL_FROM", "Taskloom <noreply@localhost>", "Whom mail comes from."),
    Variable("TASKLOOM_FRONTEND_URL", "http://localhost:3000", "The site that links in mails lead to."),
    Variable("PLATFORM_BASE_URL", "", "Where this site is reached from outside. Unset: no webhooks come in."),
    Variable("DJANGO_DEBUG", "false", "Shows tracebacks in the browser. Never in production."),
    Variable("DJANGO_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]", "Host names this site answers to."),
    Variable("DJANGO_CSRF_TRUSTED_ORIGINS", "", "Origins that may post forms, e.g. https://taskloom.example.com."),
    Variable("DJANGO_HTTPS", "false", "True behind a proxy that speaks TLS: redirects, secure cookies, HSTS."),
    Variable("TASKLOOM_CORS_ORIGINS", "", "Whose pages may use the API: https://a.example.com or regex:https://…."),
    Variable("TASKLOOM_PROXIES", "0", "How many proxies in front append to X-Forwarded-For. 0: it is not believed."),
    Variable("TASKLOOM_RATES", "", "Other limits of requests, e.g. starts=100/m,uploads=off. See docs/security.md."),
    Variable("DJANGO_LOG_LEVEL", "INFO", "DEBUG, INFO, WARNING or ERROR."),
    Variable("TASKLOOM_LOG_FORMAT", "line", "line, or json: one object per line."),
    Variable("TASKLOOM_DB_POOL_SIZE", "8", "Database connections that one process may hold."),
    Variable("TASKLOOM_ENGINE_RUNS", "64", "Runs that one worker process drives at once."),
    Variable("TASKLOOM_RUNS_PER_USER", "256", "Runs of one user that are under way at once; more stay queued."),
    Variable("TASKLOOM_RUNS_PER_GRAPH", "128", "Runs of one graph of a user that are under way at once."),
    Variable("TASKLOOM_LEASE_SECONDS", "15", "How long a silent worker keeps a run before another takes it over."),
    Variable("TASKLOOM_SWEEP_SECONDS", "2", "How often each worker looks for runs that nobody was told about."),
    Variable("TASKLOOM_BLOCK_PATIENCE_SECONDS", "120", "How long a run waits for a worker that knows its blocks."),
    Variable("TASKLOOM_NODE_TASKS", "2", "Isolated blocks that one worker process runs at once."),
    Variable("TASKLOOM_NODE_MEMORY_MB", "2048", "How much memory (address space) an isolated block may take."),
    Variable("TASKLOOM_VALUE_BYTES", "67108864", "The largest value that a block may give or be given, as JSON."),
    Variable("TASKLOOM_METRICS_TOKEN", "", "The token with which Prometheus asks for /metrics. Unset: there are none."),
    Variable("TASKLOOM_CREDITS", "disabled", "How use is paid for: disabled, monthly (a refill each month) or paid."),
    Variable("TASKLOOM_MONTHLY_CREDITS", "1500", "What monthly fills balances up to, in credits (US cents)."),
    Variable("TASKLOOM_ADJUSTMENT_LIMIT", "10000", "Credits one administrator may give or take alone in 24 hours."),
    Variable("STRIPE_API_KEY", "", "The secret key of the Stripe account that sells credits. Unset: none are sold."),
    Variable("STRIPE_WEBHOOK_SECRET", "", "What Stripe signs webhooks with, whsec_…; two of them while it changes."),
    Variable("STRIPE_API_BASE", "https://api.stripe.com", "Where Stripe is; elsewhere for tests."),
    Variable("TASKLOOM_REFUND_MAIL", "", "Who gets a mail when a refund waits for a decision."),
    Variable("TASKLOOM_OUTPUTS_PER_RUN", "1000000", "Outputs that the nodes of a run may give, by default."),
    Variable("TASKLOOM_HTTP_ALLOW_PRIVATE", "", "host:port pairs that blocks may reach although they are not public."),
    Variable(
        "TASKLOOM_FILES_URL", "", "Where files are kept: file:///folder or s3://bucket/prefix. Unset: in TASKLOOM_HOME."
    ),
    Variable("TASKLOOM_UPLOAD_MB", "256", "How large an uploaded file may be, in megabytes."),
    Variable("TASKLOOM_FILE_QUOTA_MB", "1024", "How much the files of one user may take together, in megabytes."),
    Variable("TASKLOOM_RUN_FILE_HOURS", "168", "How long files are kept that runs make, in hours."),
    Variable("TASKLOOM_CLAMD_URL", "", "Scans files: tcp://host:3310 or unix:///run/clamav/clamd.ctl. Unset: no scan."),
    Variable("TASKLOOM_DEMO_EMAIL", "demo@taskloom.local", "Login of the demo user that `up` makes."),
    Variable("TASKLOOM_DEMO_PASSWORD", "", "Its password. Unset: a random one, kept in TASKLOOM_HOME and printed."),
    Variable("TASKLOOM_FAILPOINTS", "", "Moments at which a process shall fail. For tests only."),
]

_DEFAULTS = {variable.name: variable.default for variable in VARIABLES}
_environ = environ.Env()
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_PLACE = re.compile(r"[^/@\s]+:[0-9]{1,5}")
_RATE = re.compile(r"off|[1-9][0-9]{0,8}/([1-9][0-9]{0,3})?[smhd]", re.ASCII)


def text(name: str) -> str:
    """The variable's value, or its default; empty counts as unset."""
    return os.environ.get(name) or _DEFAULTS[name]


def flag(name: str) -> bool:
    """The variable as a boolean, in any case; raises `ImproperlyConfigured` with its name when it is none."""
    word = text(name).lower()
    if word not in _TRUE | _FALSE:
        raise ImproperlyConfigured(f"{name} must be true or false, not {text(name)!r}")
    return word in _TRUE


def number(name: str, *, least: int = 0) -> int:
    """The variable as a whole number from `least` on; raises `ImproperlyConfigured` with its name when it is none."""
    try:
        value = int(text(name))
    except ValueError:
        value = least - 1
    if value < least:
        raise ImproperlyConfigured(f"{name} must be a whole number from {least} on, not {text(name)!r}")
    return value


def server(name: str, *schemes: str) -> str:
    """The variable as the URL of a server, or an empty text when it is unset.

    Raises `ImproperlyConfigured` with its name when it begins with none of `schemes`.
    """
    if text(name) and urlsplit(text(name)).scheme not in schemes:
        raise ImproperlyConfigured(f"{name} must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    return text(name)


def base_url(name: str) -> str:
    """The variable as an http or https address without a slash at its end, or an empty text when it is unset.

    Raises `ImproperlyConfigured` with its name when it is neither.
    """
    url = urlsplit(text(name))
    if text(name) and (url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment):
        raise ImproperlyConfigured(f"{name} must be like https://taskloom.example.com, not {text(name)!r}")
    return text(name).rstrip("/")


def choice(name: str, allowed: Collection[str]) -> str:
    """The variable as one of the words `allowed`; raises `ImproperlyConfigured` with its name when it is none."""
    if text(name) not in allowed:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(allowed)}, not {text(name)!r}")
    return text(name)


def names(name: str) -> list[str]:
    """The variable as a list of texts separated by commas."""
    return [item.strip() for item in text(name).split(",") if item.strip()]


def places(name: str) -> list[str]:
    """The variable as a list of host:port in small letters; raises `ImproperlyConfigured` with its name for others."""
    found = names(name)
    for place in found:
        if not _PLACE.fullmatch(place):
            raise ImproperlyConfigured(f"{name} must be host:port pairs, such as localhost:9000, not {place!r}")
    return [place.lower() for place in found]


def origins(name: str) -> tuple[list[str], list[str]]:
    """The variable as origins and as patterns for origins, each of which must fit the whole of one."""
    entries = names(name)
    patterns = [entry.removeprefix("regex:") for entry in entries if entry.startswith("regex:")]
    exact = [entry.rstrip("/") for entry in entries if not entry.startswith("regex:")]
    return exact, [rf"\A(?:{pattern})\Z" for pattern in patterns]


def rates(name: str, defaults: Mapping[str, str]) -> dict[str, str]:
    """The variable as rates by scope, over `defaults`; `off` alone switches all of them off.

    Raises `ImproperlyConfigured` with the name for a scope that is not among the defaults and for what is no rate.
    """
    if text(name) == "off":
        return dict.fromkeys(defaults, "off")
    chosen = {}
    for entry in names(name):
        scope, _, rate = (part.strip() for part in entry.partition("="))
        if scope not in defaults:
            raise ImproperlyConfigured(f"{name} has no scope {scope!r}; there are {', '.join(defaults)}")
        if not _RATE.fullmatch(rate):
            raise ImproperlyConfigured(f"{name}: {scope} must be like 100/m, 20/15m, 1000/h or off, not {rate!r}")
        chosen[scope] = rate
    return {**defaults, **chosen}


def database(url: str) -> dict[str, Any]:
    """Django's settings for the Postgres at `url`."""
    return dict(_environ.db_url_config(url))


def mail(name: str) -> dict[str, Any]:
    """Django's settings for the mail server at the variable's URL; raises `ImproperlyConfigured` with its name."""
    try:
        return dict(_environ.email_url_config(text(name)))
    except (KeyError, ValueError, ImproperlyConfigured):
        raise ImproperlyConfigured(f"{name} must be like smtp+tls://user:password@host:587, or unset") from None


def file_storage(name: str) -> dict[str, Any]:
    """Django's storage at the variable's URL, by default a folder of TASKLOOM_HOME.

    Raises `ImproperlyConfigured` with its name when it is malformed, or needs a package that is not installed.
    """
    url = urlsplit(text(name) or (home() / "files").as_uri())
    if url.scheme == "file" and url.path and not url.netloc:
        options = {"location": unquote(url.path), "file_permissions_mode": 0o600, "directory_permissions_mode": 0o700}
        return {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": options}
    if url.scheme != "s3" or not url.netloc:
        raise ImproperlyConfigured(f"{name} must be like file:///folder or s3://bucket/prefix, or unset")
    if not (find_spec("storages") and find_spec("boto3")):
        raise ImproperlyConfigured(f"{name} names S3, which needs a package more: pip install 'taskloom[s3]'")
    return {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": _bucket(name, url)}


def _bucket(name: str, url: SplitResult) -> dict[str, Any]:
    options: dict[str, Any] = dict(parse_qsl(url.query))
    unknown = options.keys() - {"endpoint_url", "region_name"}
    if unknown:
        raise ImproperlyConfigured(f"{name} may say endpoint_url and region_name, but not {', '.join(sorted(unknown))}")
    # Ids are new each time, so that nothing is overwritten; asking whether it is there would cost a request.
    fixed = {"file_overwrite": True, "max_memory_size": 2 * 1024 * 1024}
    return {**options, **fixed, "bucket_name": url.netloc, "location": unquote(url.path).strip("/")}


def home() -> Path:
    """The folder of the embedded services."""
    return (BASE_DIR / text("TASKLOOM_HOME")).resolve()


def secret(name: str) -> str:
    """A secret from the environment; the embedded default keeps one of its own in `secrets.json`.

    Raises `ImproperlyConfigured` with the name when a real database is configured and the secret is not.
    """
    if os.environ.get(name):
        return os.environ[name]
    if os.environ.get("DATABASE_URL"):
        raise ImproperlyConfigured(f"{name} must be set when DATABASE_URL is; .env.example says what it is for")
    return _own_secret(name)


def _own_secret(name: str) -> str:
    path = home() / "secrets.json"
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    if name not in known:
        known[name] = secrets.token_urlsafe(64)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Written aside and moved: processes that start together all read one whole file.
            draft = path.with_suffix(f".{os.getpid()}")
            draft.touch(mode=0o600)
            draft.write_text(json.dumps(known))
            draft.replace(path)
        except OSError as error:
            raise ImproperlyConfigured(
                f"{home()} cannot be written ({error.strerror}); set TASKLOOM_HOME to a folder of yours"
            ) from None
    return known[name]
