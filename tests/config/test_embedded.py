import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from config.embedded import AlreadyRunning, CannotStart, Embedded, is_running
from config.embedded.paths import socket_folder
from tests.waiting import wait_until

STARTER = """
import sys, time
from pathlib import Path
from config.embedded import Embedded
embedded = Embedded(Path(sys.argv[1]))
embedded.start()
print("started", flush=True)
time.sleep(600)
"""


@pytest.fixture
def home() -> Iterator[Path]:
    # pytest's own temporary folders have paths too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="taskloom-embedded-")).resolve()
    yield folder / "home"
    shutil.rmtree(folder)


def postgres(home: Path) -> psycopg.Connection:
    return psycopg.connect(host=str(socket_folder(home)), user="taskloom", dbname="taskloom", autocommit=True)


def valkey(home: Path) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(socket_folder(home) / "valkey.sock"))


def remember_something(home: Path) -> None:
    with postgres(home) as connection:
        connection.execute("CREATE TABLE things (name text)")
        connection.execute("INSERT INTO things VALUES ('kept')")
    with valkey(home) as client:
        client.set("thing", "kept")


def what_is_remembered(home: Path) -> tuple[object, object]:
    with postgres(home) as connection, valkey(home) as client:
        return connection.execute("SELECT name FROM things").fetchall(), client.get("thing")


KEPT = ([("kept",)], b"kept")


def start_elsewhere(home: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", STARTER, str(home)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "started\n"
    return process


def postmaster(home: Path) -> int:
    return int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def test_a_second_start_finds_the_data_again(home: Path):
    with Embedded(home):
        remember_something(home)

    with Embedded(home):
        assert what_is_remembered(home) == KEPT


def test_the_services_listen_on_sockets_in_a_folder_that_only_we_may_enter(home: Path):
    with Embedded(home):
        with postgres(home) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        with valkey(home) as client:
            assert client.config_get("port") == {"port": "0"}
        assert socket_folder(home).stat().st_mode & 0o777 == 0o700
        assert (home / "postgres").stat().st_mode & 0o777 == 0o700


def test_starting_changes_the_mode_of_no_folder_above(home: Path):
    home.parent.chmod(0o700)

    with Embedded(home):
        assert home.parent.stat().st_mode & 0o777 == 0o700


def test_when_the_starter_is_killed_the_services_end_by_themselves_and_the_next_start_finds_the_data(home: Path):
    starter = start_elsewhere(home)
    remember_something(home)
    assert is_running(home)

    starter.kill()
    starter.wait()

    assert not is_running(home)
    # At once, while the killed starter's services may still be ending.
    with Embedded(home):
        assert what_is_remembered(home) == KEPT


def test_a_postgres_killed_outright_recovers_what_was_committed(home: Path):
    embedded = Embedded(home)
    embedded.start()
    remember_something(home)
    assert embedded.ended() is None

    os.kill(postmaster(home), signal.SIGKILL)
    wait_until(lambda: embedded.ended() == "Postgres")
    embedded.stop()

    with Embedded(home):
        assert what_is_remembered(home) == KEPT


def test_a_pid_file_that_names_another_program_is_no_obstacle(home: Path):
    with Embedded(home):
        remember_something(home)
    (home / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n{home}/postgres\n0\n5432\n\n\n")

    with Embedded(home):
        assert what_is_remembered(home) == KEPT


def test_a_second_start_on_the_same_home_is_refused_and_the_first_goes_on(home: Path):
    with Embedded(home):
        remember_something(home)

        with pytest.raises(AlreadyRunning) as refusal:
            Embedded(home).start()

        assert str(refusal.value) == (
            f"{home} is in use by another Taskloom (process {os.getpid()}). Stop that one first, or set TASKLOOM_HOME "
            "to another folder."
        )
        assert what_is_remembered(home) == KEPT


def test_a_half_made_cluster_is_made_again(home: Path):
    (home / "postgres.draft").mkdir(parents=True)
    (home / "postgres.draft" / "PG_VERSION").write_text("18\n")

    with Embedded(home, valkey=False), postgres(home) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_cluster_of_another_version_is_refused_with_the_reason_and_left_alone(home: Path):
    with Embedded(home):
        remember_something(home)
    version = home / "postgres" / "PG_VERSION"
    version.write_text("17\n")

    with pytest.raises(CannotStart, match="database files are incompatible with server"):
        Embedded(home).start()

    assert not is_running(home)
    version.write_text("18\n")
    with Embedded(home):
        assert what_is_remembered(home) == KEPT


def test_a_home_with_a_long_path_has_its_sockets_among_the_temporary_files(home: Path):
    deep = home / ("deep" * 30)

    with Embedded(deep):
        remember_something(deep)
        assert socket_folder(deep).parent == Path(tempfile.gettempdir())
        assert socket_folder(deep).stat().st_mode & 0o777 == 0o700

    shutil.rmtree(socket_folder(deep))


def test_a_link_put_where_the_sockets_belong_is_refused(home: Path):
    deep = home / ("deep" * 30)
    elsewhere = home.parent / "elsewhere"
    elsewhere.mkdir()
    socket_folder(deep).symlink_to(elsewhere)

    with pytest.raises(CannotStart, match="is not a folder of ours"):
        Embedded(deep).start()

    assert list(elsewhere.iterdir()) == []
    socket_folder(deep).unlink()


def test_valkey_alone_starts_when_a_database_is_elsewhere(home: Path):
    with Embedded(home, postgres=False), valkey(home) as client:
        assert client.ping() is True
        assert not (home / "postgres").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs a way around Postgres' refusal to run as root")
def test_root_without_user_namespaces_runs_postgres_as_nobody(home: Path, monkeypatch: pytest.MonkeyPatch):
    home.parent.chmod(0o711)
    # Stands for a kernel that refuses: there is no way to make this one do so from within.
    monkeypatch.setattr("config.embedded.identity.namespaces_allowed", lambda: False)

    with Embedded(home):
        remember_something(home)
    with Embedded(home):
        assert what_is_remembered(home) == KEPT
        assert (home / "postgres").owner() == "nobody"
