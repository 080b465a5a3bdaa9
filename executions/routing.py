"""Where the WebSockets of this app are."""

from typing import Any

from django.urls import path

from executions.consumers import RunsConsumer

# The stubs know only views of HTTP; Channels takes its own applications here.
websocket_urlpatterns: list[Any] = [path("ws", RunsConsumer.as_asgi())]  # type: ignore[arg-type]
