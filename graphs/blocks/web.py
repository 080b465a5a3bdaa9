"""Blocks that talk to the web."""

import time
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

import orjson

from core import http
from core.errors import DomainError
from graphs.blocks.base import (
    AsyncEmissions,
    Block,
    BlockError,
    BlockInput,
    BlockOutput,
    Category,
    Context,
    Effect,
    Example,
    TryLater,
)
from graphs.blocks.fields import pin
from graphs.blocks.files import fetch_file, to_data_uri


class Method(StrEnum):
    """HTTP's methods."""

    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    DELETE = "DELETE"
    PATCH = "PATCH"
    OPTIONS = "OPTIONS"
    HEAD = "HEAD"


# Too many requests, and servers that are down for a moment: worth another attempt where the node's policy has one.
_BUSY = (429, 502, 503, 504)
_READS = (Method.GET, Method.HEAD, Method.OPTIONS)


class SendWebRequestBlock(Block):
    """Sends an HTTP request to a public address."""

    id = "6595ae1f-b924-42cb-9a41-551a0611c4b4"
    description = (
        "Sends an HTTP request and emits the answer: on response when the status is 2xx, on client_error when it is "
        "4xx, else on server_error. JSON is parsed, text stays text, other content becomes a data URI, and no content "
        "null. Only public addresses can be reached, ten redirects are followed, an answer may have 10 MB and take a "
        "minute. Requests that change something carry an Idempotency-Key header of their own, so that a service that "
        "honours it does the work once even when the request has to be repeated after a crash. Where the node is to be "
        "tried again, a server that is busy (429, 502, 503, 504) is asked again, not before its Retry-After."
    )
    categories = frozenset({Category.OUTPUT})
    # Whether a repetition does harm depends on the method, which a class cannot tell. The key makes repeating right
    # wherever the service honours it, and reading is harmless anyway; asking a person after each crash would be worse.
    effect = Effect.KEYED
    examples = (
        Example(
            {"url": "https://api.example.com/json", "method": "GET"}, (("response", {"method": "GET", "body": ""}),)
        ),
        Example(
            {"url": "https://api.example.com/json", "body": {"n": 1}},
            (("response", {"method": "POST", "body": '{"n":1}'}),),
        ),
        Example({"url": "https://api.example.com/missing", "method": "GET"}, (("client_error", "nothing here"),)),
    )

    class Input(BlockInput):
        """The request."""

        url: str = pin("The address, http or https.", placeholder="https://api.example.com/items")
        method: Method = pin("The HTTP method.", default=Method.POST, advanced=False)
        headers: dict[str, str] = pin("The headers by name.", default={}, advanced=False)
        json_format: bool = pin("Whether to send the body as JSON rather than as a form.", default=True)
        body: dict[str, Any] | list[Any] | None = pin("The body; a list only as JSON.", default=None, advanced=False)
        files_name: str = pin("The name of the form's field for the files.", default="file")
        files: list[str] = pin(
            "Files to send as a form, as data URIs, workspace URIs or addresses; needs json_format off.", default=[]
        )

    class Output(BlockOutput):
        """The answer's content, on one of three pins."""

        response: Any = pin("The answer to a request that succeeded.")
        client_error: Any = pin("The answer that blames the request, status 4xx.")
        server_error: Any = pin("The answer that blames the server, or any other status.")

    async def run(self, input: Input, context: Context) -> AsyncEmissions:
        """Send the request and emit the answer's content."""
        headers = dict(input.headers)
        if input.method not in _READS and "idempotency-key" not in map(str.lower, headers):
            headers["Idempotency-Key"] = context.key
        try:
            answer = await http.client().request(
                input.method, input.url, headers=headers, **await _body(input, context)
            )
        except DomainError as error:
            raise BlockError(str(error)) from None
        if context.attempts_left and answer.status in _BUSY:
            raise TryLater(f"The server is busy: status {answer.status}", _retry_after(answer))
        pin_of = {2: "response", 4: "client_error"}
        yield pin_of.get(answer.status // 100, "server_error"), _content(answer)


async def _body(input: SendWebRequestBlock.Input, context: Context) -> dict[str, Any]:
    """The request's body in the terms of the HTTP client."""
    if input.files:
        if input.json_format:
            raise BlockError("files are sent as a form: switch json_format off")
        files = [await fetch_file(text, context) for text in input.files]
        parts = [
            (input.files_name, (f"file{number}{file.extension}", file.content, file.media_type))
            for number, file in enumerate(files, 1)
        ]
        return {"files": parts, "data": _form(input.body)}
    if input.body is None:
        return {}
    return {"json": input.body} if input.json_format else {"data": _form(input.body)}


def _form(body: dict[str, Any] | list[Any] | None) -> dict[str, Any]:
    if isinstance(body, list):
        raise BlockError("a form's body must be a dictionary, not a list")
    return {
        name: value if isinstance(value, (str, list)) else orjson.dumps(value).decode()
        for name, value in (body or {}).items()
    }


def _content(answer: http.Response) -> Any:
    """JSON parsed, text as text, other content as a data URI; null for none."""
    media_type = _media_type(answer)
    if not answer.content:
        return None
    if media_type == "application/json" or media_type.endswith("+json"):
        try:
            return orjson.loads(answer.content)
        except orjson.JSONDecodeError as error:
            raise BlockError(f"the answer, status {answer.status}, says it is JSON but is not: {error}") from None
    text = _text(answer)
    return to_data_uri(answer.content, media_type or "application/octet-stream") if text is None else text


def _retry_after(answer: http.Response) -> float:
    """The seconds that the server asks to wait, given as such or as a date; 0 when it does not say."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return 0.0


def _text(answer: http.Response) -> str | None:
    """The content as text, or None when it is none."""
    charset = answer.headers.get("content-type", "").lower().partition("charset=")[2].partition(";")[0].strip(" \"'")
    for encoding in (charset or "utf-8", "utf-8"):
        try:
            text = answer.content.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
        return None if "\0" in text else text
    return None


def _media_type(answer: http.Response) -> str:
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower()
