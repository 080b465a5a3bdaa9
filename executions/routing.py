"""Where the WebSockets of this app are."""

from typing import Any

from django.urls import path

from executions.consumers import consume

# The stubs know only views of HTTP; Channels takes its own applications here.
websocket_urlpatterns: list[Any] = [path("ws", consume)]  # type: ignore[arg-type]
