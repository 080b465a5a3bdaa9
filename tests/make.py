"""What tests are made of: one function per thing, with everything chosen that the test does not care about."""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any
from uuid import UUID

from django.utils import timezone

from accounts.models import User
from executions.kinds import FINAL, NodeStatus
from executions.models import GraphExecution, NodeExecution, NodeOutput
from graphs import services
from graphs.models import GraphVersion
from graphs.schemas import GraphDraft
from library.models import Preset
from tests.drawing import block_id

PASSWORD = "correct horse battery staple"

_numbers = count(1)


def a_user(email: str = "", password: str = PASSWORD, **fields: object) -> User:
    """A person with an email address of their own."""
    return User.objects.create_user(email or f"person{next(_numbers)}@example.com", password, **fields)


def a_drawing(
    nodes: Mapping[str, tuple[str, Mapping[str, Any]]] | None = None, links: Sequence[str] = (), **fields: Any
) -> dict[str, Any]:
    """A graph as a client sends it: nodes as name to (block name, constants), links as "a.pin -> b.pin".

    Without nodes it is one that shouts a greeting: an input `who`, a template, an output `shout`.
    """
    if nodes is None:
        nodes = {
            "in": ("AgentInput", {"name": "who"}),
            "template": ("FillTextTemplate", {"format": "{{ who|upper }}{{ mark }}", "values_#_mark": "!"}),
            "out": ("AgentOutput", {"name": "shout"}),
        }
        links = ["in.result -> template.values_#_who", "template.output -> out.value"]
    return {
        "id": "",
        "name": "drawn",
        "description": "for a test",
        "nodes": [
            {"id": node, "block_id": block_id(block), "input_default": dict(constants)}
            for node, (block, constants) in nodes.items()
        ],
        "links": [a_link(text, f"link-{number}") for number, text in enumerate(links)],
        **fields,
    }


def a_link(text: str, link_id: str = "link") -> dict[str, Any]:
    """A link as a client sends it, from "a.pin -> b.pin"."""
    (source, source_pin), (sink, sink_pin) = (end.strip().split(".", 1) for end in text.split("->"))
    return {"id": link_id, "source_id": source, "source_name": source_pin, "sink_id": sink, "sink_name": sink_pin}


def a_graph(owner: User, drawing: Mapping[str, Any] | None = None) -> GraphVersion:
    """A saved graph of `owner`, the shouting one unless another is given."""
    return services.create_graph(owner, GraphDraft.model_validate(drawing or a_drawing()))


def a_preset(owner: User, graph_id: UUID, **fields: Any) -> Preset:
    """A preset as a row, of version 1 unless told otherwise."""
    values = {"graph_version": 1, "name": "kept", "description": "", "inputs": {}, "credentials": {}, **fields}
    return Preset.objects.create(user=owner, graph_id=graph_id, **values)


def an_agent(graph_id: str, version: int = 1, inputs: Sequence[str] = (), outputs: Sequence[str] = ()) -> Any:
    """The block and constants of a node that calls a graph with these inputs and outputs."""
    return "AgentExecutor", {
        "graph_id": graph_id,
        "graph_version": version,
        "input_schema": {"type": "object", "properties": {name: {} for name in inputs}, "required": list(inputs)},
        "output_schema": {"type": "object", "properties": {name: {} for name in outputs}, "required": []},
    }


def a_run(owner: User, graph_id: UUID, version: int = 1, **fields: Any) -> GraphExecution:
    """A run as a row that no engine has seen, queued unless told otherwise; one that ended has a time for it."""
    if fields.get("status") in FINAL:
        fields = {"started_at": timezone.now(), "ended_at": timezone.now(), **fields}
    values = {"inputs": {}, "credential_inputs": {}, "nodes_input_masks": {}, "head_seq": 1, **fields}
    run = GraphExecution.objects.create(user=owner, graph_id=graph_id, graph_version=version, **values)
    return GraphExecution.objects.get(pk=run.pk)


def an_activation(
    run: GraphExecution, node_id: UUID, block: str, outputs: Sequence[tuple[str, Any]] = (), **fields: Any
) -> NodeExecution:
    """A completed activation of a node as a row, with the outputs it gave."""
    values = {"ordinal": 0, "status": NodeStatus.COMPLETED, "input_data": {}, "started_fence": 1, **fields}
    times = {"started_at": timezone.now(), "ended_at": timezone.now()}
    node = NodeExecution.objects.create(
        run=run, node_id=node_id, block_id=block_id(block), output_count=len(outputs), **{**times, **values}
    )
    NodeOutput.objects.bulk_create(
        NodeOutput(run=run, node_execution=node, ordinal=ordinal, pin=pin, value=value)
        for ordinal, (pin, value) in enumerate(outputs)
    )
    return node
