"""Child processes for the tests of the supervisor, and ways to observe them."""

import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

from shared.process.supervisor import Event, ProcessSupervisor


def python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-u", "-c", textwrap.dedent(code), *arguments)


SLEEP = python("import time; time.sleep(600)")
IGNORE_TERM = python(
    """
    import pathlib, signal, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pathlib.Path(sys.argv[1]).touch()
    time.sleep(600)
    """
)


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "deadline exceeded"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def kinds(events: list[Event], *wanted: str) -> list[tuple[str, str]]:
    return [(event.kind, event.child) for event in events if event.kind in wanted]


def poll_until(supervisor: ProcessSupervisor, condition: Callable[[], object]) -> None:
    def step() -> object:
        supervisor.poll()
        return condition()

    wait_until(step)
