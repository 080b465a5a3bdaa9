"""What must be there before the first process starts: tables, a folder for static files, the demo user."""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor


@dataclass(frozen=True)
class Login:
    """What the demo user logs in with."""

    email: str
    password: str


def migrate() -> int:
    """Bring the tables up to date and return how many migrations that took."""
    executor = MigrationExecutor(connection)
    waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if waiting:
        call_command("migrate", interactive=False, verbosity=0)
    return len(waiting)


def make_static_folder() -> None:
    """WhiteNoise finds the files in the packages, but warns when the folder of collected ones is absent."""
    Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)


def make_demo_user() -> Login:
    """Make sure that the demo user exists and can log in, and return how."""
    from accounts.models import User

    login = Login(settings.DEMO_EMAIL.lower(), settings.DEMO_PASSWORD or _kept_password(settings.TASKLOOM_HOME))
    user = User.objects.filter(email=login.email).first()
    if user is None:
        User.objects.create_user(login.email, login.password, name="Demo")
    elif not user.check_password(login.password):
        user.set_password(login.password)
        user.save(update_fields=["password", "updated_at"])
    return login


def close_connections() -> None:
    """Give back every database connection: from here on this process only watches."""
    connections.close_all()
    connection.close_pool()  # type: ignore[attr-defined]  # the Postgres backend has it


def _kept_password(home: Path) -> str:
    path = home / "demo.json"
    if path.exists():
        return str(json.loads(path.read_text())["password"])
    password = secrets.token_urlsafe(12)
    home.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({"password": password}, file)
    return password
