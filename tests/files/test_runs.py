"""Files as inputs and outputs of runs."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from executions.errors import NotRunnable
from executions.kinds import NodeStatus
from executions.models import GraphExecution, NodeExecution, NodeOutput, Schedule
from executions.services import start_run
from executions.workspace import RunFiles
from files.models import State, StoredFile
from graphs.blocks import files as block_files
from graphs.blocks.base import BlockError, Context
from graphs.blocks.files import File
from graphs.models import Node
from tests.drawing import Drawn, block_id, draw
from tests.executions.conftest import Run, engine, host, quick, run  # noqa: F401  fixtures
from tests.executions.test_engine import output, outputs
from tests.files.conftest import Kept, Upload
from tests.files.scanner import a_scanner

CSV = b"name,age\nAda,36\n"
ABSENT = f"workspace://{uuid4()}"


@pytest.fixture
def mine(owner: User) -> APIClient:
    """The client of the graphs' owner, where an engine runs them."""
    client = APIClient()
    client.force_authenticate(owner)
    return client


def a_table(owner: User) -> Drawn:
    """A graph that reads a CSV file."""
    nodes = {"in": ("AgentFileInput", {"name": "table"}), "read": ("ReadSpreadsheet", {})}
    return draw(owner, nodes, ["in.result -> read.file_input"])


@pytest.fixture
def store(owner: User) -> Drawn:
    """A graph that keeps a file."""
    nodes = {"in": ("AgentInput", {"name": "file"}), "keep": ("FileStore", {})}
    return draw(owner, nodes, ["in.result -> keep.file_in"])


def given(ended: GraphExecution, pin: str) -> list[Any]:
    """What the nodes of a run gave on pins of this name."""
    return [row.value for row in NodeOutput.objects.filter(run=ended, pin=pin).order_by("pk")]


def execute(client: APIClient, graph: Drawn, **inputs: Any) -> Any:
    return client.post(f"/api/graphs/{graph.id}/execute/1", {"inputs": inputs}, format="json")


# --- What runs are given ----------------------------------------------------------------------------------------


def test_an_uploaded_file_is_read_by_a_run(run: Run, mine: APIClient, upload: Upload, owner: User) -> None:  # noqa: F811
    uri = upload(CSV, "people.csv", by=mine).json()["file_uri"]

    ended = run(a_table(owner), table=uri)

    assert given(ended, "rows") == [[{"name": "Ada", "age": "36"}]]


def test_a_run_is_refused_whose_files_are_not_there_for_its_owner(
    api: APIClient, stranger: APIClient, user: User, upload: Upload
) -> None:
    table = a_table(user)
    foreign = upload(CSV, by=stranger).json()["file_uri"]
    expired = upload(CSV, expiration_hours=1).json()
    StoredFile.objects.filter(pk=expired["id"]).update(expires_at=datetime.now(UTC) - timedelta(seconds=1))

    for uri in (foreign, expired["file_uri"], ABSENT, "workspace://", "workspace://a.csv", "workspace://../etc/passwd"):
        answer = execute(api, table, table=uri)
        message = f"There is no file {uri} of yours, or it has expired"
        assert (answer.status_code, answer.json()["code"]) == (400, "not_runnable")
        assert answer.json()["detail"]["node_errors"] == {str(table.nodes["in"]): {"value": message}}
        assert message in answer.json()["message"]
    assert not GraphExecution.objects.exists()


def test_files_are_looked_for_wherever_a_value_names_them(api: APIClient, user: User, upload: Upload) -> None:
    graph = draw(user, {"in": ("AgentInput", {"name": "things"}), "keep": ("StoreValue", {"input": 1})})
    there = upload(CSV).json()["file_uri"]
    message = f"There is no file {ABSENT} of yours, or it has expired"

    assert execute(api, graph, things=[{"a": there}, f"see {ABSENT}", {ABSENT: 1}], unknown=ABSENT).status_code == 200
    refused = execute(api, graph, things=[there, {"deep": [[ABSENT]]}])
    assert refused.json()["detail"]["node_errors"] == {str(graph.nodes["in"]): {"value": message}}
    masks = {str(graph.nodes["keep"]): {"input": {"a": ABSENT}}}
    with pytest.raises(NotRunnable) as error:
        start_run(graph.id, 1, user_id=user.pk, inputs={"things": 1}, nodes_input_masks=masks)
    assert error.value.messages == [f"Node {graph.nodes['keep']}, input: {message}"]
    assert GraphExecution.objects.count() == 1


def test_a_run_is_given_a_thousand_files_and_no_more(api: APIClient, user: User) -> None:
    graph = draw(user, {"in": ("AgentInput", {"name": "things"})})
    answer = execute(api, graph, things=[f"workspace://{uuid4()}" for _ in range(1001)])

    assert answer.json()["detail"]["node_errors"] == {
        str(graph.id): {"inputs": "They name 1,001 files; a run may be given 1,000"}
    }


