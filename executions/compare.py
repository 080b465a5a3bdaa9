"""Where two runs of one graph version part: the first node that was given, or gave, something else."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from executions import previews
from executions.errors import NoSuchRun, NotComparable
from executions.models import GraphExecution
from executions.reading import block_name, rows_of
from graphs.definition import GraphDefinition
from graphs.services import load_definition

Wire = dict[str, Any]

_INPUT_DIGESTS = """
SELECT node_id, md5(string_agg(md5(input_data::text || coalesce(input_blobs::text, '')), '' ORDER BY ordinal))
FROM executions_nodeexecution WHERE run_id = %s GROUP BY node_id
"""

_OUTPUT_DIGESTS = """
SELECT n.node_id,
    md5(string_agg(md5(to_json(o.pin) || coalesce(o.blob, o.value::text)), '' ORDER BY n.ordinal, o.ordinal))
FROM executions_nodeexecution n JOIN executions_nodeoutput o ON o.run_id = n.run_id AND o.node_execution_id = n.id
WHERE n.run_id = %s GROUP BY n.node_id
"""

_INPUTS = f"""
SELECT row_number() OVER (ORDER BY ordinal) - 1 AS place, row_number() OVER (ORDER BY ordinal) - 1 AS turn,
    NULL AS pin, md5(input_data::text || coalesce(input_blobs::text, '')) AS digest,
    {previews.cut_object_in_sql("input_data")} AS shown
FROM executions_nodeexecution WHERE run_id = %s AND node_id = %s
"""  # noqa: S608  all parts are constants

_OUTPUTS = f"""
SELECT row_number() OVER (ORDER BY n.ordinal, o.ordinal) - 1 AS place,
    dense_rank() OVER (ORDER BY n.ordinal) - 1 AS turn,
    o.pin AS pin, md5(to_json(o.pin) || coalesce(o.blob, o.value::text)) AS digest,
    {previews.cut_in_sql("o.value")} AS shown
FROM executions_nodeexecution n JOIN executions_nodeoutput o ON o.run_id = n.run_id AND o.node_execution_id = n.id
WHERE n.run_id = %s AND n.node_id = %s
"""  # noqa: S608  all parts are constants

_FIRST = """
SELECT a.turn, a.pin, a.shown, b.turn, b.pin, b.shown FROM ({values}) a FULL JOIN ({values}) b ON a.place = b.place
WHERE a.digest IS DISTINCT FROM b.digest ORDER BY coalesce(a.place, b.place) LIMIT 1
"""


def diff_runs(a: UUID, b: UUID) -> Wire:
    """Compare two ended or running runs node by node, in the order in which values flow.

    `inputs` and `outputs` name the first node whose inputs or outputs differ, with the first that does in either run as
    a preview: `{"node_id", "block", "a", "b"}`, each side `{"activation", "pin", "value"}` or None where that run has
    none. Both are None, and `equal` true, when there is no difference.

    Large values are told apart by their hashes. Raises `NoSuchRun`, or `NotComparable` when the runs are not of one
    graph version.
    """
    first, second = _run(a), _run(b)
    if (first.graph_id, first.graph_version) != (second.graph_id, second.graph_version):
        raise NotComparable
    definition = load_definition(first.graph_id, first.graph_version)
    inputs = _first_difference(definition, a, b, _INPUT_DIGESTS, _INPUTS)
    outputs = _first_difference(definition, a, b, _OUTPUT_DIGESTS, _OUTPUTS)
    return {"equal": inputs is None and outputs is None, "inputs": inputs, "outputs": outputs}


def in_flow_order(definition: GraphDefinition) -> list[UUID]:
    """The nodes, each behind those that its values come from; a loop is entered where values reach it."""
    sources: dict[UUID, set[UUID]] = {node.id: set() for node in definition.nodes}
    sinks: dict[UUID, set[UUID]] = {node.id: set() for node in definition.nodes}
    for link in definition.links:
        sources[link.sink_id].add(link.source_id)
        sinks[link.source_id].add(link.sink_id)
    left = dict.fromkeys(sources)
    free = [node_id for node_id in left if not sources[node_id]]
    reached: set[UUID] = set()
    order = []
    while left:
        node_id = free.pop(0) if free else next((other for other in left if other in reached), next(iter(left)))
        if node_id not in left:
            continue
        del left[node_id]
        order.append(node_id)
        reached |= sinks[node_id]
        for sink in sinks[node_id]:
            sources[sink].discard(node_id)
        free += [other for other in left if other in sinks[node_id] and not sources[other]]
    return order


def _run(run_id: UUID) -> GraphExecution:
    run = GraphExecution.objects.filter(pk=run_id).only("graph_id", "graph_version").first()
    if run is None:
        raise NoSuchRun(run_id=str(run_id))
    return run


def _first_difference(definition: GraphDefinition, a: UUID, b: UUID, digests: str, values: str) -> Wire | None:
    of_a, of_b = _digests(digests, a), _digests(digests, b)
    for node_id in in_flow_order(definition):
        if of_a.get(node_id) != of_b.get(node_id):
            # A run under way may have caught up meanwhile: then there is none any more.
            for row in rows_of(_FIRST.format(values=values), [a, node_id, b, node_id]):
                block_id = next(node.block_id for node in definition.nodes if node.id == node_id)
                return {
                    "node_id": str(node_id),
                    "block": block_name(block_id),
                    "a": _side(*row[:3]),
                    "b": _side(*row[3:]),
                }
    return None


def _digests(query: str, run_id: UUID) -> Mapping[UUID, str]:
    return dict(rows_of(query, [run_id]))


def _side(turn: int | None, pin: str | None, text: str | None) -> Wire | None:
    if turn is None or text is None:
        return None
    value = json.loads(text)
    shown = previews.preview_entries(value) if pin is None else previews.preview(value)
    return {"activation": turn, "pin": pin, "value": shown}
