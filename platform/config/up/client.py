"""A client of the public API, as anybody outside would write one: REST for requests, the WebSocket to watch."""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx2
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

FINAL = frozenset({"COMPLETED", "FAILED", "TERMINATED"})


class ApiRefused(Exception):
    """The API answered with an error; the message is what it said, `status` its HTTP status, 0 on a WebSocket."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """Speaks for one person; an async context manager."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._http = httpx2.AsyncClient(base_url=base_url, timeout=30, trust_env=False)
        self.token = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def is_up(self) -> bool:
        """Whether the server answers and finds its database."""
        try:
            return (await self._http.get("/health")).status_code == 200
        except httpx2.TransportError:
            return False

    async def log_in(self, email: str, password: str) -> None:
        """Get a token and use it from now on; raises `ApiRefused`."""
        tokens = await self.send("POST", "/api/auth/token", {"email": email, "password": password})
        self.token = tokens["access"]
        self._http.headers["Authorization"] = f"Bearer {self.token}"

    async def send(self, method: str, path: str, body: object = None) -> Any:
        """Send a request and return the answer's JSON; raises `ApiRefused`."""
        answer = await self._http.request(method, path, json=body)
        if answer.is_error:
            message = f"{method} {path} was answered {answer.status_code}: {_message(answer)}"
            raise ApiRefused(message, answer.status_code)
        return answer.json()

    async def follow(self, run_id: str) -> AsyncIterator[dict[str, Any]]:
        """The events of a run in their order, from its first to the one that ends it; reconnects after a cut."""
        seen = 0
        address = self._base_url.replace("http", "ws", 1) + f"/ws?token={quote(self.token)}"
        async for socket in connect(address, open_timeout=10, proxy=None):
            subscription = {"graph_exec_id": run_id, "after_seq": seen}
            with suppress(ConnectionClosed):
                await socket.send(json.dumps({"method": "subscribe_graph_execution", "data": subscription}))
                async for text in socket:
                    message = json.loads(text)
                    if message["method"] == "error":
                        raise ApiRefused(f"The WebSocket answered: {message.get('error')}")
                    if not message["method"].endswith("_event"):
                        continue
                    event = message["data"]
                    seen = max(seen, event.get("seq") or message.get("seq") or 0)
                    yield event
                    if message["method"] == "graph_execution_event" and event["status"] in FINAL:
                        await socket.close()
                        return


def _message(answer: httpx2.Response) -> str:
    try:
        said = answer.json()
        parts = [part.rstrip(".") for part in (said.get("message"), said.get("hint")) if part]
        return ". ".join(parts) + "." if parts else answer.text[:500]
    except ValueError:
        return answer.text[:500]
