"""How a block is described to clients: the entries of `GET /api/blocks`."""

from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from graphs.blocks.base import Block, Category
from graphs.blocks.costs import as_costs

CATEGORY_DESCRIPTIONS = {
    Category.AI: "Asks a language model or another model.",
    Category.SOCIAL: "Works with social media.",
    Category.TEXT: "Works on text.",
    Category.SEARCH: "Searches or looks up information.",
    Category.BASIC: "Building blocks for every graph.",
    Category.INPUT: "Brings values into a graph.",
    Category.OUTPUT: "Hands values out of a graph.",
    Category.LOGIC: "Decides, counts and repeats.",
    Category.COMMUNICATION: "Sends messages to people.",
    Category.DEVELOPER_TOOLS: "Works with code and with developers' services.",
    Category.DATA: "Stores, reads and transforms data.",
    Category.HARDWARE: "Talks to devices.",
    Category.AGENT: "Runs other agents.",
    Category.CRM: "Works with customer records.",
    Category.SAFETY: "Checks or protects what an agent does.",
    Category.PRODUCTIVITY: "Works with office tools.",
    Category.ISSUE_TRACKING: "Works with issue trackers.",
    Category.MULTIMEDIA: "Works on images, sound and video.",
    Category.MARKETING: "Works with marketing tools.",
}


@lru_cache(maxsize=4096)
def input_schema(block: Block) -> dict[str, Any]:
    """JSON schema of the block's inputs, references resolved, with the editor's flags on each pin. Do not change it."""
    return _schema(block.Input)


@lru_cache(maxsize=4096)
def output_schema(block: Block) -> dict[str, Any]:
    """JSON schema of the block's outputs, references resolved. Do not change it."""
    return _schema(block.Output)


def describe(block: Block) -> dict[str, Any]:
    """The block's entry in the catalogue."""
    return {
        "id": block.id,
        "name": block.name,
        "inputSchema": input_schema(block),
        "outputSchema": output_schema(block),
        "description": block.description,
        "categories": [
            {"category": category.value, "description": CATEGORY_DESCRIPTIONS[category]}
            for category in sorted(block.categories)
        ],
        "contributors": [{"name": name} for name in block.contributors],
        "staticOutput": block.static_output,
        "uiType": block.kind.value,
        "costs": as_costs(block.prices),
    }


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    raw = model.model_json_schema()
    definitions = raw.pop("$defs", {})
    schema: dict[str, Any] = _resolved(raw, definitions, ())
    schema.setdefault("properties", {})
    for name, field in model.model_fields.items():
        flags = schema["properties"][name]
        flags.setdefault("advanced", not field.is_required())
        flags.setdefault("secret", False)
    # A model's own docstring is written for readers of the code.
    schema.pop("description", None)
    return schema


def _resolved(value: Any, definitions: dict[str, Any], inside: tuple[str, ...]) -> Any:
    """`value` with references replaced by what they name; one that contains itself ends as an open schema."""
    if isinstance(value, list):
        return [_resolved(item, definitions, inside) for item in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref")
    if isinstance(reference, str):
        name = reference.rpartition("/")[2]
        beside = {key: item for key, item in value.items() if key != "$ref"}
        if name in inside:
            return beside
        return {**_resolved(definitions[name], definitions, (*inside, name)), **beside}
    return {key: _resolved(item, definitions, inside) for key, item in value.items()}
