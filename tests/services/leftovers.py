"""Finds the processes that a run of the tests started and left behind."""

import os
import secrets
import signal
import time
from dataclasses import dataclass
from pathlib import Path

#: Every process that a test starts inherits it, orphans and daemons too.
MARK = "QUIRE_TEST_RUN"
#: What was told to end may need a moment.
PATIENCE_SECONDS = 5.0
#: Python's own, which end with the interpreter that started them.
OWN = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


@dataclass(frozen=True)
class Leftover:
    """A process that nobody ended."""

    pid: int
    command: str


def mark() -> None:
    """Mark this process, and so all that it starts from now on."""
    os.environ[MARK] = secrets.token_hex(8)
    # A process title would overwrite the environment that is searched for the mark.
    os.environ["SPT_NOENV"] = "1"


def find() -> list[Leftover]:
    """The marked processes that still run after a moment, but for this one."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := _marked()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def end(leftovers: list[Leftover]) -> None:
    """End them, so that the next run does not meet them."""
    for each in leftovers:
        try:
            os.kill(each.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _marked() -> list[Leftover]:
    needle = f"{MARK}={os.environ[MARK]}".encode()
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        pid = int(place.name)
        try:
            # Our own environment in /proc is that of our start, so we never find ourselves.
            if needle not in (place / "environ").read_bytes().split(b"\0"):
                continue
            command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if pid != os.getpid() and not any(name in command for name in OWN):
            found.append(Leftover(pid, command.strip() or "(ended, not waited for)"))
    return found
