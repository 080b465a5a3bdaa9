"""Taskloom as a client outside sees it: REST with a bearer token, and the ends of runs on the WebSocket."""

import time
from collections.abc import Iterable
from urllib.parse import quote

import orjson
from websockets.sync.client import ClientConnection, connect

from tests.bench.graphs import Graphs
from tests.bench.installation import Installation, somebody
from tests.drawing import Drawn

_FINAL = ("COMPLETED", "FAILED", "TERMINATED")
_PATIENCE = 60.0


class OverHttp:
    """One kept connection for requests, one socket that is subscribed to every graph before it is run."""

    name = "over HTTP"
    leaves_out = frozenset({"W5a", "W5b"})

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        # How long each request that started a single run took, in seconds.
        self.requests: list[float] = []

    def start(self) -> None:
        """Log in and open the socket."""
        user = somebody(f"over-http-{id(self)}")
        self._rest = self._installation.log_in(user)
        self._socket = open_socket(self._installation, self._rest.token)
        self._graphs = Graphs(user, self._watch)
        self.chain(1)

    def stop(self) -> None:
        """Hang up."""
        self._socket.close()

    def chain(self, nodes: int) -> None:
        """Run one chain to its end."""
        self._run(self._graphs.chain(nodes))

    def fan(self, width: int) -> None:
        """Run one fan to its end."""
        self._run(self._graphs.fan(width))

    def burst(self, runs: int, nodes: int) -> None:
        """Run many chains with a request for each, all submitted before the first is waited for."""
        graph = self._graphs.chain(nodes)
        self._wait([self._submit(graph) for _ in range(runs)])

    def _run(self, graph: Drawn) -> None:
        started = time.perf_counter()
        run_id = self._submit(graph)
        self.requests.append(time.perf_counter() - started)
        self._wait([run_id])

    def _submit(self, graph: Drawn) -> str:
        run = self._rest.send("POST", f"/api/graphs/{graph.id}/execute/{graph.version}", {"inputs": {}})
        return str(run["id"])

    def _wait(self, run_ids: Iterable[str]) -> None:
        missing = set(run_ids)
        while missing:
            event = orjson.loads(self._socket.recv(_PATIENCE)).get("data")
            if isinstance(event, dict) and event.get("id") in missing and event["status"] in _FINAL:
                if event["status"] != "COMPLETED":
                    raise AssertionError(f"The run {event['id']} ended as {event['status']}: {event['error']}")
                missing.discard(event["id"])

    def _watch(self, graph: Drawn) -> None:
        subscription = {"method": "subscribe_graph_executions", "data": {"graph_id": str(graph.id)}}
        self._socket.send(orjson.dumps(subscription).decode())
        reply = orjson.loads(self._socket.recv(_PATIENCE))
        while reply["method"] != subscription["method"]:
            reply = orjson.loads(self._socket.recv(_PATIENCE))


class OverHttpInOneCall(OverHttp):
    """The same client, which submits a burst with one request."""

    name = "over HTTP, in one call"
    leaves_out = frozenset({"W1", "W2", "W4", "W5a", "W5b"})

    def burst(self, runs: int, nodes: int) -> None:
        """Run many chains, all submitted by one request."""
        graph = self._graphs.chain(nodes)
        answer = self._rest.send(
            "POST", f"/api/graphs/{graph.id}/execute-batch/{graph.version}", {"runs": [{"inputs": {}}] * runs}
        )
        self._wait([execution["id"] for execution in answer["executions"]])


def open_socket(installation: Installation, token: str) -> ClientConnection:
    """A WebSocket of whom the token names."""
    return connect(f"ws://127.0.0.1:{installation.port}/ws?token={quote(token)}", proxy=None, max_size=None)
