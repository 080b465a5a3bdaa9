"""Values on the way into and out of a block: checked against its pins, and converted where that loses nothing."""

import types
from collections.abc import Callable, Mapping
from functools import lru_cache
from reprlib import Repr
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from core.errors import Invalid
from core.json import encode
from graphs.blocks.base import BadInput, BadOutput, Block, Kind

_SHOWN = 80
_BEGINNING = Repr()
_BEGINNING.maxlist = _BEGINNING.maxtuple = _BEGINNING.maxset = _BEGINNING.maxdict = _SHOWN // 3
_BEGINNING.maxstring = _BEGINNING.maxlong = _BEGINNING.maxother = 2 * _SHOWN

T = TypeVar("T")


class Unconvertible(Exception):
    """The value cannot be turned into the pin's type; the message says why."""


def prepare(block: Block, data: Mapping[str, Any]) -> BaseModel:
    """The block's `Input` made from the values on its pins; names it does not know are ignored.

    A value of another type is converted: a number from numeric text, or from a container its length; a list or
    dictionary from JSON text (other text becomes `[text]` or `{"value": text}`); a dictionary from a list by index; a
    text from anything, as JSON; a boolean from text, true for "true" and "1".

    Raises `BadInput`, naming each pin and what is wrong, when a required pin is missing or a value still does not fit.
    """
    try:
        return block.Input.model_validate(data)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
    converted = dict(data)
    refused: dict[str, str] = {}
    for name in {str(problem["loc"][0]) for problem in problems if problem["loc"]}:
        if name in converted:
            try:
                converted[name] = convert(converted[name], block.Input.model_fields[name].annotation)
            except Unconvertible as reason:
                refused[name] = str(reason)
    if not refused:
        try:
            return block.Input.model_validate(converted)
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False)
    wrong = _complaints(problems, refused)
    told = "; ".join(f"'{pin}': {reason}" for pin, reason in wrong.items())
    raise BadInput(f"Input of {block.name}: {told}", wrong)


def check_output(block: Block, pin: str, value: Any) -> None:
    """Raise `BadOutput` when a standard block yields a pin it has not declared or a value of another type.

    Other kinds of blocks may yield what they like: their pins depend on the graph.
    """
    if block.kind is not Kind.STANDARD:
        return
    try:
        validator = _output_validators(block)[pin]
    except KeyError:
        declared = ", ".join(type(block).Output.model_fields)
        raise BadOutput(f"{block.name} has no output '{pin}'; it has: {declared}") from None
    if validator is None:
        return
    try:
        validator.validate_python(value, strict=True)
    except ValidationError:
        # A value need not have the declared Python type, only its JSON form: a dictionary for a model, say.
        try:
            validator.validate_json(encode(value), strict=True)
        except ValidationError as error:
            raise BadOutput(f"Output '{pin}' of {block.name}: {_first(error)}") from None
        except Invalid as error:
            raise BadOutput(f"Output '{pin}' of {block.name}: {error}") from None


def convert(value: Any, wanted: Any) -> Any:
    """`value` as the type annotation `wanted`, or unchanged where no conversion is known.

    Raises `Unconvertible` with the reason, for a person.
    """
    origin = get_origin(wanted) or wanted
    arguments = get_args(wanted)
    if origin is Annotated:
        return convert(value, arguments[0])
    if origin in (Union, types.UnionType):
        return _to_one_of(value, arguments)
    if value is None:
        return value
    if isinstance(origin, type) and issubclass(origin, BaseModel):
        return _to_dictionary(value) if isinstance(value, str) else value
    known = _CONVERSIONS.get(origin)
    return known(value, arguments) if known else value


def _to_one_of(value: Any, members: tuple[Any, ...]) -> Any:
    if value is None and type(None) in members:
        return None
    reason = None
    for member in members:
        if member is type(None):
            continue
        try:
            return _adapter(member).validate_python(convert(value, member))
        except (Unconvertible, ValidationError) as error:
            reason = reason or (error if isinstance(error, Unconvertible) else Unconvertible(_first(error)))
    raise reason or Unconvertible("no conversion is known")


