"""The watchdog ends a process that hangs, and the log shows where it hung."""

import subprocess
import sys
import time

import pytest

#: Beside the run that hangs, a thread's stack changes all the time.
PROGRAM = """
import ctypes, threading, time
from worker.execution.watchdog import Watchdog

def busy(depth=0):
    return 0 if depth == 60 else busy(depth + 1)

def busy_forever():
    while True:
        busy()

def hang_in_python():
    while True:
        time.sleep(0.01)

def hang_with_the_lock():
    ctypes.PyDLL(None).sleep(600)

def feed():
    for _ in range(20):
        time.sleep(0.05)
        watchdog.feed()

def disarm():
    watchdog.disarm()
    time.sleep(1)

threading.Thread(target=busy_forever, daemon=True).start()
watchdog = Watchdog(0.5, grace_seconds=0.5)
watchdog.arm()
"""


def run(then: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM + then],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("times", range(5))
def test_the_log_shows_every_threads_stack(times: int) -> None:
    ended = run("hang_in_python()")
    assert ended.returncode == 1
    assert "in hang_in_python" in ended.stderr
    assert "in busy_forever" in ended.stderr


def test_a_library_that_holds_pythons_lock_is_ended_too() -> None:
    started = time.monotonic()
    ended = run("hang_with_the_lock()")
    # The stacks are read while they change, so the process may also end by a crash.
    assert ended.returncode != 0
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("begun", ["watchdog.arm()", "watchdog.arm(); watchdog.disarm()"])
def test_a_run_that_starts_or_ends_does_not_hide_another_that_hangs(begun: str) -> None:
    ended = run(f"{begun}; hang_in_python()")
    assert ended.returncode == 1
    assert "in hang_in_python" in ended.stderr


def test_a_fed_or_disarmed_watchdog_does_nothing() -> None:
    ended = run("feed(); disarm(); print('went on')")
    assert (ended.returncode, ended.stdout) == (0, "went on\n"), ended.stderr
