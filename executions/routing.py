"""Where the WebSockets of this app are."""

from django.urls import path

from executions.consumers import RunsConsumer

websocket_urlpatterns = [path("ws", RunsConsumer.as_asgi())]
