"""Reading rows for sockets: in a few threads, and once for all that want the same."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, ParamSpec, TypeVar
from weakref import WeakValueDictionary

from channels.db import database_sync_to_async

# A few threads read for all sockets of the process, so that many watchers cannot take every database connection.
_readers = ThreadPoolExecutor(4, thread_name_prefix="sockets")

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_Page = TypeVar("_Page")


def reading(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, Awaitable[_Result]]:
    """The same function for use in the event loop: a thread calls it and gives its connection back."""
    return database_sync_to_async(function, thread_sensitive=False, executor=_readers)


class SharedReads(Generic[_Page]):
    """Reads that several sockets want are done once, and kept only while one of them holds the task."""

    def __init__(self) -> None:
        self._tasks: WeakValueDictionary[Hashable, asyncio.Task[_Page]] = WeakValueDictionary()

    def read(self, key: Hashable, function: Callable[[], _Page]) -> asyncio.Task[_Page]:
        """What the function returns, called in a thread unless it was for the same key; do not cancel the task."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.ensure_future(reading(function)())
            # Those who wanted it may be gone by then, and asyncio complains of failures that nobody asks for.
            task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return task
