"""Which sites' pages may speak with us: ours, and those that settings name."""

import re
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import validate_host


def may_connect(origin: str) -> bool:
    """Whether a page of this origin may open a WebSocket; browsers apply no rule of their own there."""
    if origin in settings.CORS_ALLOWED_ORIGINS or origin == _origin_of(settings.FRONTEND_URL):
        return True
    if any(re.match(pattern, origin) for pattern in settings.CORS_ALLOWED_ORIGIN_REGEXES):
        return True
    try:
        host = urlsplit(origin).hostname
    except ValueError:
        return False
    return host is not None and validate_host(f"[{host}]" if ":" in host else host, settings.ALLOWED_HOSTS)


def _origin_of(url: str) -> str:
    """As browsers send it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
