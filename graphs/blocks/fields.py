"""How a block's pins are declared: a pydantic field plus what the editor shows about it."""

from collections.abc import Sequence
from typing import Any

from pydantic import Field
from pydantic_core import PydanticUndefined


def pin(
    description: str = "",
    *,
    default: Any = PydanticUndefined,
    title: str | None = None,
    placeholder: str | None = None,
    advanced: bool | None = None,
    hidden: bool = False,
    secret: bool = False,
    depends_on: Sequence[str] = (),
    format: str | None = None,
    **constraints: Any,
) -> Any:
    """Declare a pin. Without `default` it is required; mutable defaults are copied for each input.

    advanced     shown only on request; unless given, true for a pin with a default
    hidden       never shown
    secret       shown as dots, and removed from exported graphs
    depends_on   pins that must be set when this one is
    format       how the editor asks for it: short-text, long-text, date, time, file, …
    constraints  pydantic's: ge, le, min_length, max_length, pattern, …
    """
    flags: dict[str, Any] = {"advanced": default is not PydanticUndefined if advanced is None else advanced}
    optional: dict[str, Any] = {
        "hidden": hidden or None,
        "secret": secret or None,
        "placeholder": placeholder,
        "depends_on": list(depends_on) or None,
        "format": format,
    }
    flags.update({name: value for name, value in optional.items() if value is not None})
    return Field(default, title=title, description=description or None, json_schema_extra=flags, **constraints)
