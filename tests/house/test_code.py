import re
from io import StringIO
from pathlib import Path

import pytest
from celery import current_app
from django.core.management import call_command

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ["platform", "graphs", "executions", "credits", "integrations", "notifications"]
SOURCES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def _places(pattern: str, *, but: tuple[str, ...] = ()) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in SOURCES
        if not str(path.relative_to(ROOT)).startswith(but)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(pattern, line)
    ]


def test_work_is_sent_to_celery_only_after_the_commit():
    assert _places(r"\.delay\(|\.apply_async\(|\.send_task\(", but=("platform/core/broker.py",)) == []


def test_rows_are_locked_only_by_the_questions_of_their_models():
    but = tuple(str(path.relative_to(ROOT)) for path in SOURCES if path.name == "models.py" or "models" in path.parts)

    assert _places(r"\.select_for_update\(", but=but) == []


def test_every_task_name_that_is_sent_is_answered():
    current_app.loader.import_default_modules()
    written_out = r"""\bTask\(\s*["']([^"']+)["']"""
    named_in_a_queue = r"""^[A-Z_]+ = "([a-z_]+\.[a-z_]+)"$"""
    sent = {name for path in SOURCES for name in re.findall(written_out, path.read_text())}
    for path in (path for path in SOURCES if path.name == "queue.py"):
        sent |= set(re.findall(named_in_a_queue, path.read_text(), re.MULTILINE))

    assert "executions.ring" in sent
    assert sent - set(current_app.tasks) == set()


@pytest.mark.django_db
def test_the_migrations_describe_the_models_completely():
    found = StringIO()

    call_command("makemigrations", "--check", "--dry-run", stdout=found, stderr=found)

    assert found.getvalue().strip() == "No changes detected"


def test_the_architecture_document_names_exactly_the_packages_there_are():
    packages = {str(path.parent.relative_to(ROOT)) for path in SOURCES if path.name == "__init__.py"}
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"^\| `([a-z_/]+)/` \|", text, re.MULTILINE))

    # Django prescribes these folders, in every app alike.
    assert named == {name for name in packages if not re.search(r"/(migrations|management|commands|formats)\b", name)}


def test_the_architecture_document_names_every_module_of_the_engine_once():
    text = (ROOT / "docs" / "architecture.md").read_text()
    section = text.partition("### Inside `executions/engine/`\n")[2].partition("\n## ")[0]
    named = re.findall(r"`([a-z_]+)`", section)

    assert sorted(named) == sorted(
        path.stem for path in (ROOT / "executions" / "engine").glob("*.py") if path.stem != "__init__"
    )
