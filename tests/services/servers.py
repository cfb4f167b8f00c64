"""Directories, start and stop of servers that live for one test session."""

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
#: The longest directory that leaves room for a name in the address of a Unix socket.
LONGEST_DIRECTORY_BYTES = 80
#: A file system in memory, where copying a database takes 0.02 s instead of 0.25 s.
MEMORY = Path("/dev/shm")  # noqa: S108  # mkdtemp chooses a name and keeps others out
MEMORY_BYTES = 2**30
PR_SET_PDEATHSIG = 1

# Looked up before any fork: nothing may be loaded between fork and exec.
_prctl = ctypes.CDLL(None).prctl


class ServerMissing(Exception):
    """No program of that kind was found; the message says what to install."""


class ServerBroken(Exception):
    """A program was found but did not start; the message ends with its log."""


@contextmanager
def short_directory(
    name: str, owner: tuple[int, int] | None = None, *, in_memory: bool = False
) -> Iterator[Path]:
    """Create a directory with mode 0700 and a path short enough for a Unix socket.

    pytest's `tmp_path` is too long for a socket and closed to other users.

    Args:
        name: A part of the directory's name.
        owner: The user and group that own the directory.
        in_memory: Create it in memory, if there is enough.
    """
    where = tempfile.gettempdir()
    if len(os.fsencode(where)) > LONGEST_DIRECTORY_BYTES - 20:
        where = "/tmp"  # noqa: S108  # mkdtemp chooses a name and keeps others out
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
    # Containers often have only 64 MiB.
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
    """Start a server, wait until it answers, and stop it when the block ends.

    The kernel stops it if this process is killed.

    Raises:
        ServerBroken: It exited, or was not ready in time.
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
            # Ctrl-C must reach pytest only, which stops the server after the tests.
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
            outcome = "is not ready" if code is None else f"exited with code {code}"
            tail = log.read_text(errors="replace")[-2000:]
            raise ServerBroken(f"{process.args!r} {outcome}:\n{tail}")
        time.sleep(POLL_SECONDS)


def _stop(process: subprocess.Popen[bytes], stop_signal: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(stop_signal)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
