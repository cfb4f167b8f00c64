"""Log files are rotated while processes write to them."""

import subprocess
import sys
from pathlib import Path

import pytest

from quire.server.stack import rotate_logs
from shared.process.log_files import LogLimits, open_log, rotate, rotate_all
from shared.settings import load_settings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "api.log"


def names(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


def test_a_log_is_rotated_under_its_writer(path: Path) -> None:
    limits = LogLimits(max_bytes=1000, kept_files=2)
    writer = subprocess.Popen(
        [sys.executable, "-u", "-c", "import sys\nfor line in sys.stdin: print(line.strip())"],
        stdin=subprocess.PIPE,
        stdout=open_log(path, limits),
        text=True,
    )
    assert writer.stdin is not None
    written = [f"{number:0100}" for number in range(60)]
    rotated = 0
    for line in written:
        before = path.stat().st_size
        writer.stdin.write(f"{line}\n")
        writer.stdin.flush()
        while path.stat().st_size == before:
            pass
        rotated += rotate(path, limits)
    writer.stdin.close()
    assert writer.wait(30) == 0
    assert rotated == 6
    assert names(path) == ["api.log", "api.log.1", "api.log.2"]
    kept = [path.with_name("api.log.2"), path.with_name("api.log.1"), path]
    # No line is lost while nobody writes, none is cut, and there is no hole at the beginning.
    lines = [line for each in kept for line in each.read_text().splitlines()]
    assert lines == written[-len(lines) :]
    assert all(each.stat().st_size <= 1101 for each in kept)
    assert {each.stat().st_mode & 0o777 for each in kept} == {0o600}


def test_no_older_file_may_be_kept(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"x" * 2000)
    assert rotate(path, LogLimits(1000, 0))
    assert names(path) == ["api.log"]
    assert path.read_bytes() == b""
    assert not rotate(path, LogLimits(1000, 0))


def test_what_can_not_be_rotated_stays(path: Path) -> None:
    path.parent.mkdir()
    other = path.with_name("workers.log")
    for each in (path, other):
        each.write_bytes(b"x" * 2000)
    path.with_name("api.log.part").mkdir()
    with pytest.raises(OSError, match=r"api\.log\.part"):
        rotate(path, LogLimits(1000, 1))
    path.with_name("api.log.part").rmdir()
    path.with_name("api.log.1").mkdir()
    rotate_all([path, other, path.with_name("none.log")], LogLimits(1000, 1))
    assert other.read_bytes() == b""
    assert path.stat().st_size == 2000


def test_the_settings_bound_the_logs_of_quire_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUIRE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("QUIRE_LOG_FILE_BYTES", "4096")
    monkeypatch.setenv("QUIRE_LOG_FILES", "1")
    logs = tmp_path / "logs"
    logs.mkdir()
    for _ in range(3):
        for name in ("api.log", "redis.log"):
            (logs / name).write_bytes(b"x" * 5000)
        rotate_logs(load_settings())
    assert sorted(each.name for each in logs.iterdir()) == [
        "api.log",
        "api.log.1",
        "redis.log",
        "redis.log.1",
    ]
    assert (logs / "api.log").stat().st_size == 0
