"""The ASGI application: HTTP goes to Django, WebSockets go to Channels."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django_application = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from accounts.sockets import TokenAuth  # noqa: E402  the apps are loaded by the line above
from executions.routing import websocket_urlpatterns  # noqa: E402

application = ProtocolTypeRouter(
    {"http": django_application, "websocket": TokenAuth(URLRouter(websocket_urlpatterns))},
)
