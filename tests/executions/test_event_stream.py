"""Following a run over HTTP: as a stream of events, and page by page."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import open_sessions, tickets
from accounts import services as accounts
from accounts.models import Ending, Login, Role, Ticket, User
from config.asgi import application
from core import asgi, listening
from executions import services
from executions.engine.engine import Engine
from executions.models import GraphExecution
from executions.watching import event_stream
from graphs.models import GraphVersion
from tests import make
from tests.executions.conftest import ended
from tests.executions.watching import watching

PATIENCE = 15.0
STREAM = "text/event-stream"
JSON = "application/json"

Start = Callable[..., Awaitable[GraphExecution]]


class Request:
    """One GET of a run's events by a client that stays until it hangs up; `takes` is whether it reads."""

    def __init__(self, path: str, token: str = "", accept: str = STREAM, **more: str) -> None:
        query, headers = more.pop("query", ""), {"host": "localhost", "accept": accept, **more}
        if token:
            headers["authorization"] = f"Bearer {token}"
        self._scope: Any = {
            "type": "http", "http_version": "1.1", "method": "GET", "path": path, "root_path": "",
            "query_string": query.encode(), "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
        }  # fmt: skip
        self._got: list[Mapping[str, Any]] = []
        self._news = asyncio.Event()
        self._incoming: asyncio.Queue[Any] = asyncio.Queue()
        self._incoming.put_nowait({"type": "http.request"})
        self.takes = asyncio.Event()
        self.takes.set()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await application(self._scope, self._incoming.get, self._take)

    async def _take(self, message: Any) -> None:
        await self.takes.wait()
        self._got.append(message)
        self._news.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until what came is enough."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def answer(self) -> tuple[int, str]:
        """The status and the whole body."""
        await asyncio.wait_for(self.task, PATIENCE)
        return self.status, self.body

    async def opened(self) -> "Request":
        """Wait for the beginning of the stream."""
        await self.until(lambda: self.body)
        assert self.status == 200, self.body
        return self

    def hang_up(self) -> None:
        self._incoming.put_nowait({"type": "http.disconnect"})

    @property
    def status(self) -> int:
        return int(self._got[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode().lower(): value.decode() for name, value in self._got[0]["headers"]}

    @property
    def body(self) -> str:
        return b"".join(part.get("body", b"") for part in self._got[1:]).decode()

    @property
    def events(self) -> list[tuple[int, dict[str, Any]]]:
        """The events that came whole: their ids, and their messages."""
        found = []
        for part in self.body.split("\n\n")[:-1]:
            lines = dict(line.split(": ", 1) for line in part.split("\n"))
            if "data" in lines:
                found.append((int(lines["id"]), json.loads(lines["data"])))
        return found

    @property
    def numbers(self) -> list[int]:
        return [number for number, _ in self.events]


@pytest.fixture
async def token(owner: User) -> str:
    """The owner's access token."""
    return (await sync_to_async(accounts.issue_tokens)(owner)).access


@pytest.fixture
async def graph(owner: User) -> GraphVersion:
    """Three nodes that compute: its runs have six events."""
    return await sync_to_async(make.a_graph)(owner)


@pytest.fixture
def start(owner: User, graph: GraphVersion) -> Start:
    """Queue a run and leave it to the test to ring."""

    async def start_run() -> GraphExecution:
        return await sync_to_async(services.start_run)(
            graph.graph_id, 1, user_id=owner.pk, inputs={"who": "World"}, ring=False
        )

    return start_run


def path(run: GraphExecution) -> str:
    return f"/api/graphs/{run.graph_id}/executions/{run.pk}/events"


async def finished(engine: Engine, run: GraphExecution) -> None:
    engine.ring([run.pk])
    await sync_to_async(ended)(run.pk)


async def left_behind() -> bool:
    """Whether anybody still listens, after a moment."""
    for _ in range(500):
        if not listening._listeners:
            return False
        await asyncio.sleep(0.02)
    return True


@asynccontextmanager
async def following(*requests: Request) -> AsyncIterator[None]:
    """Hang up at the end, whatever happens."""
    try:
        yield
    finally:
        for request in requests:
            request.takes.set()
            request.hang_up()
        await asyncio.wait_for(asyncio.gather(*(request.task for request in requests)), PATIENCE)


async def test_a_stream_tells_all_that_happens_as_the_socket_does_and_ends_with_the_run(
    owner: User, token: str, start: Start, engine: Engine
) -> None:
    run = await start()
    stream = await Request(path(run), token).opened()
    assert stream.headers["content-type"] == STREAM
    assert stream.headers["x-accel-buffering"] == "no"
    assert stream.headers["cache-control"].startswith("no-store")
    await stream.until(lambda: stream.numbers == [1])
    engine.ring([run.pk])
    assert (await stream.answer())[0] == 200
    assert stream.numbers == [1, 2, 3, 4, 5, 6]
    async with watching(owner) as watcher:
        await watcher.send("subscribe_graph_execution", graph_exec_id=str(run.pk), after_seq=0)
        await watcher.next()
        assert [message for _, message in stream.events] == [await watcher.next() for _ in range(6)]
    assert not await left_behind()


async def test_a_stream_goes_on_after_the_last_event_that_a_client_has(
    token: str, start: Start, engine: Engine
) -> None:
    run = await start()
    await finished(engine, run)
    for seen, request in (
        (0, Request(path(run), token)),
        (4, Request(path(run), token, query="after=4")),
        # A browser comes again with the address of the first time.
        (5, Request(path(run), token, query="after=2", **{"last-event-id": "5"})),
    ):
        assert (await request.answer())[0] == 200
        assert request.numbers == list(range(seen + 1, 7))
    over = Request(path(run), token, query="after=6")
    assert await over.answer() == (204, "")


async def test_a_quiet_stream_shows_that_it_is_alive(token: str, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_SECONDS", 0.02)
    stream = Request(path(await start()), token, query="after=1")
    async with following(stream):
        await stream.until(lambda: stream.body.count("\n\n") > 3)
        assert stream.body.startswith("retry: 1000\n\n: \n\n: \n\n")
        assert stream.events == []


async def test_a_deleted_run_ends_its_stream(token: str, start: Start) -> None:
    run = await start()
    stream = Request(path(run), token, query="after=1")
    await stream.opened()
    await GraphExecution.objects.filter(pk=run.pk).aupdate(is_deleted=True)
    await sync_to_async(services.stop_run)(run.pk)
    assert (await stream.answer())[0] == 200
    assert stream.events == []


async def test_events_are_read_page_by_page_as_json(token: str, start: Start, engine: Engine) -> None:
    run = await start()
    early = json.loads((await Request(path(run), token, JSON).answer())[1])
    assert (early["seq"], early["next_after"], early["is_over"]) == (1, 1, False)
    await finished(engine, run)
    whole = Request(path(run), token)
    await whole.answer()
    messages = [message["data"] for _, message in whole.events]
    pages: list[dict[str, Any]] = []
    after = 0
    while not pages or not pages[-1]["is_over"]:
        request = Request(path(run), token, JSON, query=urlencode({"after": after, "limit": 4}))
        status, body = await request.answer()
        assert (status, request.headers["content-type"]) == (200, JSON)
        pages.append(json.loads(body))
        after = pages[-1]["next_after"]
    assert [len(page["events"]) for page in pages] == [4, 2]
    assert [event for page in pages for event in page["events"]] == messages
    assert [(page["next_after"], page["seq"], page["is_over"]) for page in pages] == [(4, 6, False), (6, 6, True)]
    status, body = await Request(path(run), token, JSON, query="after=6").answer()
    assert json.loads(body) == {"events": [], "next_after": 6, "seq": 6, "is_over": True}


@pytest.mark.parametrize("accept", [STREAM, JSON, "*/*"])
async def test_who_may_not_see_a_run_or_asks_for_what_cannot_be_is_told_in_json(
    token: str, start: Start, accept: str
) -> None:
    run = await start()
    other = (await sync_to_async(accounts.issue_tokens)(await sync_to_async(make.a_user)())).access
    absent = GraphExecution(pk=uuid4(), graph_id=run.graph_id)
    elsewhere = GraphExecution(pk=run.pk, graph_id=uuid4())
    for request, refusal in (
        (Request(path(run), "", accept), (401, "not_authenticated")),
        (Request(path(run), "nonsense", accept), (401, "token_refused")),
        (Request(path(run), token, accept, query="ticket=nonsense"), (401, "ticket_refused")),
        (Request(path(run), other, accept), (404, "no_such_run")),
        (Request(path(absent), token, accept), (404, "no_such_run")),
        (Request(path(elsewhere), token, accept), (404, "no_such_run")),
        (Request(path(run), token, accept, query="after=2"), (422, "request_invalid")),
        (Request(path(run), token, accept, query="after=-1"), (422, "request_invalid")),
        (Request(path(run), token, accept, query="after=x"), (422, "request_invalid")),
        (Request(path(run), token, accept, **{"last-event-id": "x"}), (422, "request_invalid")),
        (Request(path(run), token, accept, **{"last-event-id": "2"}), (422, "request_invalid")),
    ):
        status, body = await request.answer()
        assert (status, json.loads(body)["code"]) == refusal
        assert request.headers["content-type"] == JSON
    assert not await left_behind()


def test_a_stream_is_only_for_who_reads_it(api: APIClient) -> None:
    assert api.head(f"/api/graphs/{uuid4()}/executions/{uuid4()}/events").status_code == 405


# --- Tickets and sessions ---------------------------------------------------------------------------------------


async def test_a_ticket_opens_one_stream_in_place_of_a_token(owner: User, token: str, start: Start) -> None:
    run = await start()
    session = await sync_to_async(accounts.session_of)(token)
    ticket = await sync_to_async(tickets.issue)(session)
    stream = Request(path(run), query=f"ticket={ticket}")
    async with following(stream):
        await stream.until(lambda: stream.numbers == [1])
        assert (await Request(path(run), query=f"ticket={ticket}").answer())[0] == 401
    assert not await Ticket.objects.aexists()


@pytest.mark.parametrize("ending", ["logged out", "switched off", "expired"])
async def test_a_stream_ends_when_its_session_does(
    owner: User, token: str, start: Start, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(open_sessions, "LOOK_SECONDS", 0.05)
    run = await start()
    if ending == "expired":
        soon = timezone.now() + timedelta(seconds=1)
        session = await sync_to_async(accounts.session_of)(token)
        monkeypatch.setattr(accounts, "session_of", lambda _: accounts.Session(session.user, soon, session.login_id))
    stream = Request(path(run), token, query="after=1")
    async with following(stream):
        await stream.opened()
        if ending == "logged out":
            await sync_to_async(Login.objects.filter(user=owner).end)(timezone.now(), Ending.LOGGED_OUT)
        elif ending == "switched off":
            await User.objects.filter(pk=owner.pk).aupdate(is_active=False)
        assert (await stream.answer())[0] == 200
        assert stream.events == []


async def test_an_administrator_follows_a_run_as_its_owner(owner: User, start: Start) -> None:
    admin = await sync_to_async(make.a_user)(role=Role.ADMIN)
    token = (await sync_to_async(accounts.issue_tokens)(admin)).access
    stream = Request(path(await start()), token, **{"x-act-as-user-id": str(owner.pk)})
    async with following(stream):
        await stream.until(lambda: stream.numbers == [1])


# --- Many, slow and gone ----------------------------------------------------------------------------------------


async def test_open_streams_hold_neither_threads_nor_connections(
    token: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = settings.DB_POOL_SIZE * 4 + 8
    monkeypatch.setattr(event_stream, "MAX_STREAMS", count)
    run = await start()
    streams = [Request(path(run), token, query="after=1") for _ in range(count)]
    async with following(*streams):
        for stream in streams:
            await stream.opened()
        assert (await Request("/health", accept=JSON).answer()) == (200, '{"status":"healthy"}')
        await sync_to_async(services.stop_run)(run.pk)
        for stream in streams:
            await stream.answer()
        assert {tuple(stream.numbers) for stream in streams} == {(2,)}
    assert not await left_behind()


async def test_a_user_has_at_most_so_many_streams_and_gets_a_place_back_by_leaving(
    token: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "MAX_STREAMS", 1)
    run = await start()
    first = Request(path(run), token)
    async with following(first):
        await first.opened()
        status, body = await Request(path(run), token).answer()
        assert (status, json.loads(body)["code"]) == (409, "too_many_streams")
        # Pages are none.
        assert (await Request(path(run), token, JSON).answer())[0] == 200
    second = Request(path(run), token)
    async with following(second):
        await second.opened()
    assert not event_stream.places._taken


async def test_a_client_that_does_not_read_is_let_go(
    token: str, start: Start, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi, "SEND_SECONDS", 0.1)
    run = await start()
    stream = Request(path(run), token)
    await stream.until(lambda: stream.numbers == [1])
    stream.takes.clear()
    await finished(engine, run)
    await asyncio.wait_for(stream.task, PATIENCE)
    assert stream.numbers == [1]
    assert not await left_behind()
    assert not event_stream.places._taken
