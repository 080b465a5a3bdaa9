"""What a graph looks like from outside; pure, no database."""

from typing import Any

import pytest

from graphs import interface
from graphs.schemas import NodeDraft
from tests.drawing import block_id
from tests.graphs.test_checks import _more_blocks  # noqa: F401  a fixture


def nodes(*placed: tuple[str, dict[str, Any]]) -> list[NodeDraft]:
    return [NodeDraft(block_id=block_id(block), input_default=constants) for block, constants in placed]


def inputs(*placed: tuple[str, dict[str, Any]]) -> Any:
    return interface.describe(nodes(*placed))["input_schema"]


def test_an_input_is_described_by_its_block_and_its_node() -> None:
    schema = inputs(("AgentShortTextInput", {"name": "who", "title": "Who?", "description": "A name", "secret": True}))
    assert schema["required"] == ["who"]
    who = schema["properties"]["who"]
    assert {"type": "string", "format": "short-text"}.items() <= {**who, "type": "string"}.items()
    assert (who["title"], who["description"], who["secret"], who["advanced"]) == ("Who?", "A name", True, False)
    assert "default" not in who


def test_an_input_with_a_value_is_optional() -> None:
    schema = inputs(("AgentInput", {"name": "n", "value": 0, "advanced": True}))
    assert schema == {
        "type": "object",
        "properties": {"n": {"title": "n", "secret": False, "advanced": True, "default": 0}},
        "required": [],
    }


def test_only_an_input_with_a_value_can_be_advanced() -> None:
    assert inputs(("AgentInput", {"name": "n", "advanced": True}))["properties"]["n"]["advanced"] is False


def test_choices_become_an_enum() -> None:
    schema = inputs(("AgentDropdownInput", {"name": "size", "placeholder_values": ["S", "M"]}))
    assert schema["properties"]["size"]["enum"] == ["S", "M"]


def test_a_toggle_is_off_unless_told_otherwise() -> None:
    schema = inputs(("AgentToggleInput", {"name": "loud"}))
    assert schema["properties"]["loud"]["default"] is False
    assert schema["required"] == []


def test_a_table_is_a_list_of_rows_with_its_headers() -> None:
    schema = inputs(("AgentTableInput", {"name": "people", "column_headers": ["Name", "Age"]}))
    people = schema["properties"]["people"]
    assert people["type"] == "array"
    assert people["items"] == {"type": "object", "properties": {"Name": {"type": "string"}, "Age": {"type": "string"}}}


def test_of_two_inputs_with_one_name_the_last_counts() -> None:
    schema = inputs(("AgentInput", {"name": "n"}), ("AgentNumberInput", {"name": "n", "value": 3}))
    assert schema["properties"]["n"]["default"] == 3
    assert schema["required"] == []


def test_outputs_are_described_alike() -> None:
    schema = interface.describe(nodes(("AgentOutput", {"name": "out", "title": "Out"})))["output_schema"]
    assert schema["properties"]["out"]["title"] == "Out"
    assert schema["required"] == ["out"]


def test_a_block_that_is_not_installed_is_left_out() -> None:
    described = interface.describe([NodeDraft(block_id="gone", input_default={"name": "x"})])
    assert described["input_schema"]["properties"] == {}
    assert described["trigger_setup_info"] is None


def test_a_sensitive_block_shows() -> None:
    assert interface.describe(nodes(("PrintToConsole", {"text": "x"})))["has_sensitive_action"] is True
    assert interface.describe(nodes(("StoreValue", {"input": "x"})))["has_sensitive_action"] is False


@pytest.mark.usefixtures("_more_blocks")
class TestCredentials:
    def test_are_grouped_by_what_would_do(self) -> None:
        schema = interface.credentials_schema(nodes(("Mailer", {}), ("Mailer", {"model": "slow"})))
        assert list(schema["properties"]) == ["post-smtp_api_key_credentials"]
        group = schema["properties"]["post-smtp_api_key_credentials"]
        assert group["credentials_provider"] == ["post", "smtp"]
        assert group["discriminator_values"] == ["slow"]
        assert schema["required"] == ["post-smtp_api_key_credentials"]

    def test_are_narrowed_where_the_node_has_decided(self) -> None:
        schema = interface.credentials_schema(nodes(("Mailer", {"model": "fast"})))
        assert list(schema["properties"]) == ["post_api_key_credentials"]

    def test_are_required_unless_each_node_can_do_without(self) -> None:
        optional, needed = nodes(("Mailer", {}), ("Mailer", {}))
        optional.metadata = {"credentials_optional": True}
        assert interface.credentials_schema([optional])["required"] == []
        assert interface.credentials_schema([optional, needed])["required"] == ["post-smtp_api_key_credentials"]

    def test_a_webhook_says_how_it_is_set_up(self) -> None:
        described = interface.describe(nodes(("Hook", {})))
        assert described["has_external_trigger"] is True
        setup = described["trigger_setup_info"]
        assert list(setup["config_schema"]["properties"]) == ["repository"]
        assert setup["config_schema"]["required"] == ["repository"]
        assert (setup["provider"], setup["credentials_input_name"]) == (None, None)


def test_a_generic_webhook_takes_constants_and_names_its_provider() -> None:
    described = interface.describe(nodes(("AgentInput", {"name": "n"}), ("GenericWebhookTrigger", {})))
    assert described["has_external_trigger"] is True
    setup = described["trigger_setup_info"]
    assert (setup["provider"], setup["credentials_input_name"]) == ("generic_webhook", None)
    assert (list(setup["config_schema"]["properties"]), setup["config_schema"]["required"]) == (["constants"], [])


def test_the_first_trigger_counts() -> None:
    none, first, second = nodes(("AgentInput", {}), ("GenericWebhookTrigger", {}), ("GenericWebhookTrigger", {}))
    found = interface.trigger_of([none, first, second])
    assert found is not None
    assert (found[0], found[1].name) == (first, "GenericWebhookTriggerBlock")
    assert interface.trigger_of([none]) is None
