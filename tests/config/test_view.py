from io import StringIO

from rich.console import Console

from config.up.view import RunView

GRAPH = {
    "name": "Sum",
    "nodes": [
        {"id": "a", "block_id": "in", "input_default": {"name": "numbers"}, "metadata": {}},
        {"id": "b", "block_id": "add", "input_default": {}, "metadata": {}},
    ],
}
NAMES = {"in": "AgentInputBlock", "add": "CalculatorBlock"}


def lines_of(view: RunView, width: int) -> list[str]:
    console = Console(width=width, record=True, file=StringIO())
    console.print(view)
    return console.export_text().splitlines()


def event(node: str, execution: str, status: str, **outputs: list[object]) -> dict[str, object]:
    return {"node_id": node, "node_exec_id": execution, "status": status, "output_data": outputs}


def test_each_node_is_one_line_with_its_status_its_times_and_its_last_output():
    view = RunView(GRAPH, NAMES)
    view.apply(event("a", "1", "COMPLETED", result=[[1, 2]]))
    view.apply(event("b", "2", "COMPLETED", result=[1]))
    view.apply(event("b", "3", "RUNNING", result=[]))
    view.apply(event("b", "3", "RUNNING", result=[]))
    view.apply({"status": "RUNNING"})

    title, _, _, _, first, second, _ = lines_of(view, 100)

    assert title.strip() == "Sum: RUNNING"
    assert first.split("│")[1:-1] == [
        " numbers (AgentInput) ",
        " COMPLETED ",
        "     1 ",
        "   0.000 ",
        " result=[1, 2] ",
    ]
    assert [cell.strip() for cell in second.split("│")[1:-1]] == ["Calculator", "RUNNING", "2", "0.000", "result=1"]


def test_on_a_narrow_terminal_only_the_output_is_cut():
    view = RunView(GRAPH, NAMES)
    view.apply(event("a", "1", "COMPLETED", result=["a long text that does not fit into what is left of the line"]))

    lines = lines_of(view, 70)

    assert max(len(line) for line in lines) <= 70
    assert "numbers (AgentInput) │ COMPLETED  │     1 │   0.000 │ result='a l…" in lines[4]
