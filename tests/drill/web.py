"""A web server that a drill kills."""

import asyncio
import socket
from pathlib import Path
from typing import Self

import httpx2

from config.up import children

_PATIENCE = 60.0


class KillableWeb:
    """The web server as `manage.py up` starts it, on a free port."""

    def __init__(self, logs: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._child = children.web(host="127.0.0.1", port=self.port, logs=logs)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._child.stop()

    def kill(self) -> None:
        """End it at once, by SIGKILL."""
        assert self._child.process is not None
        self._child.process.kill()
        self._child.process.wait(10)

    def start(self) -> None:
        """Start it, without waiting."""
        self._child.start()

    async def until_up(self) -> None:
        """Wait until it answers."""
        async with httpx2.AsyncClient(trust_env=False) as client, asyncio.timeout(_PATIENCE):
            while True:
                try:
                    (await client.get(f"http://127.0.0.1:{self.port}/health")).raise_for_status()
                except httpx2.TransportError:
                    await asyncio.sleep(0.05)
                else:
                    return
