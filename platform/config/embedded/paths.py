"""Where the embedded services live, known to every process without asking.

Both listen on Unix sockets only, so nothing else on the machine can reach them and no port can be taken.
"""

import hashlib
import tempfile
from pathlib import Path
from urllib.parse import quote, urlsplit

# sun_path of a Unix socket address holds 107 characters; Postgres appends "/.s.PGSQL.5432".
_LONGEST_FOLDER = 90


def socket_folder(home: Path) -> Path:
    """The folder of both sockets: inside `home`, or beside other temporary files when that path is too long."""
    folder = home / "run"
    if len(str(folder)) <= _LONGEST_FOLDER:
        return folder
    name = hashlib.sha256(str(home).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"taskloom-{name}"


def database_url(home: Path) -> str:
    """The URL of the embedded Postgres."""
    return f"postgresql://taskloom:@/taskloom?host={quote(str(socket_folder(home)), safe='/')}"


def redis_url(home: Path) -> str:
    """The URL of the embedded Valkey, as redis-py and Channels read it."""
    return f"unix://{socket_folder(home)}/valkey.sock?db=0"


def broker_url(redis_url: str) -> str:
    """The same server as Celery reads it."""
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    return f"redis+socket://{parts.path}?virtual_host=0"
