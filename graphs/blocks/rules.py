"""What a block's declaration must fulfil before anybody can draw with it."""

import types
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from graphs.blocks.base import Block, Category, CredentialsPlaceholder, Effect, Example, Kind

_DECLARED = {
    "id": str,
    "description": str,
    "categories": frozenset,
    "effect": Effect,
    "kind": Kind,
    "isolated": bool,
    "examples": tuple,
}


def violations(block: type[Block]) -> list[str]:
    """What is wrong with the declaration, each as a clause without a full stop; empty when it is fine."""
    wrong = [
        f"{name} must be declared as {wanted.__name__}"
        for name, wanted in _DECLARED.items()
        if not isinstance(getattr(block, name, None), wanted)
    ]
    wrong += [
        f"{name} must be a nested pydantic model"
        for name in ("Input", "Output")
        if not (isinstance(model := getattr(block, name, None), type) and issubclass(model, BaseModel))
    ]
    if block.run is Block.run:
        wrong.append("run must be defined")
    return wrong or [*_about_class(block), *_about_pins(block)]


def is_credentials_name(name: str) -> bool:
    """Whether a pin of this name holds credentials."""
    return name == "credentials" or name.endswith("_credentials")


def _about_class(block: type[Block]) -> list[str]:
    wrong = []
    if len(block.id) != 36:
        wrong.append(f"its id must have 36 characters, not {len(block.id)}")
    if not block.description.strip():
        wrong.append("its description is empty")
    if not all(isinstance(category, Category) for category in block.categories):
        wrong.append("its categories must be members of Category")
    if (block.effect is Effect.VERIFIABLE) != (block.was_done is not Block.was_done):
        wrong.append("was_done must be defined by blocks whose effect is VERIFIABLE, and only by them")
    if not block.examples or not all(isinstance(example, Example) for example in block.examples):
        wrong.append("examples must hold at least one Example")
    return wrong


def _about_pins(block: type[Block]) -> list[str]:
    wrong = []
    for name, field in block.Input.model_fields.items():
        if field.annotation is bool and field.is_required():
            wrong.append(f"the boolean input {name} needs a default")
        if is_credentials_name(name) != _holds_credentials(field):
            wrong.append(
                f"input {name}: credentials belong into pins named credentials or *_credentials, and only there"
            )
    error = block.Output.model_fields.get("error")
    if error is not None and error.annotation is not str:
        wrong.append("the output error must be a str")
    return wrong


def _holds_credentials(field: FieldInfo) -> bool:
    return any(
        isinstance(member, type) and issubclass(member, CredentialsPlaceholder) for member in _members(field.annotation)
    )


def _members(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)
