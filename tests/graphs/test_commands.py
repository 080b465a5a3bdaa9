"""`import_graph` and `export_graph`."""

import io
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from accounts.models import User
from graphs.models import Graph, GraphVersion
from tests import make


def command(name: str, *arguments: object) -> tuple[str, str]:
    """What a command prints: (stdout, stderr)."""
    out, err = io.StringIO(), io.StringIO()
    call_command(name, *map(str, arguments), stdout=out, stderr=err)
    return out.getvalue().strip(), err.getvalue().strip()


def a_file(folder: Path, content: Any) -> Path:
    path = folder / "graph.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_file_is_imported_for_its_owner(tmp_path: Path, user: User) -> None:
    out, err = command("import_graph", a_file(tmp_path, make.a_drawing(name="tool")), "--owner", user.email.upper())
    graph = Graph.objects.get()
    assert (out, graph.owner) == (str(graph.pk), user)
    assert err == f"Imported tool for {user.email}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "line 1 column 2"),
        ("[]", "is not a graph:\n  graph: Input should be an object"),
        ({"name": "x", "nodes": [{}]}, "nodes.0.block_id: Field required"),
        ({"name": "x", "description": "", "nodes": [{"block_id": "no"}]}, "there is no block 'no'"),
    ],
)
def test_a_bad_file_is_refused_with_its_problems(tmp_path: Path, user: User, content: Any, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        command("import_graph", a_file(tmp_path, content), "--owner", user.email)
    assert Graph.objects.count() == 0


def test_a_missing_file_or_owner_is_named(tmp_path: Path, user: User) -> None:
    with pytest.raises(CommandError, match="No such file"):
        command("import_graph", tmp_path / "no-such-file.json", "--owner", user.email)
    with pytest.raises(CommandError, match=r"There is no user nobody@example\.com"):
        command("import_graph", a_file(tmp_path, make.a_drawing()), "--owner", "nobody@example.com")


def test_an_exported_file_can_be_imported(tmp_path: Path, user: User) -> None:
    version = make.a_graph(user)
    path = tmp_path / "out.json"
    out, err = command("export_graph", version.graph_id, "--output", path)
    assert (out, err) == ("", f"Wrote drawn v1 to {path}")
    command("import_graph", path, "--owner", user.email)
    assert GraphVersion.objects.count() == 2


def test_a_version_is_exported_to_standard_output(user: User) -> None:
    version = make.a_graph(user)
    out, _ = command("export_graph", version.graph_id, "--version", 1)
    assert json.loads(out)["id"] == str(version.graph_id)
    assert json.loads(out)["user_id"] == ""


def test_an_export_that_cannot_be_made_says_why(tmp_path: Path, user: User) -> None:
    with pytest.raises(CommandError, match="There is no graph"):
        command("export_graph", uuid4())
    with pytest.raises(CommandError, match="There is no version 2"):
        command("export_graph", make.a_graph(user).graph_id, "--version", 2)
    with pytest.raises(CommandError, match="Is a directory"):
        command("export_graph", make.a_graph(user).graph_id, "--output", tmp_path)
