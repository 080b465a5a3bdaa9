"""What a request costs, beside a plain Django view: one after the other for the times, four clients for the rate."""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.conf import settings
from django.db import connection

from accounts.models import User
from config.up.children import Child
from tests import make
from tests.bench import bare
from tests.bench.figures import Check, Line, Section, percentile
from tests.bench.installation import HOST, PASSWORD, a_free_port, running, somebody, wait_until_up
from tests.bench.rest import Rest
from tests.drawing import draw

REQUESTS = 150
WARM_UP = 50
CLIENTS = 4
GRAPHS = 25
START = "start run"
INSERT = "bare Django view with one insert"
LIMIT = 3.0


@dataclass
class Contender:
    """A request, who sends it, and the figures of each round."""

    name: str
    clients: list[Rest]
    method: str
    path: str
    body: object = None
    p50: list[float] = field(default_factory=list)
    p95: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)

    def send(self, client: Rest, times: int) -> list[float]:
        """The milliseconds of requests one after the other."""
        taken = []
        for _ in range(times):
            started = time.perf_counter()
            client.send(self.method, self.path, self.body)
            taken.append((time.perf_counter() - started) * 1000)
        return taken

    def measure(self) -> None:
        """Do one round."""
        times = self.send(self.clients[0], REQUESTS)
        self.p50.append(percentile(times, 0.5))
        self.p95.append(percentile(times, 0.95))
        started = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as threads:
            list(threads.map(lambda client: self.send(client, REQUESTS // CLIENTS), self.clients))
        self.rate.append(REQUESTS // CLIENTS * CLIENTS / (time.perf_counter() - started))


def measure(rounds: int) -> Section:
    """Measure all requests in interleaved rounds. No worker runs what is started."""
    user = somebody("requests")
    with running(workers=0) as installation, _bare_server() as bare_port:
        ours = [_client(installation.port, user) for _ in range(CLIENTS)]
        theirs = [Rest(HOST, bare_port) for _ in range(CLIENTS)]
        contenders = [*_of_ours(user, ours), *_of_theirs(theirs)]
        for contender in contenders:
            contender.send(contender.clients[0], WARM_UP)
        for _ in range(rounds):
            for contender in contenders:
                contender.measure()
    sys.stderr.write("measured: requests\n")
    return _section(contenders)


def _of_ours(user: User, clients: list[Rest]) -> list[Contender]:
    for _ in range(GRAPHS):
        make.a_graph(user)
    graph = draw(
        user,
        {"in": ("AgentInput", {"name": "who"}), "out": ("AgentOutput", {"name": "shout"})},
        ["in.result -> out.value"],
    )
    run = make.a_run(user, graph.id, status="COMPLETED")
    for number in range(5):
        make.an_activation(run, graph.nodes["in"], "AgentInput", [("result", f"value {number}")], ordinal=number)
    address = f"/api/graphs/{graph.id}"
    return [
        Contender("token auth", clients, "GET", "/api/auth/user/timezone"),
        Contender(f"list {GRAPHS} graphs", clients, "GET", f"/api/graphs?page_size={GRAPHS}"),
        Contender("get run of 5 activations", clients, "GET", f"{address}/executions/{run.pk}"),
        Contender(START, clients, "POST", f"{address}/execute/1", {"inputs": {"who": "me"}}),
    ]


def _of_theirs(clients: list[Rest]) -> list[Contender]:
    return [
        Contender("bare Django view", clients, "GET", "/view"),
        Contender(INSERT, clients, "POST", "/insert", {"inputs": {"who": "me"}}),
    ]


def _section(contenders: list[Contender]) -> Section:
    section = Section("Requests over HTTP, one connection each")
    floor = next(each for each in contenders if each.name == INSERT)
    for each in contenders:
        p95, least = Line(each.name, "p95", "ms", each.p95), Line(INSERT, "p95", "ms", floor.p95)
        if each.name == START:
            times = p95.middle / least.middle
            p95 = Line(each.name, "p95", "ms", each.p95, [Check(times, "× bare insert", LIMIT)])
        section.lines += [
            Line(each.name, "p50", "ms", each.p50),
            p95,
            Line(each.name, f"{CLIENTS} clients", "requests/s", each.rate),
        ]
    return section


def _client(port: int, user: User) -> Rest:
    rest = Rest(HOST, port)
    rest.log_in(user.email, PASSWORD)
    return rest


@contextmanager
def _bare_server() -> Iterator[int]:
    with connection.cursor() as cursor:
        cursor.execute(bare.TABLE)
    port = a_free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", "tests.bench.bare:application"]
    options = ["--host", HOST, "--port", str(port), "--lifespan", "off", "--no-access-log"]
    server = Child("bare", [*command, *options], settings.TASKLOOM_HOME / "logs" / "bare.log")
    try:
        server.start()
        wait_until_up(port, server.log, "/view")
        yield port
    finally:
        server.stop()
