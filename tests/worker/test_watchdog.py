"""The watchdog: what hangs is ended, and the log says where it stood."""

import subprocess
import sys
import time

import pytest

#: Beside the run that hangs: a thread whose stack changes all the time.
PROGRAM = """
import ctypes, threading, time
from worker.execution.watchdog import Watchdog

def busy(depth=0):
    return 0 if depth == 60 else busy(depth + 1)

def restless():
    while True:
        busy()

def hang_in_python():
    while True:
        time.sleep(0.01)

def hang_with_the_lock():
    ctypes.PyDLL(None).sleep(600)

def show_life():
    for _ in range(20):
        time.sleep(0.05)
        watchdog.show_life()

def rest():
    watchdog.rest()
    time.sleep(1)

threading.Thread(target=restless, daemon=True).start()
watchdog = Watchdog(0.5, grace_seconds=0.5)
watchdog.watch()
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
def test_the_log_says_where_every_thread_stood(times: int) -> None:
    ended = run("hang_in_python()")
    assert ended.returncode == 1
    assert "in hang_in_python" in ended.stderr
    assert "in restless" in ended.stderr


def test_a_library_that_keeps_pythons_lock_is_ended_too() -> None:
    started = time.monotonic()
    ended = run("hang_with_the_lock()")
    # The stacks are read while they change, so that this ending may be a crash as well.
    assert ended.returncode != 0
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("begun", ["watchdog.watch()", "watchdog.watch(); watchdog.rest()"])
def test_one_who_begins_or_ends_beside_it_does_not_hide_what_hangs(begun: str) -> None:
    ended = run(f"{begun}; hang_in_python()")
    assert ended.returncode == 1
    assert "in hang_in_python" in ended.stderr


def test_who_shows_life_or_rests_goes_on() -> None:
    ended = run("show_life(); rest(); print('went on')")
    assert (ended.returncode, ended.stdout) == (0, "went on\n"), ended.stderr
