"""`manage.py run_graph FILE`: save a graph, run it, watch it, and print what came out."""

import io
import json
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.live import Live
from rich.text import Text

from core.errors import DomainError

COMPLETED, ENDED_OTHERWISE, BAD_INPUT, TIMED_OUT = range(4)
# How long a worker may take to begin before this process does the work itself.
_PATIENCE = 3.0
_LOOK_SECONDS = 0.05


class Command(BaseCommand):
    """Save a graph, run it, watch it, and print what came out.

    A platform that runs on this machine does the work; where none runs, its servers are started for the while and the
    work is done in this process. The exit code is 0 when the run COMPLETED, 1 when it ended otherwise, 2 for a
    file or input that cannot be used and 3 when the time was over, in which case the run is stopped.
    """

    help = "Save a graph, run it, watch it, and print what came out."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("file", help="a graph as JSON, e.g. graphs/examples/running_total.json")
        parser.add_argument(
            "--input",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="an input of the graph; the value is JSON if it can be read as such, else text; NAME=@FILE reads it",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="have no effects: what does more than compute gives an example"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
        parser.add_argument("--owner", default=settings.DEMO_EMAIL, help="email of the owner (default: %(default)s)")
        parser.add_argument("--timeout", type=float, default=600.0, help="seconds to wait (default: %(default)g)")

    def handle(
        self,
        *args: Any,
        file: str,
        input: list[str],
        dry_run: bool,
        json: bool,
        owner: str,
        timeout: float,
        **options: Any,
    ) -> None:
        """Run; leaves through `SystemExit` unless the run COMPLETED, raises `CommandError` for what cannot be used."""
        from config.at_hand import servers

        inputs = dict(_input(text) for text in input)
        if not timeout > 0:
            raise CommandError("--timeout must be more than 0 seconds", returncode=BAD_INPUT)
        if not Path(file).is_file():
            raise CommandError(f"There is no file {file}", returncode=BAD_INPUT)
        with servers() as were_running:
            run = _start(file, inputs, _owner(owner), dry_run=dry_run)
            code = _watch(run, timeout, as_json=json, workers_may_run=were_running)
        if code:
            sys.exit(code)


def _input(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise CommandError(f"--input is NAME=VALUE, not {text!r}", returncode=BAD_INPUT)
    if value.startswith("@"):
        try:
            value = Path(value[1:]).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"--input {name}: {value[1:]} cannot be read: {error}", returncode=BAD_INPUT) from None
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _watch(run: Any, timeout: float, *, as_json: bool, workers_may_run: bool) -> int:
    """Follow a run to its end and print; returns the exit code."""
    from executions.models import GraphExecution
    from executions.reading import run_detail

    with _engine(run.pk, at_once=not workers_may_run) as help_out:
        in_time = _follow(run, time.monotonic() + timeout, help_out, as_json=as_json)
    detail = run_detail(GraphExecution.objects.get(pk=run.pk))
    if as_json:
        print(json.dumps(_report(detail), ensure_ascii=False))
    else:
        _show_end(detail)
    if not in_time:
        return TIMED_OUT
    return COMPLETED if detail["status"] == "COMPLETED" else ENDED_OTHERWISE


def _owner(email: str) -> Any:
    from accounts.models import User
    from config.up import prepare

    user = User.objects.filter(email=email.lower()).first()
    if user is None and email == settings.DEMO_EMAIL:
        prepare.make_demo_user()
        user = User.objects.get(email=email.lower())
    if user is None:
        raise CommandError(f"There is no user {email}; name one with --owner", returncode=BAD_INPUT)
    return user


def _start(file: str, inputs: dict[str, Any], user: Any, *, dry_run: bool) -> Any:
    """Save the graph and queue its run; a graph that cannot run with these inputs is not kept."""
    from executions.errors import NotRunnable
    from executions.services import start_run
    from graphs.models import GraphVersion
    from graphs.rendering import as_graph
    from graphs.services import delete_graph, find_version

    try:
        graph_id = UUID(
            call_command("import_graph", file, owner=user.email, stdout=io.StringIO(), stderr=io.StringIO())
        )
    except CommandError as error:
        raise CommandError(str(error), returncode=BAD_INPUT) from None
    version = find_version(GraphVersion.objects.visible_to(user), graph_id)
    try:
        _check_names(inputs, as_graph(version))
        return start_run(graph_id, version.version, user_id=user.pk, inputs=inputs, dry_run=dry_run)
    except CommandError:
        delete_graph(user, graph_id)
        raise
    except DomainError as error:
        delete_graph(user, graph_id)
        faults = error.messages if isinstance(error, NotRunnable) else [error.message]
        raise CommandError("\n".join(f"{file}: {fault}" for fault in faults), returncode=BAD_INPUT) from None


def _check_names(inputs: Mapping[str, Any], graph: Mapping[str, Any]) -> None:
    """Refuse what the graph would ignore: here, a name that it does not have is a slip of the hand."""
    names = graph["input_schema"]["properties"]
    unknown = [name for name in inputs if name not in names]
    if unknown and not graph["has_external_trigger"]:
        known = f"its inputs are {', '.join(names)}" if names else "it has none"
        raise CommandError(f"The graph has no input {unknown[0]!r}; {known}", returncode=BAD_INPUT)


class _Help:
    """An engine in this process, started when it turns out that nobody else does the work."""

    def __init__(self, run_id: UUID) -> None:
        self._run_id = run_id
        self._engine: Any = None

    def start(self) -> None:
        """Begin to work, unless that was done before."""
        from executions.engine.engine import Engine

        if self._engine is None:
            self._engine = Engine()
            self._engine.start()
            self._engine.ring([self._run_id])

    def stop(self) -> None:
        """Hand over what is not done."""
        if self._engine is not None:
            self._engine.stop()


@contextmanager
def _engine(run_id: UUID, *, at_once: bool) -> Iterator[_Help]:
    engine = _Help(run_id)
    if at_once:
        engine.start()
    try:
        yield engine
    finally:
        engine.stop()


def _follow(run: Any, deadline: float, help_out: _Help, *, as_json: bool) -> bool:
    """Show the run until it has ended; false when the deadline came first and it was stopped."""
    from executions.services import stop_run
    from executions.watching.run_events import Place, Told, events_after

    told = Told([], Place(0))
    asked_at = time.monotonic()
    in_time = True
    try:
        with _view(run, as_json=as_json) as show:
            while not told.is_over:
                told = events_after(run.user, run.pk, told.place)
                for event in told.events:
                    show(event)
                if told.events:
                    continue
                now = time.monotonic()
                if told.place.seq <= 1 and now - asked_at > _PATIENCE:
                    help_out.start()
                if in_time and now > deadline:
                    in_time = False
                    stop_run(run.pk)
                time.sleep(_LOOK_SECONDS)
    except KeyboardInterrupt:
        stop_run(run.pk)
        raise
    return in_time


@contextmanager
def _view(run: Any, *, as_json: bool) -> Iterator[Any]:
    """What to call with each event: a live table on a terminal, a line for each ended activation elsewhere."""
    from config.up.view import RunView, seconds_of, shown_outputs
    from graphs.blocks.registry import BLOCKS
    from graphs.models import GraphVersion
    from graphs.rendering import as_graph

    version = GraphVersion.objects.with_drawing().get(graph_id=run.graph_id, version=run.graph_version)
    view = RunView(as_graph(version), {block.id: block.name for block in BLOCKS.all()})
    console = Console(highlight=False)

    def print_line(event: dict[str, Any]) -> None:
        view.apply(event)
        if event.get("node_exec_id") and event["end_time"]:
            outputs = shown_outputs({pin: values[-1] for pin, values in event["output_data"].items() if values})
            title = view.row_of(event).title
            line = f"{event['status']:<10} {seconds_of(event):8.3f} s  {title}  {outputs}"
            console.print(Text(line), soft_wrap=True)

    if as_json:
        yield view.apply
    elif console.is_terminal:
        with Live(view, console=console, refresh_per_second=12):
            yield view.apply
    else:
        yield print_line


def _show_end(detail: dict[str, Any]) -> None:
    console = Console(highlight=False)
    for name, values in detail["outputs"].items():
        for value in values:
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            console.print(Text(f"{name}: {shown}"), soft_wrap=True)
    ending = f"{detail['status']} after {detail['stats']['duration']:.3f} s"
    console.print(Text(f"{ending}: {detail['error']}" if detail["error"] else ending), soft_wrap=True)


def _report(detail: dict[str, Any]) -> dict[str, Any]:
    from config.up.view import seconds_of
    from graphs.blocks.registry import BLOCKS

    names = {block.id: block.name for block in BLOCKS.all()}
    return {
        "run_id": detail["id"],
        "graph_id": detail["graph_id"],
        "status": detail["status"],
        "error": detail["error"],
        "duration": detail["stats"]["duration"],
        "outputs": detail["outputs"],
        "nodes": [
            {
                "node_id": node["node_id"],
                "block": names.get(node["block_id"], node["block_id"]),
                "status": node["status"],
                "duration": seconds_of(node),
                "output": node["output_data"],
            }
            for node in detail["node_executions"]
        ],
    }