def _to_whole(value: Any, arguments: tuple[Any, ...]) -> int:
    # Whole numbers keep all their digits; a float would round long ones.
    if isinstance(value, str) and value.strip().lstrip("+-").isdecimal():
        return _number(int, value)
    return _number(int, _to_number(value, arguments))


def _to_number(value: Any, arguments: tuple[Any, ...]) -> float:
    return _number(float, len(value) if isinstance(value, (list, tuple, dict, set, frozenset)) else value)


def _number(make: Callable[[Any], T], value: Any) -> T:
    try:
        return make(value)
    except (TypeError, ValueError, OverflowError):
        raise Unconvertible(f"a number is needed, not {_short(value)}") from None


def _to_boolean(value: Any, arguments: tuple[Any, ...]) -> bool:
    return value.strip().lower() in ("true", "1") if isinstance(value, str) else bool(value)


def _to_text(value: Any, arguments: tuple[Any, ...]) -> str:
    if isinstance(value, str):
        return value
    try:
        return bytes(encode(value)).decode()
    except Invalid as error:
        raise Unconvertible(str(error)) from None


def _to_list(value: Any, arguments: tuple[Any, ...]) -> list[Any]:
    if isinstance(value, dict):
        found: list[Any] = [[key, item] for key, item in value.items()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        found = list(value)
    else:
        parsed = _parsed(value)
        found = parsed if isinstance(parsed, list) else [value]
    return [convert(item, arguments[0]) for item in found] if arguments else found


def _to_dictionary(value: Any, arguments: tuple[Any, ...] = ()) -> dict[Any, Any]:
    found = value if isinstance(value, (list, tuple, dict)) else _parsed(value)
    if isinstance(found, (list, tuple)):
        found = {str(index): item for index, item in enumerate(found)}
    elif not isinstance(found, dict):
        found = {"value": value}
    return {key: convert(item, arguments[1]) for key, item in found.items()} if arguments else found


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return None
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return None


_CONVERSIONS: dict[Any, Callable[[Any, tuple[Any, ...]], Any]] = {
    int: _to_whole,
    float: _to_number,
    bool: _to_boolean,
    str: _to_text,
    list: _to_list,
    dict: _to_dictionary,
}


@lru_cache(maxsize=4096)
def _adapter(wanted: Any) -> TypeAdapter[Any]:
    return TypeAdapter(wanted)


@lru_cache(maxsize=4096)
def _output_validators(block: Block) -> dict[str, TypeAdapter[Any] | None]:
    """One validator per output pin; None where anything goes."""
    return {
        name: None if field.annotation in (Any, object) else _adapter(Annotated[field.annotation, field])
        for name, field in block.Output.model_fields.items()
    }


def _complaints(problems: list[ErrorDetails], refused: Mapping[str, str]) -> dict[str, str]:
    """What is wrong, by pin."""
    told = dict(refused)
    for problem in problems:
        pin = str(problem["loc"][0]) if problem["loc"] else "input"
        missing = problem["type"] == "missing" and len(problem["loc"]) == 1
        told.setdefault(pin, "a value is required" if missing else _complaint(problem, problem["loc"][1:]))
    return told


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_context=False)[0]
    return _complaint(problem, problem["loc"])


def _complaint(problem: ErrorDetails, path: tuple[int | str, ...]) -> str:
    message = problem["msg"][:1].lower() + problem["msg"][1:]
    place = ".".join(map(str, path))
    return f"{f'at {place}: ' if place else ''}{message}, not {_short(problem['input'])}"


def _short(value: Any) -> str:
    try:
        text = repr(value[: _SHOWN + 1]) if isinstance(value, (str, bytes)) else _BEGINNING.repr(value)
    # Whatever it is, the message is about its type.
    except Exception:
        text = type(value).__name__
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
