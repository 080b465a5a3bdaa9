"""The ASGI application: HTTP goes to Django, WebSockets go to Channels."""

import logging
import os
import warnings

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup(set_prefix=False)

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from accounts.sockets import TokenAuth  # noqa: E402  the apps are loaded by the line above
from core.asgi import ThreadedHandler  # noqa: E402
from core.logs import WithoutTokens  # noqa: E402
from executions.routing import websocket_urlpatterns  # noqa: E402

for _name in ("uvicorn.error", "uvicorn.access"):
    logging.getLogger(_name).addFilter(WithoutTokens())

# WhiteNoise reads the few small static files that it serves in one go; Django would have them read in pieces.
warnings.filterwarnings("ignore", "StreamingHttpResponse must consume synchronous iterators")

application = ProtocolTypeRouter(
    {"http": ThreadedHandler(), "websocket": TokenAuth(URLRouter(websocket_urlpatterns))},
)
