"""The OpenAPI document: `make openapi` writes it anew, and the difference shows what clients will notice."""

from pathlib import Path
from typing import Any

import yaml
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiYamlRenderer

SNAPSHOT = Path(__file__).with_name("openapi.yaml")


def test_the_interface_is_the_one_that_was_agreed() -> None:
    schema = SchemaGenerator().get_schema(request=None, public=True)
    drawn = OpenApiYamlRenderer().render(schema, renderer_context={}).decode()
    assert drawn.strip() == SNAPSHOT.read_text().strip(), "run `make openapi` and review the difference"


# Whose callers must never be sent away: those who watch the platform, and Stripe.
UNCOUNTED = {"GET /health", "POST /api/credits/stripe_webhook"}


def operations() -> list[tuple[str, dict[str, Any]]]:
    paths = yaml.safe_load(SNAPSHOT.read_text())["paths"]
    return [(f"{method.upper()} {path}", each) for path, methods in paths.items() for method, each in methods.items()]


def test_every_operation_has_a_name_a_tag_a_summary_and_answers_for_what_goes_wrong() -> None:
    names = [operation["operationId"] for _, operation in operations()]
    assert len(set(names)) == len(names)
    for name, operation in operations():
        assert operation["tags"], name
        assert operation["summary"], name
        statuses = set(operation["responses"])
        assert {status for status in statuses if status.startswith(("4", "5"))}, name
        assert name in UNCOUNTED or "429" in statuses, name
        assert "401" in statuses or {} in operation.get("security", []) or "security" not in operation, name
        sent = operation.get("requestBody", {}).get("content", {})
        assert name in UNCOUNTED or "application/json" not in sent or {"413", "415", "422"} <= statuses, name


def test_every_operation_has_an_example_of_all_that_it_takes_and_gives() -> None:
    for name, operation in operations():
        sent = [operation["requestBody"]] if "requestBody" in operation else []
        given = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
        for message in [*sent, *given]:
            for content in message.get("content", {}).values():
                assert "example" in content or "examples" in content, name
        for parameter in operation.get("parameters", []):
            assert "example" in parameter or "examples" in parameter, (name, parameter["name"])
