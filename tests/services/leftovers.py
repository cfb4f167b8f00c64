"""Finds the processes that one pytest process started and left behind.

Two pytest processes that run side by side have different marks and ignore each other's children.
"""

import os
import secrets
import signal
import time
from dataclasses import dataclass
from pathlib import Path

#: An environment variable, inherited by every process that a test starts, orphans included.
MARK = "QUIRE_TEST_RUN"
#: The time that processes have to end after a stop request.
PATIENCE_SECONDS = 5.0
#: Python's own helpers, which end with the interpreter that started them.
HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


@dataclass(frozen=True)
class Leftover:
    """A process that still runs after the tests."""

    pid: int
    command: str


def mark() -> None:
    """Mark all processes that this one starts from now on."""
    os.environ[MARK] = secrets.token_hex(8)
    # A process title would overwrite the environment that is searched for the mark.
    os.environ["SPT_NOENV"] = "1"


def find() -> list[Leftover]:
    """Wait a moment, then return the marked processes that still run."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := _marked()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def kill(leftovers: list[Leftover]) -> None:
    """Kill them, so that they do not disturb the next run."""
    for leftover in leftovers:
        try:
            os.kill(leftover.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _marked() -> list[Leftover]:
    needle = f"{MARK}={os.environ[MARK]}".encode()
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        pid = int(directory.name)
        try:
            # /proc shows the environment at the start of a process, so this one is never found.
            if needle not in (directory / "environ").read_bytes().split(b"\0"):
                continue
            arguments = (directory / "cmdline").read_bytes()
        except OSError:
            continue
        command = arguments.replace(b"\0", b" ").decode(errors="replace")
        if pid != os.getpid() and not any(name in command for name in HELPERS):
            found.append(Leftover(pid, command.strip() or "(ended, not waited for)"))
    return found
