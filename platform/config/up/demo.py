"""The demonstration: a person who imports the example graphs, runs one and watches it, all over the public API."""

import json
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from rich.live import Live

from config.up.client import Client
from config.up.console import console, say
from config.up.prepare import Login
from config.up.view import RunView

EXAMPLES = Path(settings.BASE_DIR) / "graphs" / "examples"
SHOWN = "number_table.json"


@dataclass(frozen=True)
class Outcome:
    """How the demonstration run ended."""

    status: str
    outputs: dict[str, list[Any]]


async def demonstrate(client: Client, login: Login) -> Outcome:
    """Import the examples that this person does not have yet, run one and show it; raises `ApiRefused`."""
    await client.log_in(login.email, login.password)
    blocks = {block["id"]: block["name"] for block in await client.send("GET", "/api/blocks")}
    graph_id = await _import_examples(client)
    graph = await client.send("GET", f"/api/graphs/{graph_id}")
    run = await client.send("POST", f"/api/graphs/{graph_id}/execute/{graph['version']}", {"inputs": {}})
    view = RunView(graph, blocks)
    with Live(view, console=console, refresh_per_second=12) if console.is_terminal else nullcontext():
        async for event in client.follow(run["id"]):
            view.apply(event)
    if not console.is_terminal:
        console.print(view)
    result = await client.send("GET", f"/api/graphs/{graph_id}/executions/{run['id']}")
    return Outcome(result["status"], result["outputs"])


def show(outcome: Outcome) -> None:
    """Print how it ended and each output."""
    for name, values in outcome.outputs.items():
        for value in values:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            say(f"  {name}: " + text.strip().replace("\n", "\n" + " " * (len(name) + 4)))
    say(f"The run ended as {outcome.status}.", style="green" if outcome.status == "COMPLETED" else "bold red")


async def _import_examples(client: Client) -> str:
    """Return the id of the example to run."""
    known = {graph["name"]: str(graph["id"]) for graph in await client.send("GET", "/api/graphs")}
    for path in sorted(EXAMPLES.glob("*.json")):
        if path.name.endswith(".expected.json"):
            continue
        example = json.loads(path.read_text())
        if example["name"] not in known:
            saved = await client.send("POST", "/api/graphs", {"graph": example, "source": "upload"})
            known[example["name"]] = str(saved["id"])
        if path.name == SHOWN:
            chosen = known[example["name"]]
    return chosen
