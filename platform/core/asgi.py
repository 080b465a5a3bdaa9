"""Django under ASGI, with one change of threads for each request."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from io import BytesIO
from typing import IO, Any, TypeVar, cast

from django.conf import settings
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.signals import request_started
from django.db import close_old_connections
from django.http import FileResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from core.api import MAX_BODY_BYTES, envelope
from core.headers import dress

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
# How long a client may take nothing of what is sent on the way.
SEND_SECONDS = 30.0
# More threads than connections: who waits for a connection in vain is told so, and what needs none is answered.
_THREADS_PER_CONNECTION = 4

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class ThreadedHandler(ASGIHandler):
    """Answers each request, from its signals to its middleware and view, in one go in a thread that is kept.

    Django's own handler starts a thread for each request and changes to it and back for every step: once for each
    middleware and direction, and for each signal. Views and middleware must be synchronous, as all of ours are.
    """

    def __init__(self) -> None:
        super().__init__()
        threads = settings.DB_POOL_SIZE * _THREADS_PER_CONNECTION
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="request")

    def load_middleware(self, is_async: bool = False) -> None:
        """Build the chain of middleware, which is called in a thread."""
        super().load_middleware(is_async=False)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request; one whose client leaves before it is complete is dropped."""
        try:
            body = await self.read_body(receive) if _is_acceptable(scope) else BytesIO()
        except RequestAborted:
            return
        try:
            response = await self._in_thread(lambda: self._answer(scope, body))
            if response.streaming:
                await self._stream(response, receive, send)
            else:
                await self.send_response(response, send)
        finally:
            body.close()

    def _answer(self, scope: dict[str, Any], body: IO[bytes]) -> HttpResponseBase:
        set_script_prefix(get_script_prefix(scope))
        request_started.send(sender=type(self), scope=scope)
        request, refusal = self.create_request(scope, body)
        response: Any = refusal if request is None else self.get_response(request)
        response._handler_class = type(self)
        if isinstance(response, FileResponse):
            response.block_size = self.chunk_size
        # Either way the connection to the database goes back to the pool.
        if response.streaming:
            close_old_connections()
        else:
            # Its content stays.
            response.close()
        return cast(HttpResponseBase, response)

    def create_request(self, scope: Mapping[str, Any], body_file: IO[bytes]) -> tuple[Any, Any]:
        """The request, or the answer to one that is none."""
        request, refusal = super().create_request(scope, body_file)
        if refusal is not None:
            problem = envelope("bad_request", "The request is not acceptable.")
            refusal = dress(scope["path"], JsonResponse(problem, status=refusal.status_code))
        return request, refusal

    async def _stream(self, response: HttpResponseBase, receive: Receive, send: Send) -> None:
        """Send a response that is made on the way, until it ends, or its client leaves or takes nothing for long."""

        async def send_soon(message: Mapping[str, Any]) -> None:
            async with asyncio.timeout(SEND_SECONDS):
                await send(message)

        sending = asyncio.create_task(self.send_response(response, send_soon))
        leaving = asyncio.create_task(self.listen_for_disconnect(receive))
        try:
            await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        except TimeoutError:
            log.info("A client that did not read was let go")
        finally:
            sending.cancel()
            leaving.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
            await self._in_thread(response.close)

    async def _in_thread(self, action: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, action)


def _is_acceptable(scope: dict[str, Any]) -> bool:
    """Whether to read the request's body. One that will be refused for its length would only fill the disk."""
    headers = dict(scope["headers"])
    announced = headers.get(b"content-length", b"")
    if not announced.isdigit():
        return b"transfer-encoding" not in headers
    return int(announced) <= settings.LARGE_BODIES.get(scope["path"], MAX_BODY_BYTES)
