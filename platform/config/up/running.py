"""One life of the platform: start everything in order, show the demonstration, wait, stop everything in order."""

import asyncio
import os
import signal
import time
from dataclasses import dataclass

from django.conf import settings
from django.core.management.base import CommandError

from config import env
from config.embedded import CannotStart, Embedded
from config.up import children, prepare
from config.up.client import ApiRefused, Client
from config.up.console import say
from config.up.supervisor import ServiceEnded, Supervisor

_READY_SECONDS = 60


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


class NotReady(Exception):
    """The web server did not answer in time."""


def run(options: Options) -> int:
    """Start, stay up until told to stop, stop; returns the exit code. Raises `CommandError` when it cannot start."""
    began = time.monotonic()
    # Until the loop below takes the signals over, they end the start-up the same orderly way.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not children.port_is_free(options.host, options.port):
        raise CommandError(
            f"Port {options.port} is taken by another program. Choose another one with --port "
            f"(make run ARGS='--port {options.port + 1}').",
        )
    embedded = Embedded(
        settings.TASKLOOM_HOME,
        postgres=not env.text("DATABASE_URL"),
        valkey=not env.text("REDIS_URL"),
    )
    try:
        embedded.start()
    except CannotStart as error:
        raise CommandError(str(error)) from None
    try:
        return _run_on_services(options, embedded, began)
    except KeyboardInterrupt:
        return 130
    finally:
        embedded.stop()
        say("Stopped. The data stays in " + str(settings.TASKLOOM_HOME))


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
        say("Stopping …")
        supervisor.stop()


async def _life(options: Options, supervisor: Supervisor, login: "prepare.Login | None", began: float) -> int:
    """Watch the children beside what the person sees, until a signal, a failure, or the end of `--once`."""
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told_to_stop.set)
    watching = asyncio.create_task(supervisor.watch())
    showing = asyncio.create_task(_show(options, login, began))
    stopping = asyncio.create_task(told_to_stop.wait())
    try:
        await asyncio.wait({watching, showing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if showing.done() and not stopping.done() and not watching.done():
            code = _result(showing)
            if options.once or code:
                return code
            await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            _result(watching)
        # Stopped before the run that `--once` was asked to show had ended.
        return 1 if options.once else 0
    except ServiceEnded as error:
        say(str(error), style="bold red")
        return 1
    finally:
        for task in (watching, showing, stopping):
            task.cancel()
        await asyncio.gather(watching, showing, stopping, return_exceptions=True)


def _result(task: "asyncio.Task[int] | asyncio.Task[None]") -> int:
    return task.result() or 0


async def _show(options: Options, login: "prepare.Login | None", began: float) -> int:
    """What the person sees: the demonstration, and where everything is. Returns 0 when the run COMPLETED."""
    async with Client(options.url) as client:
        try:
            await _wait_until_up(client)
            say(f"Up after {time.monotonic() - began:.1f} s.")
            if login is None:
                _tell_addresses(options)
                return 0
            from config.up import demo

            outcome = await demo.demonstrate(client, login)
        except (ApiRefused, NotReady) as error:
            say(str(error), style="bold red")
            return 1
    demo.show(outcome)
    if not options.once:
        _tell_addresses(options)
        say(f"  log in   {login.email} / {login.password}")
        say(f"  token    {outcome.token}")
    return 0 if outcome.status == "COMPLETED" else 1


async def _wait_until_up(client: Client) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not await client.is_up():
        if time.monotonic() > deadline:
            raise NotReady(f"The web server does not answer; see {settings.TASKLOOM_HOME / 'logs' / 'web.log'}")
        await asyncio.sleep(0.1)


def _tell_addresses(options: Options) -> None:
    say("")
    say(f"Taskloom is up at {options.url} (Ctrl-C stops it)", style="bold green")
    say(f"  API      {options.url}/api/docs/")
    say(f"  watch    {options.url.replace('http', 'ws', 1)}/ws?token=…")
    say(f"  admin    {options.url}/admin/")


def _let_blocks_reach(options: Options) -> None:
    """The examples fetch from this very server, which is not a public address."""
    name = "TASKLOOM_HTTP_ALLOW_PRIVATE"
    os.environ[name] = ",".join([*env.names(name), f"127.0.0.1:{options.port}"])
