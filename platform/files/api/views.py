"""The endpoints of files."""

from datetime import timedelta
from typing import Any, cast
from urllib.parse import urlencode
from uuid import UUID

from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import NotAuthenticated
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import User
from core.api import ErrorSerializer, checked_query, envelope, error_responses
from core.idempotency import IDEMPOTENCY_KEY, idempotency_key_of
from core.paging import CursorPaging, cursor_parameters
from files import links, services
from files.api.parsers import UploadParser
from files.api.responses import ContentResponse, Part, Unsatisfiable
from files.api.serializers import (
    DeletedFileSerializer,
    DownloadLinkSerializer,
    FilesSerializer,
    LinkRequestSerializer,
    StoredFileSerializer,
    UploadedFileSerializer,
    UploadQuerySerializer,
    UploadSerializer,
)
from files.errors import ExpiryOutOfRange, ProviderUnknown
from files.models import StoredFile
from files.services import LONGEST_HOURS, NewFile

_PROVIDER = "gcs"
_NOT_A_FORM = OpenApiResponse(ErrorSerializer, "The body must be multipart/form-data.")
_CONTENT = OpenApiResponse(OpenApiTypes.BINARY, "The content.")
_PART = OpenApiResponse(OpenApiTypes.BINARY, "The part that the header Range asks for.")
_NO_SUCH_PART = OpenApiResponse(ErrorSerializer, "The content has no such part; `Content-Range` tells its size.")


class UploadView(APIView):
    """Where files come in."""

    throttle_scope = "uploads"
    parser_classes = (UploadParser,)
    throttle_scope = "uploads"

    @extend_schema(
        tags=["files"],
        operation_id="upload_file",
        summary="Upload a file",
        parameters=[UploadQuerySerializer, IDEMPOTENCY_KEY],
        request={"multipart/form-data": UploadSerializer},
        responses={200: UploadedFileSerializer, **error_responses(400, 401, 409, 422, 503), 415: _NOT_A_FORM},
    )
    def post(self, request: Request) -> Response:
        """Keep the file of the form for some hours, if it is what it says and free of viruses, and tell its URI."""
        query = checked_query(UploadQuerySerializer, request)
        hours = query["expiration_hours"]
        if query["provider"] != _PROVIDER:
            raise ProviderUnknown
        if not 1 <= hours <= LONGEST_HOURS:
            raise ExpiryOutOfRange
        form = UploadSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        upload = form.validated_data["file"]
        key = idempotency_key_of(request)
        new = NewFile(
            content=upload,
            name=upload.name,
            media_type=upload.content_type or "",
            lifetime=timedelta(hours=hours),
            key=key and f"upload:{key}",
            must_match=True,
        )
        file = services.keep_file(_user(request).pk, new)
        return Response({**_shown(file), "expires_in_hours": hours})


class FilesView(APIView):
    """The caller's files."""

    @extend_schema(
        tags=["files"],
        operation_id="list_files",
        summary="List your files",
        parameters=cursor_parameters(),
        responses={200: FilesSerializer, **error_responses(401, 422)},
    )
    def get(self, request: Request) -> Response:
        """Return a page of your files, newest first, with those that your runs made, and how much room they take."""
        paging = CursorPaging.of(request)
        user = _user(request)
        page, pagination = paging.cut(StoredFile.objects.visible_to(user, timezone.now()))
        _, used = StoredFile.objects.filter(user=user).usage()
        usage = {"used_bytes": used, "quota_bytes": services.quota_bytes()}
        return Response({"files": [_shown(file) for file in page], "pagination": pagination, "usage": usage})


class FileView(APIView):
    """One file."""

    @extend_schema(
        tags=["files"],
        operation_id="get_file",
        summary="Get what is known of a file",
        responses={200: StoredFileSerializer, **error_responses(401, 404)},
    )
    def get(self, request: Request, file_id: UUID) -> Response:
        """Return the file without its content."""
        return Response(_shown(services.own_file(_user(request), file_id)))

    @extend_schema(
        tags=["files"],
        operation_id="delete_file",
        summary="Delete a file",
        responses={200: DeletedFileSerializer, **error_responses(401, 404)},
    )
    def delete(self, request: Request, file_id: UUID) -> Response:
        """Delete the file with its content; links to it lead nowhere from now on."""
        services.delete_file(_user(request), file_id)
        return Response({"id": str(file_id)})


class LinkView(APIView):
    """Where links are made."""

    @extend_schema(
        tags=["files"],
        operation_id="link_file",
        summary="Make a link to a file's content",
        request=LinkRequestSerializer,
        responses={200: DownloadLinkSerializer, **error_responses(401, 404, 413, 415, 422)},
    )
    def post(self, request: Request, file_id: UUID) -> Response:
        """Return an address where anybody can download this file for some time."""
        body = LinkRequestSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        file = services.own_file(_user(request), file_id)
        lifetime = timedelta(seconds=body.validated_data["expires_in_seconds"])
        until = min(timezone.now() + lifetime, file.expires_at).replace(microsecond=0)
        path = reverse("download-file", kwargs={"file_id": file.pk})
        query = urlencode({"token": links.token_for(file.pk, until)})
        return Response(
            DownloadLinkSerializer({"url": request.build_absolute_uri(f"{path}?{query}"), "expires_at": until}).data
        )


class _AnythingGoes(BaseContentNegotiation):
    """A content has the type that it has, whatever the client would like best; errors are JSON."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class DownloadView(APIView):
    """Where contents go out: to their owners, and to whoever has a link."""

    permission_classes = (AllowAny,)
    content_negotiation_class = _AnythingGoes

    @extend_schema(
        tags=["files"],
        operation_id="download_file",
        summary="Download a file",
        parameters=[
            OpenApiParameter("token", str, description="Of a link to this file, instead of an access token."),
            OpenApiParameter("Range", str, OpenApiParameter.HEADER, description="A part of it, as in bytes=0-1023."),
        ],
        responses={
            (200, "application/octet-stream"): _CONTENT,
            (206, "application/octet-stream"): _PART,
            **error_responses(401, 403, 404, 503),
            416: _NO_SUCH_PART,
        },
    )
    def get(self, request: Request, file_id: UUID) -> HttpResponseBase:
        """Send the content, always as something to save and never to show."""
        file = _file_for(request, file_id)
        etag = f'"{file.sha256}"'
        try:
            part = Part.asked_for(request, file.size, etag)
        except Unsatisfiable:
            message = f"The file has {file.size:,} bytes"
            headers = {"Content-Range": f"bytes */{file.size}"}
            return Response(envelope("no_such_part", message), status=416, headers=headers)
        content = services.open_content(file)
        response = ContentResponse(
            content, size=file.size, name=file.name, media_type=file.media_type, etag=etag, part=part
        )
        if request.method == "HEAD":
            response.leave_out_content()
        return response


def _file_for(request: Request, file_id: UUID) -> StoredFile:
    token = request.query_params.get("token")
    if token is not None:
        links.check(token, file_id)
        return services.linked_file(file_id)
    if not request.user.is_authenticated:
        raise NotAuthenticated
    return services.own_file(_user(request), file_id)


def _user(request: Request) -> User:
    return cast(User, request.user)


def _shown(file: StoredFile) -> dict[str, Any]:
    return dict(StoredFileSerializer(file).data)
