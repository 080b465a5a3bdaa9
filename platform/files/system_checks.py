"""What `manage.py check` says about how files are kept."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Info, Tags, register

from files import clamd

_SCANNER = "Set TASKLOOM_CLAMD_URL to tcp://host:3310 or unix:///run/clamav/clamd.ctl."


@register(Tags.security)
def uploads_are_scanned(**_: Any) -> list[CheckMessage]:
    """A scanner that cannot be asked: E001. None at all where the platform serves others: I001."""
    if settings.CLAMD_URL:
        problem = clamd.problem_with(settings.CLAMD_URL)
        return [Error(f"TASKLOOM_CLAMD_URL {problem}.", hint=_SCANNER, id="files.E001")] if problem else []
    if settings.HTTPS and not settings.DEBUG:
        return [Info("Uploads are not looked through for viruses.", hint=_SCANNER, id="files.I001")]
    return []
