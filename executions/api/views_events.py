"""The events of runs over HTTP: as a stream, and page by page."""

import re
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any
from uuid import UUID

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.ticketed import TicketedView, session_behind
from core.api import Problem, QuickJSONRenderer, RequestInvalid, checked_query, error_responses
from executions.api.requests import own_run, user_of
from executions.kinds import FINAL
from executions.models import GraphExecution
from executions.watching.event_stream import RunStream, places
from executions.watching.pages import MAX_EVENTS
from executions.watching.run_events import events_after, opening

_JSON = "application/json"
_STREAM = "text/event-stream"
_LONGEST_NUMBER = 18


class EventsQuerySerializer(serializers.Serializer[Any]):
    """Which events of a run."""

    after = serializers.IntegerField(
        min_value=0, max_value=10**_LONGEST_NUMBER, default=0, help_text="The number of the last event that you have."
    )
    limit = serializers.IntegerField(
        min_value=1, max_value=MAX_EVENTS, default=MAX_EVENTS, help_text="How many at most; not of a stream."
    )


class EventsSerializer(serializers.Serializer[Any]):
    """Events that follow each other."""

    events = serializers.ListField(
        child=serializers.DictField(), help_text="Each as `data` of its message on the WebSocket, in order."
    )
    next_after = serializers.IntegerField(help_text="The `after` of the page behind this one.")
    seq = serializers.IntegerField(help_text="The number of the newest event by now.")
    is_over = serializers.BooleanField(help_text="Whether the run has ended and no event follows these.")


class EventStreamRenderer(BaseRenderer):
    """Stands for the stream when a client says what it takes; the stream itself is not rendered."""

    media_type = _STREAM
    format = "event-stream"

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        """What is no stream is JSON."""
        return QuickJSONRenderer().render(data)


class EventStream(StreamingHttpResponse):
    """A response whose end is told to who counts them."""

    def __init__(self, parts: AsyncGenerator[bytes], when_closed: Callable[[], None]) -> None:
        super().__init__(parts, content_type=_STREAM)
        self._parts = parts
        # Proxies that collect what they pass on would hold the events back.
        self.headers["X-Accel-Buffering"] = "no"
        self._when_closed: Callable[[], None] | None = when_closed

    def __aiter__(self) -> AsyncGenerator[bytes]:
        """The parts themselves: who closes a generator around them would leave them open."""
        return self._parts

    def close(self) -> None:
        """End the response."""
        super().close()
        if self._when_closed is not None:
            self._when_closed()
            self._when_closed = None


class EventsView(TicketedView):
    """What happened in a run, and what happens next."""

    # As the answer to HEAD the stream would be sent although nobody reads it.
    http_method_names = ("get", "options")
    renderer_classes = (EventStreamRenderer, QuickJSONRenderer)

    @extend_schema(
        tags=["executions"],
        operation_id="get_execution_events",
        summary="Follow the events of a run",
        parameters=[
            EventsQuerySerializer,
            OpenApiParameter(
                "Last-Event-ID",
                int,
                OpenApiParameter.HEADER,
                description="As `after`, and outranks it.",
            ),
        ],
        responses={
            (200, _STREAM): OpenApiTypes.STR,
            (200, _JSON): EventsSerializer,
            204: None,
            **{(status, _JSON): body for status, body in error_responses(401, 404, 409, 422).items()},
        },
    )
    def get(self, request: Request, graph_id: UUID, graph_exec_id: UUID) -> HttpResponseBase:
        """Stream the events after `after` as Server-Sent Events until the run ends, or return a page of them as JSON.

        The stream is what clients get who do not ask for JSON. Its ids are the events' numbers, each `data` is the
        message of the WebSocket. When the run has ended and no event follows, the answer to who asks for the stream is
        204, which keeps a browser from coming again.
        """
        query = checked_query(EventsQuerySerializer, request)
        run = own_run(request, graph_exec_id, graph_id)
        after = _after(request, query["after"], run)
        if request.accepted_renderer.media_type == _JSON:
            return Response(_page(request, run, after, query["limit"]))
        if run.status in FINAL and after == run.head_seq:
            return Response(status=204)
        session = session_behind(request)
        give_back = places.take(run.user_id)
        return EventStream(RunStream(session, run.pk, after).parts(), give_back)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Say of errors that they are JSON, whatever the client takes."""
        final = super().finalize_response(request, response, *args, **kwargs)
        if isinstance(final, Response):
            final.accepted_renderer = QuickJSONRenderer()
            final.accepted_media_type = _JSON
        return final


def _page(request: Request, run: GraphExecution, after: int, limit: int) -> dict[str, Any]:
    told, _ = opening(user_of(request), run.pk, after)
    events = events_after(user_of(request), run.pk, told.place).events[:limit]
    last = events[-1]["seq"] if events else after
    newest = max(run.head_seq, last)
    return {
        "events": events,
        "next_after": last,
        "seq": newest,
        "is_over": run.status in FINAL and last == newest,
    }


def _after(request: Request, asked: int, run: GraphExecution) -> int:
    """The number of the last event that the client has; raises `RequestInvalid` when it can have none such."""
    place, number = ["query", "after"], asked
    if header := request.headers.get("Last-Event-ID"):
        place = ["header", "Last-Event-ID"]
        if not re.fullmatch(rf"[0-9]{{1,{_LONGEST_NUMBER}}}", header):
            raise RequestInvalid([Problem(loc=place, msg="Input should be the number of an event", type="int_parsing")])
        number = int(header)
    if number > run.head_seq:
        message = f"Input should be at most {run.head_seq}, the number of the run's newest event"
        raise RequestInvalid([Problem(loc=place, msg=message, type="less_than_equal")])
    return number
