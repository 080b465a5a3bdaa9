"""What crosses into the process of a block that runs apart, and back, as JSON. Pure."""

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from graphs.blocks.base import AskForReview, CallGraph, ChildResult, Context, Decision, Sleep, Suspension

_CONTEXT = TypeAdapter(Context)
_SUSPENSIONS: dict[str, TypeAdapter[Any]] = {
    kind.__name__: TypeAdapter(kind) for kind in (Sleep, CallGraph, AskForReview)
}
_ANSWERS: dict[str, TypeAdapter[Any]] = {kind.__name__: TypeAdapter(kind) for kind in (ChildResult, Decision)}


def context_to_json(context: Context) -> dict[str, Any]:
    """A context as plain data, with its answers."""
    data: dict[str, Any] = _CONTEXT.dump_python(context, mode="json")
    return {**data, "answers": [_pack(answer, _ANSWERS) for answer in context.answers]}


def context_from_json(data: dict[str, Any]) -> Context:
    """The context that `context_to_json` wrote."""
    answers: Sequence[dict[str, Any] | None] = data["answers"]
    return _CONTEXT.validate_python({**data, "answers": tuple(_unpack(answer, _ANSWERS) for answer in answers)})


def suspension_to_json(suspension: Suspension) -> dict[str, Any] | None:
    """What a block wants to wait for, as plain data."""
    return _pack(suspension, _SUSPENSIONS)


def suspension_from_json(data: dict[str, Any]) -> Suspension:
    """The suspension that `suspension_to_json` wrote."""
    suspension: Suspension = _unpack(data, _SUSPENSIONS)
    return suspension


def _pack(value: Any, kinds: dict[str, TypeAdapter[Any]]) -> dict[str, Any] | None:
    if value is None:
        return None
    kind = type(value).__name__
    return {"kind": kind, "value": kinds[kind].dump_python(value, mode="json")}


def _unpack(data: dict[str, Any] | None, kinds: dict[str, TypeAdapter[Any]]) -> Any:
    return None if data is None else kinds[data["kind"]].validate_python(data["value"])
