"""What every endpoint has in common: one shape of error, strict JSON in."""

import logging
from collections.abc import Iterable, Mapping
from typing import IO, Any, ClassVar, TypeVar

import orjson
import pydantic
from django.core.exceptions import DisallowedHost, PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, JsonResponse
from drf_spectacular.utils import OpenApiResponse
from rest_framework import exceptions, serializers
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from core import strict_json
from core.errors import DomainError, Unavailable

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 10 * 1024 * 1024

AnySchema = TypeVar("AnySchema", bound=pydantic.BaseModel)
Problem = dict[str, Any]

_ENCODER = JSONEncoder()
_CRASHED = "Something went wrong here; it has been logged."


class RequestInvalid(DomainError):
    """The request does not have the shape that this operation asks for."""

    status: ClassVar[int] = 422

    def __init__(self, problems: list[Problem]) -> None:
        first = problems[0]
        place = ".".join(str(part) for part in first["loc"])
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"{place}: {first['msg']}{more}", detail=problems)


class BodyTooLarge(DomainError):
    """The request body is larger than 10 MB."""

    status: ClassVar[int] = 413
    hint: ClassVar[str] = "Send less in one request."


class DatabaseUnavailable(Unavailable):
    """The database does not answer."""


# --- Errors out -------------------------------------------------------------------------------------------------


def answer_error(error: Exception, context: Mapping[str, Any]) -> Response:
    """Answer any exception in the one shape; what nobody anticipated is logged and answered without its details."""
    if isinstance(error, DomainError):
        return _answer(error)
    if isinstance(error, exceptions.ValidationError):
        return _answer(RequestInvalid(_problems_of(error.detail, ["body"])))
    if isinstance(error, pydantic.ValidationError):
        return _answer(RequestInvalid(_problems_of_schema(error)))
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if isinstance(error, exceptions.APIException):
        return _answer_framework(error, context)
    if isinstance(error, (OperationalError, InterfaceError)):
        log.error("The database does not answer: %s", error)
        return _answer(DatabaseUnavailable())
    view = type(context.get("view")).__name__
    log.error("Unexpected error in %s", view, exc_info=error)
    return Response(envelope("internal_error", _CRASHED), status=500)


def envelope(code: str, message: str, hint: str = "", **data: object) -> dict[str, object]:
    """The body of every error; `detail` repeats the message unless `data` has one."""
    return {"code": code, "message": message, "detail": message, "hint": hint, **data}


def answer_bad_request(request: HttpRequest, exception: Exception) -> JsonResponse:
    """Answer a request that Django refuses before any view sees it."""
    if isinstance(exception, DisallowedHost):
        message = "This site does not answer to the host name in the request."
        hint = "DJANGO_ALLOWED_HOSTS of the server lists those that it answers to."
        return JsonResponse(envelope("bad_request", message, hint), status=400)
    return JsonResponse(envelope("bad_request", "The request is not acceptable."), status=400)


def answer_unknown_path(request: HttpRequest, exception: Exception) -> JsonResponse:
    """Answer a path that leads nowhere."""
    hint = "GET /api/schema/ lists every operation."
    if request.path.endswith("/"):
        hint = f"Paths of operations have no slash at their end. {hint}"
    return JsonResponse(envelope("not_found", f"There is nothing at {request.path}", hint), status=404)


def answer_crash(request: HttpRequest) -> JsonResponse:
    """Answer an error outside of the REST views; Django has logged it."""
    return JsonResponse(envelope("internal_error", _CRASHED), status=500)


def _answer(error: DomainError) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    return Response(envelope(error.code, error.message, error.hint, **error.data), error.status, headers=headers)


def _answer_framework(error: exceptions.APIException, context: Mapping[str, Any]) -> Response:
    headers = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if (wait := getattr(error, "wait", None)) is not None:
        headers["Retry-After"] = str(int(wait))
    detail: Any = error.detail
    # A token that is refused comes as {"detail", "code", "messages"}.
    message, code = (detail["detail"], detail["code"]) if isinstance(detail, dict) else (detail, detail.code)
    body = envelope(str(code), str(message), _hint_for(error, context.get("view")))
    return Response(body, status=error.status_code, headers=headers)


def _hint_for(error: exceptions.APIException, view: Any) -> str:
    """What to change in a request that REST framework itself refuses."""
    if isinstance(error, exceptions.NotAuthenticated):
        return (
            "Send `Authorization: Bearer` with the access token that POST /api/auth/token gives; "
            "below /external-api/ an API key as `X-API-Key` will do."
        )
    if isinstance(error, exceptions.PermissionDenied):
        return "This is for administrators."
    if isinstance(error, exceptions.UnsupportedMediaType):
        return f"Send the body with `Content-Type: {' or '.join(kind.media_type for kind in view.parser_classes)}`."
    if isinstance(error, exceptions.MethodNotAllowed):
        return f"This path takes {', '.join(view.allowed_methods)}."
    return ""


