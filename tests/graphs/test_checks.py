"""What makes a graph sound and runnable; pure, no database."""

import time
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from pydantic import Field

from core.errors import Unavailable
from graphs import checks
from graphs.blocks.base import (
    Block,
    BlockInput,
    BlockOutput,
    Category,
    Context,
    CredentialsPlaceholder,
    Effect,
    Emissions,
    Example,
    Kind,
)
from graphs.blocks.fields import pin
from graphs.blocks.registry import BLOCKS
from graphs.checks import Findings, StoredCredentials, check_pins, check_run, check_structure
from graphs.schemas import GraphDraft
from tests import make


class Mailer(Block):
    """Wants credentials, a companion pin, and a discriminator."""

    id: ClassVar[str] = "11111111-2222-3333-4444-555555555555"
    name: ClassVar[str] = "MailerBlock"
    description: ClassVar[str] = "Sends mail."
    categories: ClassVar[frozenset[Category]] = frozenset({Category.COMMUNICATION})
    effect: ClassVar[Effect] = Effect.UNSAFE
    examples: ClassVar[tuple[Example, ...]] = (Example({}, ()),)

    class Input(BlockInput):
        """Its pins."""

        to: str = pin("Whom to write to.", default="nobody@example.com")
        template: str | None = pin("A template.", default=None)
        variables: dict[str, Any] | None = pin("What fills it.", default=None, depends_on=["template"])
        model: str | None = pin("Which service.", default=None)
        credentials: CredentialsPlaceholder = Field(
            json_schema_extra={
                "credentials_provider": ["smtp", "post"],
                "credentials_types": ["api_key"],
                "discriminator": "model",
                "discriminator_mapping": {"fast": "post"},
            }
        )

    class Output(BlockOutput):
        """Its pins."""

        status: str = pin("Sent or not.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Send nothing."""
        yield "status", "sent"


class Hook(Mailer):
    """Starts a graph when something happens outside."""

    id: ClassVar[str] = "11111111-2222-3333-4444-666666666666"
    name: ClassVar[str] = "HookBlock"
    kind: ClassVar[Kind] = Kind.WEBHOOK

    class Input(BlockInput):
        """Its pins."""

        repository: str = pin("Where.")
        payload: dict[str, Any] = pin("What happened.")


@pytest.fixture
def _more_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {block.id: block for block in (*BLOCKS.all(), Mailer(), Hook())}
    monkeypatch.setitem(BLOCKS.__dict__, "_loaded", (known, ()))
    monkeypatch.setitem(BLOCKS.__dict__, "_by_name", tuple(known.values()))


def drawing(nodes: dict[str, Any], *links: str) -> GraphDraft:
    return GraphDraft.model_validate(make.a_drawing(nodes, links))


def run(graph: GraphDraft, inputs: dict[str, Any] | None = None, **more: Any) -> Findings:
    return check_run(graph, inputs=inputs or {}, **more)


def test_a_sound_graph_has_no_flaws() -> None:
    graph = GraphDraft.model_validate(make.a_drawing())
    assert check_structure(graph) == []
    assert check_pins(graph) == {}
    assert run(graph, {"who": "you"}) == Findings()


def test_dynamic_pins_count_for_their_base() -> None:
    graph = drawing(
        {"a": ("CreateList", {"values_$_0": 1}), "b": ("CreateList", {}), "c": ("AgentOutput", {"name": "n"})},
        "a.list_$_0 -> b.values_$_1",
        "b.list_$_0_#_x -> c.value",
    )
    assert check_structure(graph) == []
    assert run(graph).node_errors == {}


def test_pins_named_tools_are_accepted_on_either_side() -> None:
    graph = drawing(
        {"a": ("StoreValue", {"input": 1}), "b": ("StoreValue", {})},
        "a.tools -> b.input",
        "a.tools_^_b_~_x -> b.tools",
    )
    assert check_structure(graph) == []


def test_an_agent_node_has_the_pins_of_its_stored_schemas() -> None:
    graph = drawing(
        {"a": make.an_agent(str(uuid4()), inputs=["who"], outputs=["shout"]), "b": ("StoreValue", {"input": "x"})},
        "b.output -> a.who",
        "a.shout_#_part -> b.data",
        "a.error -> b.data",
        "b.output -> a.graph_id",
        "a.whisper -> b.data",
    )
    wrong = check_structure(graph)
    assert [(problem.node_id, problem.pin, problem.allowed) for problem in wrong] == [
        ("a", "graph_id", ("who",)),
        ("a", "whisper", ("error", "shout")),
    ]


@pytest.mark.parametrize("schema", [None, [], {}, {"properties": None}, {"properties": []}, "text"])
def test_an_agent_node_without_a_whole_schema_has_no_pins(schema: object) -> None:
    block, constants = make.an_agent(str(uuid4()))
    graph = drawing(
        {"a": (block, {**constants, "input_schema": schema}), "b": ("StoreValue", {"input": 1})}, "b.output -> a.who"
    )
    assert [problem.type for problem in check_structure(graph)] == ["wrong_pin"]


def test_saving_asks_only_inputs_outputs_and_agents_to_be_complete() -> None:
    graph = drawing(
        {
            "input": ("AgentNumberInput", {}),
            "output": ("AgentOutput", {"value": 1}),
            "agent": ("AgentExecutor", {"graph_id": str(uuid4())}),
            "other": ("Calculator", {"a": 1}),
        }
    )
    errors = check_pins(graph)
    assert {node: set(pins) for node, pins in errors.items()} == {
        "input": {"name"},
        "output": {"name"},
        "agent": {"graph_version", "input_schema", "output_schema"},
    }
    assert set(run(graph).node_errors["other"]) == {"operation", "b"}


def test_a_required_pin_may_be_fed_by_a_constant_a_link_or_a_mask() -> None:
    graph = drawing(
        {"a": ("StoreValue", {"input": 1}), "b": ("Calculator", {"operation": "Add"})},
        "a.output -> b.a",
    )
    assert run(graph).node_errors == {"b": {"b": "This field is required"}}
    assert run(graph, masks={"b": {"b": 5}}).node_errors == {}


@pytest.mark.parametrize("name", ["credentials", "github_credentials"])
def test_an_input_may_not_have_a_reserved_name(name: str) -> None:
    graph = drawing({"a": ("AgentInput", {"name": name})})
    message = "An input may not be named 'credentials' or '*_credentials': those names are reserved"
    assert check_pins(graph) == {"a": {"name": message}}


@pytest.mark.usefixtures("_more_blocks")
class TestABlockWithCredentials:
    placeholder: ClassVar[dict[str, str]] = {"id": "c1", "provider": "post", "type": "api_key"}

    def graph(self, metadata: dict[str, Any] | None = None, **constants: Any) -> GraphDraft:
        graph = drawing({"mail": ("Mailer", {"model": "fast", **constants})})
        graph.nodes[0].metadata = metadata or {}
        return graph

    def test_needs_a_companion_for_a_pin_that_depends_on_it_before_a_run(self) -> None:
        graph = self.graph(variables={"x": 1}, credentials=self.placeholder)
        assert check_pins(graph) == {}
        assert run(graph).node_errors == {"mail": {"variables": "Requires template to be set"}}
        whole = self.graph(variables={"x": 1}, template="{{ x }}", credentials=self.placeholder)
        assert run(whole).node_errors == {}

    @pytest.mark.parametrize("model", [None, "", "  "])
    def test_needs_the_pin_that_decides_which_credentials_even_to_be_saved(self, model: str | None) -> None:
        graph = self.graph(model=model, credentials=self.placeholder)
        assert check_pins(graph) == {"mail": {"credentials": "Requires model to be set"}}

    @pytest.mark.parametrize("given", [None, {}, {"provider": "post", "type": "api_key"}])
    def test_asks_for_credentials_that_are_not_given(self, given: object) -> None:
        findings = run(self.graph(credentials=given))
        assert findings.node_errors == {"mail": {"credentials": "These credentials are required"}}

    def test_takes_credentials_from_a_mask(self) -> None:
        assert run(self.graph(), masks={"mail": {"credentials": self.placeholder}}).node_errors == {}

    def test_is_left_out_when_its_credentials_are_optional(self) -> None:
        graph = self.graph({"credentials_optional": True}, credentials=self.placeholder)
        findings = run(graph)
        assert (findings.node_errors, findings.nodes_to_skip) == ({}, {"mail"})
        given = run(graph, masks={"mail": {"credentials": self.placeholder}})
        assert (given.node_errors, given.nodes_to_skip) == ({}, set())

    def test_refuses_what_is_no_placeholder_even_when_optional(self) -> None:
        message = "Invalid credentials: give an object with id, provider and type"
        assert run(self.graph(credentials={"id": "c1"})).node_errors == {"mail": {"credentials": message}}
        optional = self.graph({"credentials_optional": True})
        findings = run(optional, masks={"mail": {"credentials": {"id": "c1"}}})
        assert findings.node_errors == {"mail": {"credentials": message}}

    def test_looks_up_the_credentials_it_names(self) -> None:
        graph = self.graph(credentials=self.placeholder)

        def error(found: StoredCredentials | None) -> dict[str, dict[str, str]]:
            return run(graph, find_credentials={"c1": found}.get).node_errors

        assert error(StoredCredentials("post", "api_key")) == {}
        assert error(None) == {"mail": {"credentials": "You have no credentials c1"}}
        other = "Credentials c1 are smtp/oauth2, not post/api_key"
        assert error(StoredCredentials("smtp", "oauth2")) == {"mail": {"credentials": other}}

    def test_says_so_when_the_store_is_away(self) -> None:
        def away(_: str) -> StoredCredentials | None:
            raise Unavailable

        findings = run(self.graph(credentials=self.placeholder), find_credentials=away)
        message = "Credentials cannot be looked up at the moment; try again"
        assert findings.node_errors == {"mail": {"credentials": message}}

    def test_a_webhook_gets_its_payload_later(self) -> None:
        graph = drawing({"hook": ("Hook", {})})
        assert run(graph).node_errors["hook"] == {"repository": "This field is required"}


def test_a_run_needs_a_node_to_start_with() -> None:
    graph = drawing({"note": ("Note", {"text": "x"}), "a": ("AddToList", {})}, "a.updated_list -> a.list")
    assert run(graph).problems == ["Nothing would start: the graph needs an input or a node that no link reaches"]


def test_inputs_and_unlinked_nodes_start_but_notes_do_not() -> None:
    graph = drawing(
        {
            "in": ("AgentInput", {"name": "x"}),
            "free": ("StoreValue", {"input": 1}),
            "note": ("Note", {"text": "x"}),
            "last": ("StoreValue", {}),
        },
        "free.output -> in.value",
        "in.result -> last.input",
    )
    assert [node.id for node in checks.starting_nodes(graph)] == ["in", "free"]


def test_a_starting_node_must_accept_its_constants() -> None:
    graph = drawing({"sum": ("Calculator", {"operation": "Add", "a": "a lot", "b": 1})})
    assert run(graph).node_errors == {"sum": {"a": "A number is needed, not 'a lot'"}}


def test_a_dynamic_pin_of_a_starting_node_must_lead_somewhere() -> None:
    graph = drawing({"list": ("CreateList", {"values_$_x": 1})})
    assert set(run(graph).node_errors["list"]) == {"values_$_x"}


def test_a_run_input_must_fit_its_input_node() -> None:
    graph = drawing({"n": ("AgentNumberInput", {"name": "count"})})
    assert run(graph, {"count": "12.7"}).node_errors == {}
    assert run(graph, {"count": "many"}).node_errors == {"n": {"value": "A number is needed, not 'many'"}}
    # An input that nothing asks for is ignored.
    assert run(graph, {"other": "many"}).node_errors == {}


def test_an_agent_that_starts_needs_the_inputs_of_its_graph() -> None:
    block, constants = make.an_agent(str(uuid4()), inputs=["who", "mark"])
    graph = drawing({"agent": (block, {**constants, "inputs": {"who": "you"}})})
    assert run(graph).node_errors == {"agent": {"mark": "This field is required"}}


def test_two_thousand_nodes_are_checked_in_a_moment() -> None:
    nodes = {f"n{number}": ("StoreValue", {"input": 1} if number == 0 else {}) for number in range(2000)}
    links = [f"n{number}.output -> n{number + 1}.input" for number in range(1999)]
    links += [f"n0.output -> n{number}.data" for number in range(1, 2000)]
    graph = drawing(nodes, *links)
    begun = time.perf_counter()
    assert check_structure(graph) == []
    assert run(graph) == Findings()
    assert time.perf_counter() - begun < 1.0
