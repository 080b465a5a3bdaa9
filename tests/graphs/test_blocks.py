import json
from pathlib import Path
from typing import Any

import pytest
import time_machine

from core import http
from graphs.blocks.base import Block, Example
from graphs.blocks.catalogue import describe
from graphs.blocks.registry import BLOCKS
from tests.graphs.running import values
from tests.web import Answer, Request, a_server

CONTRACT = json.loads((Path(__file__).parent / "contract.json").read_text())
OWN = [block for block in BLOCKS.all() if type(block).__module__.startswith("graphs.")]
EXAMPLES = [
    pytest.param(block, example, id=f"{block.name}-{number}")
    for block in OWN
    for number, example in enumerate(block.examples, 1)
]


def _answer(request: Request) -> Answer:
    """The site that the web blocks' examples speak to."""
    if request.path == "/json":
        body = json.dumps({"method": request.method, "body": request.body.decode()}).encode()
        return Answer(200, {"content-type": "application/json"}, body)
    return Answer(404, {"content-type": "text/plain"}, b"nothing here")


@pytest.mark.parametrize(("block", "example"), EXAMPLES)
async def test_a_block_does_what_its_example_says(block: Block, example: Example, settings: Any):
    async with a_server(_answer) as server:
        settings.HTTP_ALLOW_PRIVATE = server.allowed
        data = json.loads(json.dumps(example.input).replace("https://api.example.com", server.origin))
        with time_machine.travel("2026-01-02T03:04:05Z", tick=False):
            given = await values(block, data, example.answers)
        await http.close()

    assert tuple(given) == example.output


def test_nothing_of_our_own_is_left_out():
    assert BLOCKS.problems == ()


def test_ids_names_categories_and_pins_are_those_of_the_contract():
    ours = [
        {
            "id": block.id,
            "name": block.name,
            "categories": sorted(block.categories),
            "inputs": sorted(block.Input.model_fields),
            "outputs": sorted(block.Output.model_fields),
        }
        for block in OWN
    ]

    assert ours == CONTRACT


def test_a_catalogue_entry_has_the_contracts_keys_and_flags():
    entry = describe(next(block for block in OWN if block.name == "CombineTextsBlock"))

    assert {name: value for name, value in entry.items() if not name.endswith("Schema")} == {
        "id": "e30a4d42-7b7d-4e6a-b36e-1f9b8e3b7d85",
        "name": "CombineTextsBlock",
        "description": "Joins texts, with a delimiter between each two.",
        "categories": [{"category": "TEXT", "description": "Works on text."}],
        "contributors": [],
        "staticOutput": False,
        "uiType": "Standard",
        "costs": [],
    }
    assert entry["inputSchema"] == {
        "type": "object",
        "title": "Input",
        "required": ["input"],
        "properties": {
            "input": {
                "type": "array",
                "items": {"type": "string"},
                "title": "Input",
                "description": "The texts.",
                "placeholder": '["Hello", "World"]',
                "advanced": False,
                "secret": False,
            },
            "delimiter": {
                "type": "string",
                "title": "Delimiter",
                "description": "What goes between each two.",
                "default": "",
                "placeholder": ", ",
                "advanced": True,
                "secret": False,
            },
        },
    }


@pytest.mark.parametrize("block", OWN, ids=lambda block: block.name)
def test_schemas_name_every_pin_and_refer_to_nothing_outside(block: Block):
    entry = describe(block)

    assert set(entry["inputSchema"]["properties"]) == set(block.Input.model_fields)
    assert set(entry["outputSchema"]["properties"]) == set(block.Output.model_fields)
    assert "$ref" not in json.dumps(entry)
    assert "$defs" not in json.dumps(entry)


@pytest.mark.parametrize("block", OWN, ids=lambda block: block.name)
def test_a_block_is_described_for_people(block: Block):
    assert block.description.endswith(".")
    for model in (block.Input, block.Output):
        for name, field in model.model_fields.items():
            assert field.description or name == "error", name
