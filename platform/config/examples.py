"""Examples for the OpenAPI document: what is sent by hand where it has to mean something, all else from its schema."""

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

_ID = "0198a6f2-5c1e-7d3a-9b40-2f6e8d1c7a55"
_TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIwMTk4In0.c2lnbmVk"  # noqa: S105  of nobody
_DEEPEST = 6

# By the name of a parameter or property.
_NAMED: Mapping[str, Any] = {
    "access": _TOKEN,
    "amount": 500,
    "block_id": "b1ab9b19-67a6-406d-abf5-2dba76d00c79",
    "block_ids": ["b1ab9b19-67a6-406d-abf5-2dba76d00c79"],
    "category": "text",
    "code": "graph_not_found",
    "cron": "30 9 * * MON-FRI",
    "cursor": "AQAAAAIABjJ3gkqTAAGYpvJcHn06m0Avbo0celU=",
    "daily_limit": 3,
    "description": "Greets whoever it is told.",
    "email": "ann@example.com",
    "name": "Greeting",
    "new_password": "a better horse battery",
    "password": "correct horse battery staple",
    "plain_text_key": "tlk_0123456789abcdef_qL9vG2cN8rT5yK1wZ7xB4mD6hF3jS0pA9eU2iO5lQ8n",
    "preferences": {"AGENT_RUN": True},
    "provider": "github",
    "refresh": _TOKEN,
    "search_query": "template",
    "share_token": "6c1b7a0e-4f2d-4b8e-9a57-3d0c5e9f1b24",
    "timezone": "Europe/Zurich",
    "token": "bm9ib2R5.1uQ2Zk.c2lnbmVk",
}
_FORMATS: Mapping[str, Any] = {
    "uuid": _ID,
    "date-time": "2026-03-01T09:30:00Z",
    "date": "2026-03-01",
    "email": "ann@example.com",
    "uri": "https://taskloom.example.com/",
    "binary": "…",
}
_GREETING = {
    "name": "Greeting",
    "description": "Greets whoever it is told.",
    "nodes": [
        {"id": "in", "block_id": "c0a8e994-ebf1-4a9c-a4d8-89d09c86741b", "input_default": {"name": "who"}},
        {"id": "out", "block_id": "363ae599-353e-4804-937e-b2ee3cef3da4", "input_default": {"name": "greeting"}},
    ],
    "links": [{"source_id": "in", "source_name": "result", "sink_id": "out", "sink_name": "value"}],
}
# Bodies by operation.
_SENT: Mapping[str, Any] = {
    "change_email": "ann@example.com",
    "create_graph": {"graph": _GREETING, "source": "upload"},
    "save_graph_version": _GREETING,
    "execute_graph": {"inputs": {"who": "Ann"}},
    "execute_graph_batch": {"runs": [{"inputs": {"who": "Ann"}}, {"inputs": {"who": "Bob"}}]},
    "execute_block": {"operation": "Add", "a": 40, "b": 2},
    "external_execute_block": {"operation": "Add", "a": 40, "b": 2},
    "external_execute_graph": {"node_input": {"who": "Ann"}},
    "create_schedule": {"name": "Each morning", "cron": "30 9 * * MON-FRI", "inputs": {"who": "Ann"}},
    "update_schedule": {"cron": "0 8 * * MON-FRI"},
    "create_preset": {
        "graph_id": _ID,
        "graph_version": 1,
        "name": "For Ann",
        "description": "Greets Ann.",
        "inputs": {"who": "Ann"},
        "credentials": {},
        "webhook_id": None,
    },
    "update_preset": {"name": "For Bob", "inputs": {"who": "Bob"}, "credentials": {}},
    "set_up_trigger": {
        "name": "Each order",
        "graph_id": _ID,
        "graph_version": 1,
        "trigger_config": {"constants": {"shop": "Oslo"}},
    },
    "execute_preset": {"inputs": {"who": "Ann"}},
    "decide_reviews": {"reviews": [{"node_exec_id": _ID, "approved": True, "message": "fine"}]},
}


def add_examples(result: Json, **_: object) -> Json:
    """Put an example to every parameter, body and good answer that has none. A hook of drf-spectacular."""
    schemas = result.get("components", {}).get("schemas", {})
    for operations in result["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if "examples" not in parameter:
                    parameter.setdefault("example", _example(parameter["schema"], schemas, parameter["name"]))
            sent = _SENT.get(operation["operationId"])
            _fill(operation.get("requestBody", {}), schemas, sent)
            for status, response in operation["responses"].items():
                if status.startswith("2"):
                    _fill(response, schemas)
    return result


def _fill(message: Json, schemas: Json, example: Any = None) -> None:
    for content in message.get("content", {}).values():
        if "example" not in content and "examples" not in content:
            content["example"] = example or _example(content.get("schema", {}), schemas)


def _example(schema: Json, schemas: Json, name: str = "", depth: int = 0) -> Any:
    """A value that the schema allows."""
    schema = _resolved(schema, schemas)
    for key in ("example", "const", "default"):
        if schema.get(key) is not None:
            return schema[key]
    if "enum" in schema:
        return schema["enum"][0]
    kinds = schema.get("type", "object")
    kind = kinds if isinstance(kinds, str) else next(each for each in kinds if each != "null")
    if kind == "object":
        return _object(schema, schemas, depth)
    if kind == "array":
        known = _NAMED.get(name)
        items = [] if depth >= _DEEPEST else [_example(schema.get("items", {}), schemas, name, depth + 1)]
        return known if isinstance(known, list) else items
    return _simple(kind, schema, name)


def _resolved(schema: Json, schemas: Json) -> Json:
    """The schema that is meant: what a reference names, and of several alternatives the first."""
    if "$ref" in schema:
        return _resolved(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    for key in ("allOf", "oneOf", "anyOf"):
        if key in schema:
            return _resolved(next(each for each in schema[key] if each.get("type") != "null"), schemas)
    return schema


def _object(schema: Json, schemas: Json, depth: int) -> Json:
    if depth >= _DEEPEST:
        return {}
    return {
        name: value
        if isinstance(value := _NAMED.get(name), dict) and "properties" not in inside
        else _example(inside, schemas, name, depth + 1)
        for name, inside in schema.get("properties", {}).items()
    }


def _simple(kind: str, schema: Json, name: str) -> Any:
    known = _NAMED.get(name)
    match kind:
        case "integer" | "number":
            return known if isinstance(known, int) else schema.get("minimum", 1)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            text = known if isinstance(known, str) and "format" not in schema else None
            return text or _FORMATS.get(schema.get("format", ""), "text")