def _problems_of(detail: Any, loc: list[str | int]) -> list[Problem]:
    """REST framework's nested messages as a flat list that says where each belongs."""
    if isinstance(detail, Mapping):
        return [
            problem
            for field, inside in detail.items()
            for problem in _problems_of(inside, loc if field == "non_field_errors" else [*loc, field])
        ]
    if isinstance(detail, list):
        nested = any(isinstance(item, (Mapping, list)) for item in detail)
        return [
            problem
            for index, item in enumerate(detail)
            for problem in _problems_of(item, [*loc, index] if nested else loc)
        ]
    return [{"loc": loc, "msg": str(detail), "type": getattr(detail, "code", "invalid")}]


def _problems_of_schema(error: pydantic.ValidationError) -> list[Problem]:
    return [{"loc": ["body", *loc], "msg": message, "type": kind} for loc, message, kind in problems_of_schema(error)]


def problems_of_schema(error: pydantic.ValidationError) -> list[tuple[tuple[int | str, ...], str, str]]:
    """Where each fault is, what is wrong there, and its kind, without the names of our classes."""
    return [
        (
            problem["loc"],
            "Input should be an object" if problem["type"] == "model_type" else problem["msg"],
            problem["type"],
        )
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    ]


# --- Requests in ------------------------------------------------------------------------------------------------


class QuickJSONRenderer(JSONRenderer):
    """Writes the JSON that REST framework's own would write, a few times as fast."""

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        """The answer as JSON; what needs another encoder, such as an integer of 20 digits, gets it."""
        if data is None:
            return b""
        try:
            return orjson.dumps(data, default=_ENCODER.default, option=orjson.OPT_PASSTHROUGH_DATETIME)
        except TypeError:
            return bytes(super().render(data, accepted_media_type, renderer_context))


class StrictNegotiation(DefaultContentNegotiation):
    """Takes a body only for what it says that it is: `*/*` is what somebody accepts, and no kind of body."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        """The parser for this kind of body, if there is one."""
        return None if "*" in (request.content_type or "") else super().select_parser(request, parsers)


class StrictJSONParser(BaseParser):
    """Reads JSON of at most 10 MB; see `core.strict_json` for what it refuses."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """The value of the body; raises `BodyTooLarge` and `MalformedJSON`."""
        announced = str((parser_context or {})["request"].META.get("CONTENT_LENGTH") or "0")
        if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
            raise BodyTooLarge
        body = stream.read(MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge
        return strict_json.parse(body)


def body_as(schema: type[AnySchema], request: Request) -> AnySchema:
    """The request body as `schema`; raises `pydantic.ValidationError`, which is answered with 422."""
    return schema.model_validate(request.data)


def checked_query(serializer: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    """The query parameters after `serializer`; raises `RequestInvalid` naming each wrong one."""
    query = serializer(data=request.query_params)
    if not query.is_valid():
        raise RequestInvalid(_problems_of(query.errors, ["query"]))
    return dict(query.validated_data)


# --- The schema of all this -------------------------------------------------------------------------------------


class ErrorSerializer(serializers.Serializer[Any]):
    """Every error: a code for programs, a message for people, and what to change."""

    code = serializers.CharField()
    message = serializers.CharField()
    detail = serializers.JSONField(help_text="The message again, or a list or an object that names each problem.")
    hint = serializers.CharField(allow_blank=True)


_MEANINGS = {
    400: "A value is not acceptable; nothing was changed.",
    401: "The access token is missing, expired or wrong.",
    402: "You have not enough credits.",
    403: "You may not do this.",
    404: "There is no such thing, or it is not yours.",
    409: "The thing is in a state that does not allow this.",
    410: "There is no such thing any more, or it is not yours.",
    412: "What `If-Match` names is not what is there now; nothing was changed.",
    413: "The body is larger than 10 MB.",
    415: "The body must be application/json.",
    422: "The request does not have the shape of this operation; `detail` lists each problem with its place.",
    429: "Too many requests; `Retry-After` says when to come back.",
    503: "A service that this depends on does not answer.",
}


def error_responses(*statuses: int, throttled: bool = True) -> dict[int, OpenApiResponse]:
    """The schema's answers for these error statuses, in the one shape; 429 is among them unless told otherwise."""
    numbers = {*statuses, 429} if throttled else set(statuses)
    return {number: OpenApiResponse(ErrorSerializer, _MEANINGS[number]) for number in sorted(numbers)}
