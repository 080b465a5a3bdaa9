"""What drivers are told: messages from the blocks that run beside them, and from the engine."""

import asyncio
from dataclasses import dataclass

from executions.engine.state import Activation
from executions.engine.waits import Wait
from graphs.blocks.base import Emission, Suspension, Used

# What blocks may run ahead by: as many emissions, or as many parts of long texts.
MAX_WEIGHT = 64
_CHARACTERS = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Emitted:
    """A block yielded something, in this `attempt`: what is heard of an earlier one does not count."""

    activation: Activation
    emission: Emission | Used
    attempt: int

    @property
    def weight(self) -> int:
        """How much room it takes: of long texts, more than others."""
        long = sum(len(part) for part in self.emission if type(part) is str) if type(self.emission) is tuple else 0
        return min(1 + long // _CHARACTERS, MAX_WEIGHT)


@dataclass(frozen=True, slots=True)
class Ended:
    """A block returned, raised `error`, or wants to wait for `suspension`.

    With `is_unknown`, nobody knows whether it had its effect; `error` says why.
    """

    activation: Activation
    error: BaseException | None = None
    suspension: Suspension | None = None
    is_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Called:
    """What a block asked for was asked, and its activation waits from now on."""

    activation: Activation
    wait: Wait


@dataclass(frozen=True, slots=True)
class Silent:
    """A block that runs apart gives nothing for a while, after `taken_up` outputs of this turn: its run can wait."""

    activation: Activation
    taken_up: int


@dataclass(frozen=True, slots=True)
class Broken:
    """Something that the driver needs does not work."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Poked:
    """Something happened to the run from outside."""


@dataclass(frozen=True, slots=True)
class Held:
    """A block waits for room: another may take its place, and so make room in the end."""


Message = Emitted | Ended | Called | Silent | Broken | Poked | Held


class Mailbox:
    """Messages to one driver. A block may run ahead by a few emissions; then it waits until the driver has room."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Message] = asyncio.Queue()
        self._credit = asyncio.Semaphore(MAX_WEIGHT)
        self._turn = asyncio.Lock()
        self.blocked = 0

    def put(self, message: Message) -> None:
        """Add a message that never has to wait."""
        self._queue.put_nowait(message)

    async def put_emission(self, message: Emitted) -> None:
        """Add an emission once there is room for it."""
        self.blocked += 1
        taken = 0
        try:
            if self._turn.locked():
                self.put(Held())
            # In turn, or two might each have half of the room they need.
            async with self._turn:
                while taken < message.weight:
                    if self._credit.locked():
                        self.put(Held())
                    await self._credit.acquire()
                    taken += 1
        except BaseException:
            self.give_room(taken)
            raise
        finally:
            self.blocked -= 1
        self.put(message)

    @property
    def has_mail(self) -> bool:
        """Whether there are messages that nobody has taken."""
        return not self._queue.empty()

    def give_room(self, weight: int) -> None:
        """Emissions of this weight were taken up: others may follow."""
        for _ in range(weight):
            self._credit.release()

    async def take(self, timeout: float | None) -> list[Message]:
        """All messages there are, waiting up to `timeout` seconds for the first."""
        try:
            async with asyncio.timeout(timeout):
                messages = [await self._queue.get()]
        except TimeoutError:
            return []
        while not self._queue.empty():
            messages.append(self._queue.get_nowait())
        return messages
