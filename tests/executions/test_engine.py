"""What a run does, seen in its rows."""

from accounts.models import User

from executions.kinds import Status
from executions.models import Event, NodeExecution, NodeOutput
from tests.drawing import draw
from tests.executions.conftest import Run


def outputs(run_id: object) -> dict[str, list[object]]:
    """A run's outputs by name."""
    found: dict[str, list[object]] = {}
    for data in NodeExecution.objects.filter(run=run_id, input_data__has_key="name").order_by("ended_at"):
        found.setdefault(data.input_data["name"], []).append(data.input_data.get("value"))
    return found


def test_a_chain_hands_its_value_through(owner: User, run: Run) -> None:
    graph = draw(
        owner,
        {
            "in": ("AgentInput", {"name": "number"}),
            "add": ("Calculator", {"operation": "Add", "b": 2}),
            "out": ("AgentOutput", {"name": "sum"}),
        },
        ["in.result -> add.a", "add.result -> out.value"],
    )
    ended = run(graph, number=40)
    assert ended.status == Status.COMPLETED
    assert ended.node_count == 3
    seqs = list(Event.objects.filter(run=ended.pk).order_by("seq").values_list("seq", "kind"))
    assert seqs == [
        (1, "run.queued"),
        (2, "run.started"),
        (3, "node.completed"),
        (4, "node.completed"),
        (5, "node.completed"),
        (6, "run.completed"),
    ]
    assert NodeOutput.objects.get(run=ended.pk, pin="result", node_execution__node_id=graph.nodes["add"]).value == 42.0
