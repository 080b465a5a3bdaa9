"""The kinds of failure that every app's errors belong to.

An error is raised where it is noticed and translated once, by the API's exception handler or the command
that asked. The class docstring is the default message; `data` carries what a client can act on.
"""

import re
from typing import ClassVar


class DomainError(Exception):
    """The request could not be carried out."""

    status: ClassVar[int] = 400
    hint: ClassVar[str] = ""

    def __init__(self, message: str = "", **data: object) -> None:
        super().__init__(message or (self.__doc__ or "").strip().splitlines()[0])
        self.data = data

    @property
    def code(self) -> str:
        """The machine-readable name on the wire: the class name in snake case."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    @property
    def message(self) -> str:
        """What happened, for a person."""
        return str(self)


class Invalid(DomainError):
    """A value in the request is not acceptable."""


class Refused(DomainError):
    """The caller is known but not allowed to do this."""

    status = 403


class NotFound(DomainError):
    """There is no such thing, or the caller may not see it."""

    status = 404


class Conflict(DomainError):
    """The thing is in a state that does not allow this."""

    status = 409


class Unavailable(DomainError):
    """A service this depends on does not answer."""

    status = 503
    hint = "Try again in a moment."
