"""What the README shows is what there is."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_every_file_it_links_to_exists():
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_block_is_the_one_that_the_docs_explain_and_the_tests_run():
    code = re.findall(r"```(?:python|toml)\n.*?```", README, re.DOTALL)
    assert len(code) == 2
    docs = (ROOT / "docs" / "blocks.md").read_text()
    assert [block for block in code if block not in docs] == []


def test_every_command_of_make_it_names_exists():
    recipes = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {*re.findall(r"\bmake ([a-z]+)\b", README)} <= recipes
