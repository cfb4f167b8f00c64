"""What a server that lives for one test session needs: a short place, a start, an end."""

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 60.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.02
#: The most that the address of a Unix socket may take, less the socket's own name.
LONGEST_DIRECTORY_BYTES = 80
#: A file system in memory: a database is copied there in 0.02 s, on a disk in 0.25 s.
MEMORY = Path("/dev/shm")  # noqa: S108  # mkdtemp makes the name and keeps others out
MEMORY_BYTES = 2**30
PR_SET_PDEATHSIG = 1

# Looked up before any fork: between fork and exec nothing may be loaded.
_prctl = ctypes.CDLL(None).prctl


class ServerMissing(Exception):
    """No program of that kind is on this machine; the message says what would bring one."""


class ServerBroken(Exception):
    """A program was found and did not start; the message has the end of its log."""


@contextmanager
def short_directory(
    name: str, owner: tuple[int, int] | None = None, *, in_memory: bool = False
) -> Iterator[Path]:
    """A directory of 0700 whose path leaves room for a Unix socket, removed at the end.

    pytest's own `tmp_path` is too deep for a socket, and no other user gets into it.

    Args:
        name: Goes into the directory's name.
        owner: The user and group that it is given to.
        in_memory: Put it where nothing reaches a disk, if this machine has room for that.
    """
    where = tempfile.gettempdir()
    if len(os.fsencode(where)) > LONGEST_DIRECTORY_BYTES - 20:
        where = "/tmp"  # noqa: S108  # mkdtemp makes the name and keeps others out
    if in_memory and _has_room(MEMORY):
        where = str(MEMORY)
    path = Path(tempfile.mkdtemp(prefix=f"quire-{name}-", dir=where))
    try:
        if owner is not None:
            os.chown(path, *owner)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _has_room(place: Path) -> bool:
    # Containers often have 64 MiB of it.
    return os.access(place, os.W_OK) and shutil.disk_usage(place).free >= MEMORY_BYTES


@contextmanager
def running(
    argv: Sequence[str | Path],
    log: Path,
    is_ready: Callable[[], bool],
    *,
    stop_signal: signal.Signals,
    user: tuple[int, int] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A server from its first answer on until the block is left.

    The kernel stops it where this process is killed.

    Raises:
        ServerBroken: It ended, or was not ready in time.
    """

    def die_with_parent() -> None:
        _prctl(PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)

    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            env=environment,
            user=user[0] if user else None,
            group=user[1] if user else None,
            extra_groups=[] if user else None,
            preexec_fn=die_with_parent,
            # Ctrl-C is pytest's: the server is stopped after the tests.
            start_new_session=True,
        )
    try:
        _await(process, is_ready, log)
        yield process
    finally:
        _stop(process, stop_signal)


def _await(process: subprocess.Popen[bytes], is_ready: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_ready():
        code = process.poll()
        if code is not None or time.monotonic() > deadline:
            what = "is not ready" if code is None else f"ended with {code}"
            tail = log.read_text(errors="replace")[-2000:]
            raise ServerBroken(f"{process.args!r} {what}:\n{tail}")
        time.sleep(POLL_SECONDS)


def _stop(process: subprocess.Popen[bytes], stop_signal: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(stop_signal)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
