"""The header Idempotency-Key: what makes a request that is sent again the same."""

import re

from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from core.api import Problem, RequestInvalid

# With what is put before and behind it, it must fit the columns.
LONGEST_KEY = 190
KEY = re.compile(rf"[ -~]{{1,{LONGEST_KEY}}}")
KEY_RULE = f"Input should be 1 to {LONGEST_KEY} printable ASCII characters"

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="A request that is repeated with the same key starts nothing again and gets the same answer; another "
    "request with it is a 409.",
)


def idempotency_key_of(request: Request) -> str | None:
    """The header of the request; raises `RequestInvalid` for one that cannot be kept."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not KEY.fullmatch(key):
        raise RequestInvalid([Problem(loc=["header", "Idempotency-Key"], msg=KEY_RULE, type="idempotency_key")])
    return key
