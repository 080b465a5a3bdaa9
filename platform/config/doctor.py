"""Examines what Taskloom stands on, one dependency after the other, and names a cure for each that is ill."""

import asyncio
import os
import shutil
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg
import redis
from django.conf import settings
from django.core import checks
from django.db import connection

from config import env
from config.embedded import CannotStart, Embedded, identity, is_running
from core.ids import uuid7

_NEEDED_BYTES = 1024**3
_OLDEST_POSTGRES = 150000
_OLDEST_REDIS = (6, 2)
_MIGRATED = "all applied"
# A sweep takes a few seconds at most, so what is older than this nobody looks for.
_OVERDUE_SECONDS = 60
_HEALTHY = "a Taskloom answers and is healthy"
_QUEUES = ("runs", "isolated", "default")


@dataclass(frozen=True)
class Finding:
    """What one examination found: how the thing is, and what to do when it is not well."""

    name: str
    ok: bool
    message: str
    cure: str = ""

    def as_dict(self) -> dict[str, object]:
        """The finding as JSON-ready data."""
        return asdict(self)


def examine(port: int) -> Iterator[Finding]:
    """Examine everything; embedded services that do not run are started for the time that it takes."""
    yield _python()
    yield _home()
    yield _disk()
    yield _user()
    on_port = _port(port)
    yield on_port
    yield _guarded("settings", _settings, "Run `manage.py check`.")
    with_postgres, with_valkey = not env.text("DATABASE_URL"), not env.text("REDIS_URL")
    embedded = Embedded(settings.TASKLOOM_HOME, postgres=with_postgres, valkey=with_valkey)
    start = (with_postgres or with_valkey) and not is_running(settings.TASKLOOM_HOME)
    try:
        if start:
            embedded.start()
    except CannotStart as error:
        yield Finding("embedded services", False, str(error), "See the logs folder, or set DATABASE_URL and REDIS_URL.")
        return
    try:
        yield from _services(serves=on_port.message.endswith(_HEALTHY))
    finally:
        if start:
            embedded.stop()


def _services(*, serves: bool) -> Iterator[Finding]:
    """What is behind the processes, and these; where a web server `serves`, some must be there."""
    cure = "Start it, or correct DATABASE_URL." if env.text("DATABASE_URL") else "Start the platform: `make run`."
    database = _guarded("postgres", _postgres, cure)
    yield database
    if database.ok:
        migrations = _guarded("migrations", _migrations, "Run `manage.py migrate`.")
        yield migrations
        if migrations.ok and migrations.message == _MIGRATED:
            yield _guarded("runs", _runs, "See what `postgres` above says.")
            yield _guarded("schedules", _schedules, "See what `postgres` above says.")
            yield _guarded("webhooks", _webhooks, "See what `postgres` above says.")
    yield _guarded("files", _files, "Make it writable for this user, or correct TASKLOOM_FILES_URL.")
    yield _guarded("scanner", _scanner, "Start clamd, or correct TASKLOOM_CLAMD_URL.")
    yield _guarded("redis", _redis, "Start it, or correct REDIS_URL.")
    broker = _guarded("broker", _broker, "Start it, or correct CELERY_BROKER_URL.")
    yield broker
    if broker.ok:
        yield _guarded("workers", lambda: _workers(needed=serves), "See what `broker` above says.")
    if database.ok:
        yield _guarded("beat", lambda: _beat(needed=serves), "See what `postgres` above says.")
    yield _guarded("channel layer", _channel_layer, "See what `redis` above says.")


def _guarded(name: str, examination: Callable[[], Finding], cure: str) -> Finding:
    try:
        return examination()
    # Whatever goes wrong is the finding.
    except Exception as error:
        reason = str(error).strip().splitlines()
        return Finding(name, False, reason[0] if reason else type(error).__name__, cure)


@contextmanager
def _closing_connection() -> Iterator[None]:
    """Leave no connection open after an examination: an embedded Postgres is about to be stopped."""
    try:
        yield
    finally:
        connection.close()
        connection.close_pool()  # type: ignore[attr-defined]  # the Postgres backend has it


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", sys.version_info >= (3, 11), version, "Install Python 3.11 or newer, then `make install`.")


def _home() -> Finding:
    home: Path = settings.TASKLOOM_HOME
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    return Finding("home", os.access(existing, os.W_OK | os.X_OK), str(home), "Set TASKLOOM_HOME to a folder of yours.")


def _disk() -> Finding:
    home: Path = settings.TASKLOOM_HOME
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    return Finding("disk space", free >= _NEEDED_BYTES, f"{free / 1024**3:.1f} GB free", "Keep at least 1 GB free.")


def _user() -> Finding:
    if env.text("DATABASE_URL"):
        return Finding("postgres user", True, "not needed: DATABASE_URL is set")
    try:
        found = identity.choose(settings.TASKLOOM_HOME)
    except (CannotStart, OSError) as error:
        return Finding("postgres user", False, str(error), "Run as an ordinary user, or set DATABASE_URL.")
    if found.user is not None:
        return Finding("postgres user", True, "nobody (user namespaces are not allowed here)")
    return Finding("postgres user", True, "root in a user namespace" if found.prefix else "you")


def _port(port: int) -> Finding:
    with socket.socket() as probe:
        probe.settimeout(2)
        if probe.connect_ex(("127.0.0.1", port)) != 0:
            return Finding("port", True, f"{port} is free")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            if answer.read(100) == b'{"status":"healthy"}':
                return Finding("port", True, f"{port}: {_HEALTHY}")
            reason = "by another program"
    except (urllib.error.URLError, OSError) as error:
        reason = f"({error})"
    cure = "Stop that program, or choose another port: `make run ARGS='--port 8001'`."
    return Finding("port", False, f"{port} is taken {reason}", cure)


