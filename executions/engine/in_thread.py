"""Calling the synchronous services from the engine's event loop."""

from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import connection

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def in_thread(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, Awaitable[_Result]]:
    """Call a synchronous service in a thread, giving its database connection back."""

    def call(*arguments: _Arguments.args, **named: _Arguments.kwargs) -> _Result:
        try:
            return function(*arguments, **named)
        finally:
            connection.close()

    return sync_to_async(call, thread_sensitive=False)
