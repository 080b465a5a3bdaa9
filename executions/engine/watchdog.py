"""Ends a process whose event loop hangs.

A block that is said to compute quickly and does not holds up every run of its process, until all their leases lapse.
Other workers take them over, the bad one again and again: five processes later its run is given up.
"""

import asyncio
import logging
import os
import sys
import threading
import traceback

log = logging.getLogger(__name__)

EXIT_CODE = 70
TICK_SECONDS = 1.0


class Watchdog:
    """Asks an event loop to answer, and ends the process when it has not for `patience` seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: threading.Thread, patience: float) -> None:
        self._loop = loop
        self._thread = thread
        self._ticks = max(1, round(patience / TICK_SECONDS))
        self._answered = threading.Event()

    def start(self) -> None:
        """Begin to ask, until the loop's thread has ended."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def _watch(self) -> None:
        while self._thread.is_alive():
            self._answered.clear()
            try:
                self._loop.call_soon_threadsafe(self._answered.set)
            except RuntimeError:
                return  # the loop was closed
            # Counted in ticks: a process that was halted and goes on has had one of them, however long that took.
            if not any(self._answered.wait(TICK_SECONDS) for _ in range(self._ticks)) and self._thread.is_alive():
                self._end()
            self._thread.join(TICK_SECONDS)

    def _end(self) -> None:
        frame = sys._current_frames().get(self._thread.ident or 0)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        log.critical("The engine hangs: this process ends, and others take over its runs. It stands at\n%s", stack)
        logging.shutdown()
        os._exit(EXIT_CODE)
