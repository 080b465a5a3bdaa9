"""The HTTP server in front of an account, and the webhooks that leave it."""

import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Barrier, Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from urllib.request import Request, urlopen

from tests.fake_stripe.account import Object, Refusal, StripeAccount, shown

API_KEY = "sk_test_fake"
SECRET = "whsec_fake"


@dataclass(frozen=True)
class Asked:
    """A request that arrived."""

    method: str
    path: str
    params: Object
    key: str | None


@dataclass
class FakeStripe:
    """A running server. `faults` are what the next requests that change something meet, one each.

    A fault is a status to answer with before anything is done, or `"lost"`: it is done, and the answer does not arrive.
    At `gates`, by method and path, requests wait until so many are there. `webhook` is told when somebody posts to the
    address of a page, which pays.
    """

    account: StripeAccount
    origin: str
    asked: list[Asked] = field(default_factory=list)
    faults: list[int | str] = field(default_factory=list)
    gates: dict[tuple[str, str], Barrier] = field(default_factory=dict)
    webhook: str = ""
    _answers: dict[str, tuple[Object, int, bytes]] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def running(cls, port: int = 0) -> Iterator["FakeStripe"]:
        """The server for as long as the block lasts."""
        account = StripeAccount()
        listener = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
        listener.daemon_threads = True
        account.origin = f"http://127.0.0.1:{listener.server_address[1]}"
        stripe = cls(account, account.origin)
        listener.stripe = stripe  # type: ignore[attr-defined]
        thread = Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield stripe
        finally:
            listener.shutdown()
            listener.server_close()
            thread.join()

    def changes(self) -> list[str]:
        """The paths of the requests that change something, in the order they came."""
        return [asked.path for asked in self.asked if asked.method == "POST"]

    def forget_keys(self) -> None:
        """A day has passed: idempotency keys count no more."""
        self._answers.clear()

    def signed(self, event: Object | bytes, *, secret: str = SECRET, at: int | None = None) -> tuple[bytes, str]:
        """The body of a webhook and its Stripe-Signature header."""
        body = event if isinstance(event, bytes) else json.dumps(event, indent=2).encode()
        at = int(time.time()) if at is None else at
        digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        return body, f"t={at},v1={digest}"

    def deliver(self, event: Object, url: str, secret: str = SECRET) -> int:
        """Post a webhook to a server; returns the status that it answers."""
        body, signature = self.signed(event, secret=secret)
        headers = {"Content-Type": "application/json; charset=utf-8", "Stripe-Signature": signature}
        with urlopen(Request(url, body, headers), timeout=30) as answer:  # noqa: S310  loopback
            return int(answer.status)

    def answer(self, method: str, path: str, params: Object, key: str | None) -> tuple[int, bytes, bool] | None:
        """What Stripe answers to a request: status, body, and whether it answered so before; None is silence."""
        fault = self.faults.pop(0) if method == "POST" and self.faults else None
        if isinstance(fault, int):
            return (
                fault,
                json.dumps({"error": {"type": "api_error", "message": "Something is wrong here"}}).encode(),
                False,
            )
        if (method, path) in self.gates:
            self.gates[method, path].wait(timeout=10)
        # One at a time: a repetition waits for the first and then hears the same.
        with self.account.lock:
            self.asked.append(Asked(method, path, params, key))
            known = self._answers.get(key) if key else None
            if known is not None:
                if known[0] != {"path": path, **params}:
                    message = "Keys for idempotent requests can only be used with the same parameters."
                    error = {"type": "idempotency_error", "message": message}
                    return 400, json.dumps({"error": error}).encode(), False
                status, body = known[1:]
            else:
                status, body = self._carry_out(method, path, params)
                if key:
                    self._answers[key] = ({"path": path, **params}, status, body)
        return None if fault == "lost" else (status, body, known is not None)

    def _carry_out(self, method: str, path: str, params: Object) -> tuple[int, bytes]:
        try:
            return 200, json.dumps(shown(self._route(method, path)(params))).encode()
        except Refusal as refusal:
            return refusal.status, json.dumps({"error": refusal.error}).encode()
        except (KeyError, ValueError) as error:
            refused = {"type": "invalid_request_error", "message": f"Missing or wrong: {error}"}
            return 400, json.dumps({"error": refused}).encode()

    def _route(self, method: str, path: str) -> Any:
        for (wanted, pattern), act in self.account.routes.items():
            found = re.fullmatch(pattern.replace("*", "([^/]+)"), path)
            if wanted == method and found:
                return lambda params: act(*found.groups(), params)
        raise Refusal(404, "invalid_request_error", f"Unrecognized request URL ({method}: /v1/{path})")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Without it an answer waits 40 ms for the acknowledgement of its headers.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        if self.path.startswith("/pay/"):
            self._pay(self.path.removeprefix("/pay/"))
        else:
            self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _pay(self, session_id: str) -> None:
        stripe: FakeStripe = self.server.stripe  # type: ignore[attr-defined]
        event = stripe.account.pay(session_id)
        if stripe.webhook:
            stripe.deliver(event, stripe.webhook)
        self._send(200, json.dumps(event["data"]["object"]).encode())

    def _serve(self) -> None:
        stripe: FakeStripe = self.server.stripe  # type: ignore[attr-defined]
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if self.headers.get("Authorization") != f"Bearer {API_KEY}":
            error = {"type": "invalid_request_error", "message": "Invalid API Key provided: sk_test_****"}
            self._send(401, json.dumps({"error": error}).encode())
            return
        params = nested(parse_qsl(body if self.command == "POST" else parts.query, keep_blank_values=True))
        answer = stripe.answer(
            self.command, parts.path.removeprefix("/v1/"), params, self.headers.get("Idempotency-Key")
        )
        if answer is None:
            self.close_connection = True
            return
        status, content, replayed = answer
        self._send(status, content, {"Idempotent-Replayed": "true"} if replayed else {})

    def _send(self, status: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Request-Id", "req_fake")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def nested(pairs: list[tuple[str, str]]) -> Object:
    """A form such as `a[b]=1&c[0][d]=2` as objects and lists."""
    root: Object = {}
    for name, value in pairs:
        first, *rest = re.findall(r"[^\[\]]+", name)
        place, key = root, first
        for part in rest:
            place = place.setdefault(key, {})
            key = part
        place[key] = value
    return {name: _listed(value) for name, value in root.items()}


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inside = {name: _listed(item) for name, item in value.items()}
    return list(inside.values()) if inside and all(name.isdigit() for name in inside) else inside