def test_batches_and_schedules_are_refused_alike(api: APIClient, user: User, upload: Upload) -> None:
    table = a_table(user)
    there = upload(CSV).json()["file_uri"]
    runs = {"runs": [{"inputs": {"table": there}}, {"inputs": {"table": ABSENT}}]}
    schedule = {"name": "daily", "cron": "0 9 * * *", "inputs": {"table": ABSENT}}

    batch = api.post(f"/api/graphs/{table.id}/execute-batch/1", runs, format="json")
    scheduled = api.post(f"/api/graphs/{table.id}/schedules", schedule, format="json")

    assert (batch.status_code, batch.json()["code"], batch.json()["run_index"]) == (400, "refused_in_batch", 1)
    assert (scheduled.status_code, scheduled.json()["code"]) == (400, "not_runnable")
    assert not GraphExecution.objects.exists()
    assert not Schedule.objects.exists()


def test_a_request_sent_again_is_answered_as_before_though_its_files_have_gone(
    api: APIClient, user: User, upload: Upload
) -> None:
    table = a_table(user)
    uri = upload(CSV).json()["file_uri"]
    one = {"inputs": {"table": uri}}
    asks = [
        ("execute", one, lambda answer: [answer["id"]]),
        ("execute-batch", {"runs": [one, one]}, lambda answer: [each["id"] for each in answer["executions"]]),
    ]

    def send() -> list[Any]:
        return [
            api.post(f"/api/graphs/{table.id}/{what}/1", body, format="json", headers={"Idempotency-Key": what})
            for what, body, _ in asks
        ]

    first = send()
    StoredFile.objects.update(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    second = send()

    assert [answer.status_code for answer in first + second] == [200] * 4
    for (_, _, ids_of), before, after in zip(asks, first, second, strict=True):
        assert ids_of(before.json()) == ids_of(after.json())
    assert execute(api, table, table=uri).status_code == 400
    assert GraphExecution.objects.count() == 3


def test_a_file_that_goes_after_the_start_fails_the_node_that_needs_it(
    run: Run, owner: User, upload: Upload, stranger: APIClient  # noqa: F811
) -> None:  # fmt: skip
    foreign = upload(CSV, by=stranger).json()["file_uri"]
    for uri in (foreign, ABSENT):
        ended = run(draw(owner, {"read": ("FileRead", {"file_input": uri})}))
        assert given(ended, "error") == [f"There is no file {uri} of yours, or it has expired"]
        assert NodeExecution.objects.get(run=ended).status == NodeStatus.FAILED


# --- What runs make ---------------------------------------------------------------------------------------------


def test_a_run_keeps_a_file_that_its_owner_downloads(run: Run, mine: APIClient, store: Drawn) -> None:  # noqa: F811
    ended = run(store, file="data:text/plain;base64,aGVsbG8=")
    (file,) = mine.get("/api/files").json()["files"]

    assert given(ended, "file_out") == [file["file_uri"]]
    assert (file["file_name"], file["content_type"], file["graph_exec_id"]) == ("file.txt", "text/plain", str(ended.pk))
    lifetime = datetime.fromisoformat(file["expires_at"]) - datetime.fromisoformat(file["created_at"])
    assert abs(lifetime - timedelta(hours=168)) < timedelta(seconds=1)
    content: Any = mine.get(f"/api/files/{file['id']}/download")
    assert b"".join(content.streaming_content) == b"hello"


def test_a_copy_of_an_upload_is_kept_as_long_as_files_of_runs(
    run: Run, mine: APIClient, upload: Upload, store: Drawn  # noqa: F811
) -> None:  # fmt: skip
    uploaded = upload(CSV, "people.csv", by=mine, expiration_hours=1).json()
    run(store, file=uploaded["file_uri"])

    copy = StoredFile.objects.exclude(pk=uploaded["id"]).get()
    assert (copy.name, copy.sha256) == ("people.csv", uploaded["sha256"])
    assert copy.expires_at > datetime.now(UTC) + timedelta(hours=167)


def test_what_may_not_be_kept_fails_the_node_and_leaves_nothing(
    run: Run, store: Drawn, settings: Settings, kept: Kept  # noqa: F811
) -> None:  # fmt: skip
    assert given(run(store, file="data:image/png,hello"), "error") == [
        "'file.png' is not what its ending says: its content does not begin like a PNG image"
    ]
    with a_scanner() as scanner:
        settings.CLAMD_URL = scanner.url
        assert given(run(store, file="data:,INFECTED"), "error") == ["The virus scanner found Test.Word in the file"]
    assert given(run(store, file="data:,clean"), "error")[0].startswith("The virus scanner does not answer")
    settings.CLAMD_URL, settings.FILE_QUOTA_MB = "", 0
    assert given(run(store, file="data:,hello"), "error") == ["The file has 5 bytes; of your 0 MB 0 bytes are left"]
    assert kept() == (0, 0)


@pytest.fixture
def context(user: User) -> Context:
    """Of an attempt at some activation."""
    return Context(uuid4(), uuid4(), user.pk, uuid4(), "run:node:1")


def test_an_attempt_that_is_repeated_finds_what_the_lost_one_stored(context: Context, kept: Kept) -> None:
    first = RunFiles().store(File(b"one", "text/plain", "a.txt"), context, "")

    assert RunFiles().store(File(b"another", "text/plain", "b.txt"), context, "") == first
    assert RunFiles().store(File(b"two", "text/plain", "a.txt"), context, "second") != first
    assert kept() == (2, 2)


def test_an_attempt_that_was_lost_while_storing_is_made_anew(context: Context, user: User) -> None:
    first = RunFiles().store(File(b"half", "text/plain", "a.txt"), context, "")
    StoredFile.objects.update(state=State.STORING)

    second = RunFiles().store(File(b"whole", "text/plain", "a.txt"), context, "")

    assert second != first
    assert [file.uri for file in StoredFile.objects.visible_to(user, datetime.now(UTC))] == [second]
    assert StoredFile.objects.get(state=State.LEAVING).uri == first


def test_a_file_that_is_too_large_for_a_block_is_not_loaded(
    context: Context, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = upload(b"x" * 101).json()["file_uri"]
    monkeypatch.setattr(block_files, "MAX_BYTES", 100)

    with pytest.raises(BlockError, match="has 101 bytes, more than the 100 that a block reads"):
        block_files.read_file(uri, context)


def apart(graph: Drawn, node: str) -> Drawn:
    """The graph with this node in a process of its own."""
    Node.objects.filter(pk=graph.nodes[node]).update(metadata={"isolated": True})
    return graph


def test_a_block_in_a_process_of_its_own_reads_and_stores_files(
    mine: APIClient,
    owner: User,
    store: Drawn,
    run: Run,  # noqa: F811
    host: object,  # noqa: F811
    upload: Upload,
) -> None:
    table = upload(CSV, "people.csv", by=mine).json()["file_uri"]
    read = run(apart(a_table(owner), "read"), table=table)
    assert given(read, "rows") == [[{"name": "Ada", "age": "36"}]]

    kept = run(apart(store, "keep"), file=table)
    [uri] = given(kept, "file_out")
    copy = StoredFile.objects.visible_to(owner, datetime.now(UTC)).get(run_id=kept.pk)
    assert (uri, copy.name, copy.size) == (copy.uri, "people.csv", len(CSV))
    assert mine.get(f"/api/files/{copy.pk}/download").getvalue() == CSV


def test_a_block_in_a_process_of_its_own_sees_no_file_of_another(
    owner: User,
    run: Run,  # noqa: F811
    host: object,  # noqa: F811
    upload: Upload,
) -> None:
    theirs = upload(CSV).json()["file_uri"]
    nodes = {"read": ("ReadSpreadsheet", {"file_input": theirs}), "wrong": output("wrong")}
    graph = apart(draw(owner, nodes, ["read.error -> wrong.value"]), "read")
    assert outputs(run(graph)) == {"wrong": [f"There is no file {theirs} of yours, or it has expired"]}


def test_what_the_storage_raises_is_the_failure_of_a_block_in_a_process_of_its_own(
    mine: APIClient,
    owner: User,
    run: Run,  # noqa: F811
    host: object,  # noqa: F811
    upload: Upload,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*arguments: Any) -> File:
        raise RuntimeError("the storage is away")

    monkeypatch.setattr(RunFiles, "read", away)
    nodes = {
        "read": ("ReadSpreadsheet", {"file_input": upload(CSV, by=mine).json()["file_uri"]}),
        "wrong": output("wrong"),
    }
    graph = apart(draw(owner, nodes, ["read.error -> wrong.value"]), "read")
    assert outputs(run(graph)) == {"wrong": ["RuntimeError: the storage is away"]}


def test_a_block_that_is_tried_out_reads_files(api: APIClient, upload: Upload) -> None:
    there = {"file_input": upload(CSV).json()["file_uri"]}
    answer = api.post(f"/api/blocks/{block_id('ReadSpreadsheet')}/execute", there, format="json")
    assert (answer.status_code, answer.json()["rows"]) == (200, [[{"name": "Ada", "age": "36"}]])


def test_where_no_workspace_is_in_reach_a_block_is_told(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_files, "_workspaces", [])

    with pytest.raises(BlockError, match="files of the workspace are out of reach here"):
        block_files.read_file(ABSENT, context)
    assert block_files.read_file("data:,hello", context).content == b"hello"
