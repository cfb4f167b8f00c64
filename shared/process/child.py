"""A child process: its configuration, start, end and log."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import structlog

from shared.process import pdeathsig
from shared.process.log_files import LogLimits, open_log

LOG_TAIL_LINES = 5

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Child:
    """The configuration of a child process.

    Attributes:
        name: Its name in logs and errors.
        argv: The program and its arguments.
        environment: All its variables; None inherits those of this process.
        ready: Polled until it returns True; None means ready once started.
        ready_seconds: The time it may take to become ready.
        grace_seconds: The time between SIGTERM and SIGKILL.
        log_path: The file that its output is appended to; None inherits the output of this process.
        log_limits: How large that file may be when the child starts.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] | None = None
    ready: Callable[[], bool] | None = None
    ready_seconds: float = 60.0
    grace_seconds: float = 10.0
    log_path: Path | None = None
    log_limits: LogLimits = field(default_factory=LogLimits)
    inherited_fds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """An event in the life of a child.

    Attributes:
        kind: `exited` is an unrequested end; `unready`, a restarted child that hangs;
            `killed`, a child that outlasted its grace period.
        child: Its name.
        pid: Its process id.
        exit: How it ended, such as ``exit code 1`` or ``signal SIGKILL``.
        restart_seconds: The delay before it is restarted.
    """

    kind: Literal["started", "ready", "exited", "unready", "stopping", "stopped", "killed"]
    child: str
    pid: int
    exit: str | None = None
    restart_seconds: float | None = None


def log_event(event: Event) -> None:
    """Log an event, as a warning if something went wrong."""
    write = log.warning if event.kind in {"exited", "unready", "killed"} else log.info
    details = {"exit": event.exit, "restart_in_seconds": event.restart_seconds}
    write(
        f"child_{event.kind}",
        child=event.child,
        pid=event.pid,
        **{name: value for name, value in details.items() if value is not None},
    )


class StartFailed(Exception):
    """A child ended, or stayed unready, while it was being started."""


def spawn(child: Child) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, tied to this process's life.

    A terminal's Ctrl-C reaches only this process, which then ends its children in
    order. Call it from a thread that lives as long as the child may: the kernel
    takes the end of that thread for the end of the parent.
    """
    launcher = [sys.executable, "-I", "-S", str(pdeathsig.__file__), str(os.getpid())]
    log = open_log(child.log_path, child.log_limits) if child.log_path else None
    try:
        return subprocess.Popen(  # an argument list of our own, and no shell
            [*launcher, *child.argv],
            env=None if child.environment is None else dict(child.environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=child.inherited_fds,
        )
    finally:
        if log is not None:
            os.close(log)


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process ended; if so, kill the rest of its process group and reap it.

    The kernel does not reuse the id of an ended process before it is reaped, so the kill can
    reach only its own descendants.
    """
    if process.returncode is not None:
        return True
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    if os.waitid(os.P_PID, process.pid, flags) is None:
        return False
    kill_session(process)
    process.wait()
    return True


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """Send SIGKILL to a process that is not reaped yet, and to its process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        process.kill()  # it has no group of its own yet


def describe_exit(returncode: int) -> str:
    """Describe a return code, as ``exit code 3`` or ``signal SIGKILL``."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return f"signal {signal.Signals(-returncode).name}"
    except ValueError:
        return f"signal {-returncode}"


def log_tail(path: Path | None) -> str:
    """Return the last lines of a log, to append to an error; empty if there is no log."""
    if path is None or not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8192))
        lines = file.read().decode(errors="replace").splitlines()
    tail = [line for line in lines if line.strip()][-LOG_TAIL_LINES:]
    return f"; the end of {path}:\n  " + "\n  ".join(tail) if tail else f"; its log is {path}"
