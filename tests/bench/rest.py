"""A client of the REST interface that takes little time itself: one connection, kept alive."""

import http.client
from http.client import HTTPConnection
from typing import Any

import orjson

_ENDED = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError)


class Refused(Exception):
    """The answer was an error; `status` is its number."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:300]}")
        self.status = status


class Rest:
    """Speaks for one person, one request after the other."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = HTTPConnection(host, port, timeout=60)
        self._headers = {"Content-Type": "application/json"}
        self.token = ""
        self.host, self.port = host, port

    def is_up(self, path: str = "/health") -> bool:
        """Whether the server answers."""
        try:
            self.send("GET", path)
        except (OSError, Refused):
            return False
        return True

    def log_in(self, email: str, password: str) -> None:
        """Get a token and use it from now on."""
        self.token = self.send("POST", "/api/auth/token", {"email": email, "password": password})["access"]
        self._headers["Authorization"] = f"Bearer {self.token}"

    def send(self, method: str, path: str, body: object = None) -> Any:
        """Send a request and return the answer's JSON; raises `Refused`."""
        content = None if body is None else orjson.dumps(body)
        try:
            status, text = self._exchange(method, path, content)
        except _ENDED:
            # The server ends a connection that was idle for some seconds.
            self._connection.close()
            status, text = self._exchange(method, path, content)
        if status >= 400:
            raise Refused(status, text.decode(errors="replace"))
        return orjson.loads(text) if text else None

    def _exchange(self, method: str, path: str, content: bytes | None) -> tuple[int, bytes]:
        self._connection.request(method, path, content, self._headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()
