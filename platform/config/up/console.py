"""What the person at the terminal reads: our own lines, and warnings out of the children's logs."""

import re
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.text import Text

_WORTH_TELLING = re.compile(r"(^|[\s\[])(WARNING|ERROR|CRITICAL)[\s:\]/]")

console = Console(highlight=False)


def say(text: str, *, style: str = "") -> None:
    """Print one line as it is: nothing in it is markup."""
    console.print(Text(text, style=style), soft_wrap=True)


def warn(name: str, text: str) -> None:
    """Print a line of the child `name`, or one about it."""
    console.print(Text.assemble((f"{name:>9} ", "yellow"), text), soft_wrap=True)


class LogTail:
    """The warnings and errors that a log file gains from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def news(self) -> Iterator[str]:
        """The complete lines since the last call that a person should see."""
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return
        if size < self._offset:
            self._offset = 0
        if size == self._offset:
            return
        with self._path.open("rb") as log:
            log.seek(self._offset)
            *lines, self._rest = (self._rest + log.read(size - self._offset)).split(b"\n")
        self._offset = size
        for line in lines:
            text = line.decode(errors="replace").rstrip()
            if _WORTH_TELLING.search(text):
                yield text
