"""The OpenAPI document: `make openapi` writes it anew, and the difference shows what clients will notice."""

from pathlib import Path

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiYamlRenderer

SNAPSHOT = Path(__file__).with_name("openapi.yaml")


def test_the_interface_is_the_one_that_was_agreed() -> None:
    schema = SchemaGenerator().get_schema(request=None, public=True)
    drawn = OpenApiYamlRenderer().render(schema, renderer_context={}).decode()
    assert drawn.strip() == SNAPSHOT.read_text().strip(), "run `make openapi` and review the difference"
