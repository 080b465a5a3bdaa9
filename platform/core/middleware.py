"""What is looked at in every request, and put on every response."""

from collections.abc import Callable

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from core.api import envelope
from core.throttles import limit_headers

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
_NOT_STORED = "no-store, no-cache, must-revalidate, private"

Answer = Callable[[HttpRequest], HttpResponseBase]


def response_headers(get_response: Answer) -> Answer:
    """Keep answers out of caches unless their path is listed, and shared runs out of search engines; tell limits."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        response = _with_headers(request.path, get_response(request))
        for name, value in limit_headers(request).items():
            response.headers[name] = value
        return response

    return answer


def announced_length(get_response: Answer) -> Answer:
    """Refuse a body that comes in chunks without its length: the views would take it for an empty one."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        return _refusal(request) or get_response(request)

    return answer


def _refusal(request: HttpRequest) -> JsonResponse | None:
    if "Transfer-Encoding" not in request.headers or request.headers.get("Content-Length"):
        return None
    hint = "Send the Content-Length header instead of Transfer-Encoding: chunked."
    return JsonResponse(envelope("length_required", "The body does not say how long it is.", hint), status=411)


def _with_headers(path: str, response: HttpResponseBase) -> HttpResponseBase:
    response.headers.setdefault("X-XSS-Protection", "1; mode=block")
    if not path.startswith(CACHEABLE):
        response.headers["Cache-Control"] = _NOT_STORED
        response.headers["Pragma"] = "no-cache"
        response.headers["Expires"] = "0"
    if "/public/shared" in path:
        response.headers["X-Robots-Tag"] = "noindex, nofollow"
    return response
