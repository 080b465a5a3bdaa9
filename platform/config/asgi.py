"""The ASGI application: HTTP goes to Django, WebSockets go to Channels."""

import gc
import logging
import os
import warnings

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup(set_prefix=False)

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import get_resolver  # noqa: E402

from accounts.sockets import TokenAuth  # noqa: E402  the apps are loaded by the line above
from core.asgi import ThreadedHandler  # noqa: E402
from core.door import Door  # noqa: E402
from core.logs import WithoutTokens, write_like_the_rest  # noqa: E402
from executions.routing import websocket_urlpatterns  # noqa: E402
from graphs.blocks.registry import BLOCKS  # noqa: E402

for _name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
    logging.getLogger(_name).addFilter(WithoutTokens())
    write_like_the_rest(_name)

# WhiteNoise reads the few small static files that it serves in one go; Django would have them read in pieces.
warnings.filterwarnings("ignore", "StreamingHttpResponse must consume synchronous iterators")

application = Door(
    ProtocolTypeRouter(
        {"http": ThreadedHandler(), "websocket": TokenAuth(URLRouter(websocket_urlpatterns))},
    )
)

# What is loaded by now stays for good: looked through for cycles every few requests, it held some of them up for as
# long as ten others take. Views and blocks are loaded here, so that no request waits for that.
get_resolver().url_patterns  # noqa: B018  reading it imports them
BLOCKS.all()
gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 20)
