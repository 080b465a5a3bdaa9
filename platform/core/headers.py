"""The headers that every answer has, whoever makes it."""

from typing import Final, TypeVar

from django.http.response import HttpResponseBase

# What may be kept by a browser: the same for everybody, or nobody's.
CACHEABLE = (
    "/static/",
    "/api/blocks",
    "/api/docs/",
    "/api/schema/",
    "/health",
    "/robots.txt",
    "/favicon.ico",
)

AnyResponse = TypeVar("AnyResponse", bound=HttpResponseBase)

# Pages run scripts from files of ours only. The admin site and Swagger UI write styles into their elements.
_PAGES: Final = "; ".join(
    [
        "default-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
# Anything else is no page, even if a browser is made to take it for one.
_DATA: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_EVERYWHERE: Final = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-XSS-Protection": "1; mode=block",
}
_NOT_STORED: Final = {
    "Cache-Control": "no-store, no-cache, must-revalidate, private",
    "Pragma": "no-cache",
    "Expires": "0",
}


def dress(path: str, response: AnyResponse) -> AnyResponse:
    """Give an answer the headers that it has not got.

    It is kept out of caches unless its path is listed, and a shared run also out of search engines.
    """
    for name, value in _EVERYWHERE.items():
        response.headers.setdefault(name, value)
    is_page = response.headers.get("Content-Type", "").startswith("text/html")
    response.headers.setdefault("Content-Security-Policy", _PAGES if is_page else _DATA)
    if not path.startswith(CACHEABLE):
        for name, value in _NOT_STORED.items():
            response.headers[name] = value
    if "/public/shared" in path:
        response.headers["X-Robots-Tag"] = "noindex, nofollow"
    return response
