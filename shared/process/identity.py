"""Names a process so that a later one on the same machine can tell whether it has ended."""

import os
from pathlib import Path

PROC = Path("/proc")
#: A process that has ended but was not reaped yet.
ENDED_STATES = frozenset("ZX")


def own_identity(proc: Path = PROC) -> str | None:
    """Name this process: ``boot/namespace/pid/start``; None where the kernel does not say.

    A process id alone coincides across machines and containers, and is used again after a restart.
    """
    place = _place(proc)
    return None if place is None else f"{place}/{os.getpid()}/{_start(proc, os.getpid())}"


def has_surely_ended(identity: str | None, proc: Path = PROC) -> bool:
    """Whether a process has ended, as far as can be known from here.

    A process of another machine, of another container or of an earlier start of this machine can't
    be seen, so the answer is False.
    """
    if identity is None:
        return False
    rest, _, started = identity.rpartition("/")
    place, _, process = rest.rpartition("/")
    if place != _place(proc) or not process.isdecimal():
        return False
    try:
        return _start(proc, int(process)) != started
    except OSError:
        return not _exists(int(process))


def _place(proc: Path) -> str | None:
    """The start of this machine and the namespace in which process ids count."""
    try:
        boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{(proc / 'self/ns/pid').readlink()}"
    except OSError:
        return None


def _start(proc: Path, pid: int) -> str | None:
    """When a process started, in ticks since the machine did; None if it has ended."""
    # The name of the program, in parentheses, may hold spaces and parentheses.
    fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return None if fields[0] in ENDED_STATES else fields[19]


def _exists(pid: int) -> bool:
    """Whether a process exists, even one of another user that /proc hides (`hidepid`)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