def _settings() -> Finding:
    found = [message for message in checks.run_checks() if message.is_serious() and not message.is_silenced()]
    if not found:
        return Finding("settings", True, "all system checks pass")
    cure = found[0].hint or "Run `manage.py check`."
    return Finding("settings", False, "; ".join(f"{message.msg} ({message.id})" for message in found), cure)


def _postgres() -> Finding:
    with psycopg.connect(settings.DATABASE_URL, connect_timeout=5) as connection:
        version = connection.info.server_version
        text = f"{version // 10000}.{version % 10000}"
    return Finding("postgres", version >= _OLDEST_POSTGRES, text, "Use Postgres 15 or newer.")


def _migrations() -> Finding:
    from django.db.migrations.executor import MigrationExecutor

    with _closing_connection():
        executor = MigrationExecutor(connection)
        waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if not waiting:
        return Finding("migrations", True, _MIGRATED)
    if not env.text("DATABASE_URL"):
        return Finding("migrations", True, f"{len(waiting)} waiting; `up` will apply them")
    return Finding("migrations", False, f"{len(waiting)} waiting", "Run `manage.py migrate`.")


def _runs() -> Finding:
    """The age of the oldest run that each rule of the sweepers should have handled."""
    from executions.overdue import overdue

    with _closing_connection():
        found = overdue()
    told = "; ".join(f"{each.rule} for {each.seconds:.0f} s: {each.run_id}" for each in found)
    late = any(each.seconds > _OVERDUE_SECONDS for each in found)
    cure = "Start a worker, or more of them; `manage.py why RUN` says what a run waits for."
    return Finding("runs", not late, told or "none waits for a worker", cure)


def _schedules() -> Finding:
    """How long the schedule that is due the longest has been."""
    from executions.overdue import unfired

    with _closing_connection():
        found = unfired()
    told = "none is due" if found is None else f"due for {found[1]:.0f} s: {found[0]}"
    cure = "Start beat, and a worker with the queue `default`."
    return Finding("schedules", found is None or found[1] <= _OVERDUE_SECONDS, told, cure)


def _webhooks() -> Finding:
    """How long the delivery that waits the longest has been in the inbox."""
    from executions.overdue import unread

    with _closing_connection():
        found = unread()
    told = "nothing waits" if found is None else f"waiting for {found[1]:.0f} s: delivery {found[0]}"
    cure = "Start beat, and a worker with the queue `default`."
    return Finding("webhooks", found is None or found[1] <= _OVERDUE_SECONDS, told, cure)


def _files() -> Finding:
    from django.core.files.base import ContentFile

    from files.services import storage

    where = settings.STORAGES["files"]["OPTIONS"]
    name = storage().save(f"doctor-{uuid7()}", ContentFile(b"probe"))
    storage().delete(name)
    return Finding("files", True, str(where.get("bucket_name") or where["location"]))


def _scanner() -> Finding:
    from files import clamd

    if not settings.CLAMD_URL:
        return Finding("scanner", True, "none: uploads are not looked through for viruses")
    clamd.scan([b"probe"])
    return Finding("scanner", True, settings.CLAMD_URL)


def _redis() -> Finding:
    with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=5, socket_connect_timeout=5) as client:
        information = client.info("server")
    version = str(information.get("valkey_version") or information["redis_version"])
    new_enough = tuple(int(part) for part in version.split(".")[:2]) >= _OLDEST_REDIS
    return Finding("redis", new_enough, version, "Use Redis 6.2 or newer, or Valkey.")


def _broker() -> Finding:
    from celery import current_app

    with current_app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0)
        return Finding("broker", True, str(connection.as_uri()))


def _workers(*, needed: bool) -> Finding:
    """How many workers answer, and whether each queue has one."""
    from celery import current_app

    # Who is busy may take longer: a silence that would be ill is worth a second question.
    waits = (1.0, 3.0) if needed else (1.0,)
    asked = (current_app.control.inspect(timeout=seconds).active_queues() for seconds in waits)
    answers = next(filter(None, asked), {})
    served = {queue["name"] for queues in answers.values() for queue in queues}
    missing = [queue for queue in _QUEUES if queue not in served]
    told = f"{len(answers)} answer, on the queues {', '.join(sorted(served))}" if answers else "none answers"
    if answers and missing:
        told += f"; none on {', '.join(missing)}"
    cure = f"Start one: `celery -A config worker -Q {','.join(missing)}`."
    return Finding("workers", not (needed and missing), told, cure)


def _beat(*, needed: bool) -> Finding:
    """Whether some beat holds the lock that lets it work."""
    from config.beat import LOCK

    held = (
        "SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database "
        "WHERE datname = current_database() AND locktype = 'advisory' AND classid = 0 AND objid = %s AND granted"
    )
    with psycopg.connect(settings.DATABASE_URL, connect_timeout=5) as connection:
        works = connection.execute(held, [LOCK]).fetchone() is not None
    cure = "Start it: `celery -A config beat`."
    return Finding("beat", works or not needed, "works" if works else "none works", cure)


def _channel_layer() -> Finding:
    async def exchange() -> object:
        from channels.layers import get_channel_layer

        layer = get_channel_layer()
        if layer is None:
            raise LookupError("CHANNEL_LAYERS names no default layer")
        channel = await layer.new_channel()
        await layer.send(channel, {"type": "doctor"})
        return await asyncio.wait_for(layer.receive(channel), 5)

    ok = asyncio.run(exchange()) == {"type": "doctor"}
    return Finding("channel layer", ok, "a message came back", "See what `redis` above says.")
