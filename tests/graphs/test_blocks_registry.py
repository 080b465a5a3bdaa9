from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks

from graphs import system_checks
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
)
from graphs.blocks.registry import GROUP, OWN_MODULES, Registry
from graphs.blocks.text import CombineTextsBlock
from graphs.errors import UnknownBlock

GOOD = """
from graphs.blocks.base import *
from graphs.blocks.text import CombineTextsBlock

class Shout(Block):
    id = "01980000-0000-7000-8000-00000000beef"
    description = "Makes a text loud."
    categories = frozenset({{Category.TEXT}})
    effect = Effect.PURE
    examples = (Example({{"text": "hey"}}, (("text", "HEY"),)),)
    {more}

    class Input(BlockInput):
        text: {type}

    class Output(BlockOutput):
        text: str

    def run(self, input, context):
        yield "text", input.text.upper()

class Whisper(Shout):
    id = "01980000-0000-7000-8000-00000000bee0"

LIST = [Shout]
NONSENSE = [Shout, 5]
def offer():
    return LIST
def fail():
    raise RuntimeError("no luck")
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a module of blocks, and gives a registry of what an entry point with this value offers."""
    monkeypatch.syspath_prepend(tmp_path)

    def offer(name: str, source: str, value: str = "", own: tuple[str, ...] = ()) -> Registry:
        (tmp_path / f"{name}.py").write_text(source)
        return Registry(own, [EntryPoint("theirs", value or name, GROUP)])

    return offer


def _good(type: str = "str", more: str = "") -> str:
    return GOOD.format(type=type, more=more)


def test_a_module_offers_every_block_in_it_and_none_twice(package):
    registry = package("blocks_in_module", _good())

    assert [block.name for block in registry.all()] == ["CombineTextsBlock", "Shout", "Whisper"]
    assert registry.get("01980000-0000-7000-8000-00000000beef").name == "Shout"
    assert registry.problems == ()


def test_a_package_may_use_a_block_of_the_platforms_without_a_clash(package):
    registry = package("blocks_that_reuse", _good(), own=OWN_MODULES)

    assert isinstance(registry.get(CombineTextsBlock.id), CombineTextsBlock)
    assert registry.problems == ()


@pytest.mark.parametrize("attribute", ["Shout", "LIST", "offer"])
def test_an_entry_point_may_name_a_class_a_list_or_a_function(package, attribute):
    name = f"blocks_by_{attribute.lower()}"
    registry = package(name, _good(), f"{name}:{attribute}")

    assert [block.name for block in registry.all()] == ["Shout"]
    assert registry.problems == ()


@pytest.mark.parametrize(
    ("source", "attribute", "reason"),
    [
        ("import nothing_of_this_name", "", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("def (", "", "SyntaxError: invalid syntax (broken_1.py, line 1)"),
        (_good(), "missing", "AttributeError: module 'broken_2' has no attribute 'missing'"),
        (_good(), "fail", "RuntimeError: no luck"),
        (_good(), "NONSENSE", "TypeError: 5 is not a Block class"),
    ],
)
def test_a_broken_package_is_a_problem_and_nothing_else(package, source, attribute, reason, request):
    name = f"broken_{request.node.callspec.indices['source']}"
    value = f"{name}:{attribute}" if attribute else name
    registry = package(name, source, value)

    assert registry.all() == ()
    assert [problem.message for problem in registry.problems] == [
        f"The block package theirs = {value} cannot be loaded: {reason}"
    ]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (_good(type="Block"), "PydanticInvalidForJsonSchema"),
        (_good(more="id = 'short'"), "its id must have 36 characters, not 5"),
        (_good(more="id = ['x']"), "id must be declared as str"),
        (_good(more="effect = 'pure'"), "effect must be declared as Effect"),
        (_good(more="isolated = 1"), "isolated must be declared as bool"),
        (_good(more="effect = Effect.VERIFIABLE"), "was_done must be defined by blocks whose effect is VERIFIABLE"),
        (
            _good(more="async def was_done(self, input, context): return True"),
            "whose effect is VERIFIABLE, and only by",
        ),
        (_good(more="examples = ()"), "examples must hold at least one Example"),
        (_good(more="description = ' '"), "its description is empty"),
        (_good(more="categories = frozenset({'Odd'})"), "its categories must be members of Category"),
        (_good(type="bool"), "the boolean input text needs a default"),
        (_good(type="CredentialsPlaceholder"), "input text: credentials belong into pins named credentials"),
        (_good(more="def __init__(self): raise OSError('no disk')"), "OSError: no disk"),
        (_good(more="id = 'e30a4d42-7b7d-4e6a-b36e-1f9b8e3b7d85'"), "its id e30a4d42-7b7d-4e6a-b36e-1f9b8e3b7d85 is"),
    ],
)
def test_an_unusable_block_is_left_out_with_the_reason(package, source, reason, request):
    name = f"unusable_{request.node.callspec.indices['source']}"
    registry = package(name, source, f"{name}:Shout", own=("graphs.blocks.text",))

    (problem,) = registry.problems
    assert reason in problem.message
    assert "Shout" not in [block.name for block in registry.all()]
    assert "CombineTextsBlock" in [block.name for block in registry.all()]


def test_credentials_belong_into_pins_of_that_name_only():
    class Wrong(Block):
        id = "01980000-0000-7000-8000-00000000beea"
        description = "Breaks the rule both ways."
        categories = frozenset({Category.TEXT})
        effect = Effect.PURE
        examples = (Example({}, ()),)

        class Input(BlockInput):
            credentials: str
            mail_credentials: CredentialsPlaceholder | None
            login: CredentialsPlaceholder | None

        class Output(BlockOutput):
            error: int  # type: ignore[assignment]

        def run(self, input: Input, context: Context) -> Emissions:
            yield "error", "never"

    from graphs.blocks.rules import violations

    rule = "credentials belong into pins named credentials or *_credentials, and only there"
    assert violations(Wrong) == [f"input credentials: {rule}", f"input login: {rule}", "the output error must be a str"]


def test_a_class_without_the_needed_declarations_says_which():
    class Empty(Block):
        pass

    from graphs.blocks.rules import violations

    assert violations(Empty) == [
        "id must be declared as str",
        "description must be declared as str",
        "categories must be declared as frozenset",
        "effect must be declared as Effect",
        "examples must be declared as tuple",
        "Input must be a nested pydantic model",
        "Output must be a nested pydantic model",
        "run must be defined",
    ]


def test_an_unknown_id_is_not_found():
    with pytest.raises(UnknownBlock) as missing:
        Registry().get("nowhere")
    assert missing.value.status == 404
    assert str(missing.value) == "There is no block 'nowhere'"
    assert missing.value.data == {"block_id": "nowhere"}


def test_manage_py_check_reports_what_was_left_out(package, monkeypatch):
    registry = package("broken_for_check", "1 / 0")
    monkeypatch.setattr(system_checks, "BLOCKS", registry)

    (warning,) = [message for message in run_checks() if message.id == "graphs.W001"]
    assert warning.msg == (
        "The block package theirs = broken_for_check cannot be loaded: ZeroDivisionError: division by zero"
    )
    assert warning.hint == "Repair or uninstall the package that declares it."
    assert not warning.is_serious()


def test_every_module_of_ours_that_has_blocks_is_offered():
    folder = Path(system_checks.__file__).parent / "blocks"
    with_blocks = {f"graphs.blocks.{path.stem}" for path in folder.glob("*.py") if "\n    id = " in path.read_text()}

    assert with_blocks == set(OWN_MODULES)
