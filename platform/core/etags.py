"""Entity tags: who has an answer is told that it still holds, and who changes a thing that it is still the same.

Tags are compared without their mark of weakness: one that went out with a packed answer comes back with it.
"""

from hashlib import sha256

from django.utils.http import parse_etags
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework.request import Request
from rest_framework.response import Response

_ANY = "*"

IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match", str, OpenApiParameter.HEADER, description="The `ETag` of an answer that you have already."
)
IF_MATCH = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, description="The `ETag` of what you have changed; `*` for any."
)
NOT_MODIFIED = {304: OpenApiResponse(description="What you have still holds.")}


def tag_of(*parts: object) -> str:
    """A tag that differs when one of the parts does; they must have a telling `str`."""
    return '"' + sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32] + '"'


def asks_whether_changed(request: Request) -> bool:
    """Whether the caller has an answer already."""
    return "If-None-Match" in request.headers


def not_modified(request: Request, tag: str) -> Response | None:
    """The answer to who has this one already; None when it must be sent."""
    if not matches(request.headers.get("If-None-Match", ""), tag):
        return None
    return Response(status=304, headers={"ETag": tag})


def matches(header: str, tag: str) -> bool:
    """Whether the tag is among those that a header names."""
    named = parse_etags(header)
    return _ANY in named or tag in {name.removeprefix("W/") for name in named}
