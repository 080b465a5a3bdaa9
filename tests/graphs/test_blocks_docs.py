import re
import sys
import tomllib
from importlib.metadata import EntryPoint
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from graphs.blocks.base import Effect, Sleep
from graphs.blocks.registry import GROUP, Registry
from tests.graphs.running import run

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "blocks.md").read_text()
(SETUP,) = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
MODULE, SUSPENDING, *_ = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)


def _registry(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    ((name, value),) = tomllib.loads(SETUP)["project"]["entry-points"][GROUP].items()
    (folder / f"{value}.py").write_text(source)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, value, raising=False)
    return Registry((), [EntryPoint(name, value, GROUP)])


async def test_the_documented_package_works_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    registry = _registry(MODULE, tmp_path, monkeypatch)

    assert registry.problems == ()
    (block,) = registry.all()
    (example,) = block.examples
    assert tuple(await run(block, example.input)) == example.output
    assert await run(block, {"name": "Bo", "word": "Bye"}) == [("greeting", "Bye, Bo!")]


def test_the_documented_block_has_twenty_lines():
    assert len([line for line in MODULE.splitlines() if line.strip()]) <= 20


async def test_the_documented_suspension_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    declaration = MODULE[: MODULE.index("    def run(")].replace("greeting: str", "status: str")
    steps = "".join(f"    {line}\n" for line in SUSPENDING.splitlines())
    source = declaration.replace("Example\n", "Example, Sleep\n") + steps
    (block,) = _registry(source, tmp_path, monkeypatch).all()

    assert await run(block, {"name": "Ada"}, [None]) == [("status", "waiting"), Sleep(60), ("status", "done")]


def test_every_effect_is_explained():
    assert re.findall(r"^\| `([A-Z]+)` \|", DOCUMENT, re.MULTILINE) == [effect.name for effect in Effect]


def test_the_table_lists_the_blocks_as_they_are():
    listed = StringIO()
    call_command("list_blocks", "--own", stdout=listed)

    assert DOCUMENT.endswith("\n\n" + listed.getvalue()), (
        "write what `manage.py list_blocks --own` prints into the table"
    )
