"""One life of the platform: start everything in order, show the demonstration, wait, stop everything in order."""

import asyncio
import os
import signal
import time
from dataclasses import dataclass
from http import HTTPStatus

import httpx2
from django.conf import settings
from django.core.management.base import CommandError
from websockets.exceptions import WebSocketException

from config import env
from config.embedded import CannotStart, Embedded, is_running
from config.up import children, prepare
from config.up.client import ApiRefused, Client
from config.up.console import say
from config.up.supervisor import ServiceEnded, Supervisor

_READY_SECONDS = 60
_RUN_SECONDS = 120


@dataclass(frozen=True)
class Options:
    """What the person asked for on the command line."""

    host: str
    port: int
    workers: int
    demo: bool
    once: bool

    @property
    def url(self) -> str:
        """Where a client on this machine finds the web server."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104  only compared
        return f"http://{host}:{self.port}"


def run(options: Options) -> int:
    """Start, stay up until told to stop, stop; returns the exit code. Raises `CommandError` when it cannot start."""
    began = time.monotonic()
    # Until the loop below takes the signals over, they end the start-up the same orderly way.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Where this very platform is up already, its home tells so, and another port would not help.
    if not is_running(settings.TASKLOOM_HOME) and (trouble := children.cannot_listen(options.host, options.port)):
        raise CommandError(trouble)
    embedded = Embedded(
        settings.TASKLOOM_HOME,
        postgres=not env.text("DATABASE_URL"),
        valkey=not env.text("REDIS_URL"),
    )
    try:
        embedded.start()
        return _run_on_services(options, embedded, began)
    except CannotStart as error:
        raise CommandError(str(error)) from None
    except KeyboardInterrupt:
        return 130
    finally:
        embedded.stop()


def _run_on_services(options: Options, embedded: Embedded, began: float) -> int:
    count = prepare.migrate()
    if count:
        say(f"Applied {count} migrations.")
    prepare.make_static_folder()
    login = prepare.make_demo_user() if options.demo else None
    prepare.close_connections()
    if options.demo:
        _let_blocks_reach(options)
    logs = settings.TASKLOOM_HOME / "logs"
    supervisor = Supervisor(
        web=children.web(host=options.host, port=options.port, logs=logs),
        workers=children.workers(count=options.workers, logs=logs),
        beat=children.beat(logs=logs),
        embedded=embedded,
    )
    try:
        supervisor.start()
        return asyncio.run(_life(options, supervisor, login, began))
    finally:
        # What follows takes seconds at most, and cutting it short would lose the order.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        say("Stopping …")
        supervisor.stop()
        embedded.stop()
        say(f"Stopped. The data stays in {settings.TASKLOOM_HOME}")


async def _life(options: Options, supervisor: Supervisor, login: "prepare.Login | None", began: float) -> int:
    """Watch the children beside what the person sees, until a signal, a failure, or the end of `--once`."""
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told_to_stop.set)
    watching = asyncio.create_task(supervisor.watch())
    showing = asyncio.create_task(_show(options, login, began))
    stopping = asyncio.create_task(told_to_stop.wait())
    ends = {watching, stopping, showing} if options.once else {watching, stopping}
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()
        if options.once:
            return 0 if showing.done() and showing.result() else 1
        return 0
    except ServiceEnded as error:
        say(str(error), style="bold red")
        return 1
    finally:
        for task in (watching, showing, stopping):
            task.cancel()
        await asyncio.gather(watching, showing, stopping, return_exceptions=True)


async def _show(options: Options, login: "prepare.Login | None", began: float) -> bool:
    """What the person sees: the demonstration, and where everything is. Returns whether the run COMPLETED."""
    async with Client(options.url) as client:
        if not await _wait_until_up(client):
            say(f"The web server does not answer; see {settings.TASKLOOM_HOME / 'logs' / 'web.log'}", style="bold red")
            return False
        say(f"Up after {time.monotonic() - began:.1f} s.")
        completed = login is not None and await _demonstrate(client, login)
        if not options.once:
            _tell_addresses(options)
            if login is not None:
                say(f"  log in   {login.email} / {login.password}")
                say(f"  token    {client.token}")
        return completed


async def _demonstrate(client: Client, login: "prepare.Login") -> bool:
    # Imported only here: without the demonstration nobody needs it.
    from config.up import demo

    try:
        async with asyncio.timeout(_RUN_SECONDS):
            outcome = await demo.demonstrate(client, login)
    except TimeoutError:
        say(f"The example run has not ended within {_RUN_SECONDS} s; see the logs of the workers.", style="bold red")
        return False
    except (ApiRefused, httpx2.HTTPError, WebSocketException, OSError) as error:
        say(f"The example run could not be shown: {error}", style="bold red")
        if isinstance(error, ApiRefused) and error.status == HTTPStatus.PAYMENT_REQUIRED:
            say(f"`manage.py give_credits {login.email} 500 --operator EMAIL --reason …` gives some; EMAIL is whom")
            say("`manage.py createsuperuser` made.")
        return False
    demo.show(outcome)
    return outcome.status == "COMPLETED"


async def _wait_until_up(client: Client) -> bool:
    deadline = time.monotonic() + _READY_SECONDS
    while not await client.is_up():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.1)
    return True


def _tell_addresses(options: Options) -> None:
    say("")
    say(f"Taskloom is up at {options.url} (Ctrl-C stops it)", style="bold green")
    say(f"  API      {options.url}/api/docs/")
    say(f"  watch    {options.url.replace('http', 'ws', 1)}/ws?token=…")
    say(f"  admin    {options.url}/admin/ (for those made with manage.py createsuperuser)")


def _let_blocks_reach(options: Options) -> None:
    """The examples fetch from this very server, which is not a public address."""
    name = "TASKLOOM_HTTP_ALLOW_PRIVATE"
    os.environ[name] = ",".join([*env.names(name), f"127.0.0.1:{options.port}"])
