"""What is looked at in every request, and put on every response."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.middleware.common import CommonMiddleware
from django.middleware.gzip import GZipMiddleware

from core.api import envelope
from core.headers import dress
from core.throttles import limit_headers

# Below, packing takes longer than sending.
_WORTH_PACKING = 50 * 1024
# A page that a browser opens with its cookies tells an eavesdropper by its packed size how much of it was guessed. Here
# a request shows who it is from by a header that no other site can make a browser send.
_PACKED = ("/api/", "/external-api/")
_ASKED_INSIDE = ("/health", "/metrics")

Answer = Callable[[HttpRequest], HttpResponseBase]


def response_headers(get_response: Answer) -> Answer:
    """Give every answer its headers, and tell how its limit stands."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        response = dress(request.path, get_response(request))
        for name, value in limit_headers(request).items():
            response.headers[name] = value
        return response

    return answer


def announced_length(get_response: Answer) -> Answer:
    """Refuse a body that comes in chunks without its length: the views would take it for an empty one."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        return _refusal(request) or get_response(request)

    return answer


class Common(CommonMiddleware):
    """Django's, which asks for a host that this site answers to, but not where load balancers and Prometheus ask.

    They reach a process by whatever address it has inside, and what they are answered is the same for any.
    """

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        """Raises `DisallowedHost`."""
        return None if request.path in _ASKED_INSIDE else super().process_request(request)


class Packing(GZipMiddleware):
    """Packs large answers of the interface with gzip for who accepts it; what streams goes out as it comes."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """The answer, packed where that is safe and worth it."""
        is_large = isinstance(response, HttpResponse) and len(response.content) >= _WORTH_PACKING
        if is_large and request.path.startswith(_PACKED):
            return super().process_response(request, response)
        return response


def _refusal(request: HttpRequest) -> JsonResponse | None:
    if "Transfer-Encoding" not in request.headers or request.headers.get("Content-Length"):
        return None
    hint = "Send the Content-Length header instead of Transfer-Encoding: chunked."
    return JsonResponse(envelope("length_required", "The body does not say how long it is.", hint), status=411)
