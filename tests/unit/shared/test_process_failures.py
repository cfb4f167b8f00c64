"""The supervisor over real child processes that die, hang and refuse to end."""

import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from shared.process.child import has_ended, spawn
from shared.process.log_files import LogLimits
from shared.process.supervisor import Child, Event, ProcessSupervisor
from tests.unit.shared.children import (
    IGNORE_TERM,
    SLEEP,
    children_of,
    is_alive,
    kinds,
    poll_until,
    python,
    wait_until,
)

ROOT = Path(__file__).parents[3]


def test_a_child_that_dies_is_restarted(
    supervisor: ProcessSupervisor, events: list[Event], monkeypatch
) -> None:
    monkeypatch.setattr("shared.process.supervisor.FIRST_DELAY_SECONDS", 0.1)
    supervisor.start(Child("api", SLEEP))
    first = supervisor.pid("api")
    assert first is not None
    os.kill(first, signal.SIGKILL)

    poll_until(supervisor, lambda: supervisor.pid("api") not in (None, first))
    death = next(event for event in events if event.kind == "exited")
    assert (death.child, death.exit) == ("api", "signal SIGKILL")
    assert death.restart_seconds == pytest.approx(0.1)


def test_the_delay_doubles_up_to_its_limit(
    supervisor: ProcessSupervisor, events: list[Event], monkeypatch
) -> None:
    monkeypatch.setattr("shared.process.supervisor.FIRST_DELAY_SECONDS", 0.05)
    monkeypatch.setattr("shared.process.supervisor.LONGEST_DELAY_SECONDS", 0.15)
    supervisor.start(Child("api", python("import time; time.sleep(0.3)")))

    deaths = [event for event in events if event.kind == "exited"]
    poll_until(supervisor, lambda: len([event for event in events if event.kind == "exited"]) >= 4)
    deaths = [event for event in events if event.kind == "exited"]
    assert [death.restart_seconds for death in deaths[:4]] == [0.05, 0.1, 0.15, 0.15]
    assert deaths[0].exit == "exit code 0"


def test_a_healthy_period_resets_the_delay(
    supervisor: ProcessSupervisor, events: list[Event], monkeypatch
) -> None:
    monkeypatch.setattr("shared.process.supervisor.FIRST_DELAY_SECONDS", 0.05)
    monkeypatch.setattr("shared.process.supervisor.HEALTHY_SECONDS", 0.1)
    supervisor.start(Child("api", python("import time; time.sleep(0.4)")))
    poll_until(supervisor, lambda: len([event for event in events if event.kind == "exited"]) >= 3)
    assert {event.restart_seconds for event in events if event.kind == "exited"} == {0.05}


def test_a_restarted_child_that_hangs_is_replaced(
    supervisor: ProcessSupervisor, events: list[Event], monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("shared.process.supervisor.FIRST_DELAY_SECONDS", 0.05)
    healthy = True
    supervisor.start(Child("api", SLEEP, ready=lambda: healthy, ready_seconds=0.3))
    healthy = False
    pid = supervisor.pid("api")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    poll_until(supervisor, lambda: kinds(events, "unready"))
    healthy = True
    poll_until(supervisor, lambda: len(kinds(events, "ready")) == 2)


def test_a_child_that_ignores_term_is_killed_after_its_grace(
    supervisor: ProcessSupervisor, events: list[Event], tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    child = Child("stubborn", (*IGNORE_TERM, str(mark)), ready=mark.exists, grace_seconds=0.3)
    supervisor.start(child)
    pid = supervisor.pid("stubborn")
    assert pid is not None
    supervisor.stop()
    assert kinds(events, "stopping", "killed") == [("stopping", "stubborn"), ("killed", "stubborn")]
    assert not Path(f"/proc/{pid}").exists(), "killed, but still a zombie"


def test_descendants_of_a_dead_child_are_killed(
    supervisor: ProcessSupervisor, tmp_path: Path
) -> None:
    mark = tmp_path / "pid"
    parent = python(
        """
        import pathlib, subprocess, sys, time
        grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        path = pathlib.Path(sys.argv[1])
        path.with_suffix(".part").write_text(str(grandchild.pid))
        path.with_suffix(".part").replace(path)
        time.sleep(600)
        """,
        str(mark),
    )
    supervisor.start(Child("api", parent, ready=mark.exists))
    pid, grandchild = supervisor.pid("api"), int(mark.read_text())
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    poll_until(supervisor, lambda: supervisor.pid("api") != pid)
    wait_until(lambda: not is_alive(grandchild))


def test_a_second_signal_hurries_the_stop(
    supervisor: ProcessSupervisor, events: list[Event], tmp_path: Path, monkeypatch
):
    monkeypatch.setattr("shared.process.supervisor.HURRY_SECONDS", 0.3)
    marks = [tmp_path / "a", tmp_path / "b"]
    supervisor.start(
        *(
            Child(mark.name, (*IGNORE_TERM, str(mark)), ready=mark.exists, grace_seconds=600)
            for mark in marks
        )
    )
    with supervisor.signals():
        os.kill(os.getpid(), signal.SIGINT)
        supervisor.watch()  # the first signal ends the watch
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        supervisor.stop()
    assert kinds(events, "killed") == [("killed", "b"), ("killed", "a")]


def test_children_die_with_their_parent(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    parent = python(
        f"""
        import sys, time
        sys.path.insert(0, {str(ROOT)!r})
        from shared.process.supervisor import Child, ProcessSupervisor
        supervisor = ProcessSupervisor()
        supervisor.start(Child("sleeper", (sys.executable, "-c", "import time; time.sleep(600)")))
        open({str(mark)!r} + ".part", "w").write(str(supervisor.pid("sleeper")))
        import os; os.rename({str(mark)!r} + ".part", {str(mark)!r})
        time.sleep(600)
        """
    )
    with subprocess.Popen(parent, stdout=subprocess.DEVNULL) as process:
        wait_until(mark.exists)
        child = int(mark.read_text())
        # Wait until the launcher has become the program, before the parent is killed.
        wait_until(lambda: b"pdeathsig" not in Path(f"/proc/{child}/cmdline").read_bytes())
        process.kill()
    wait_until(lambda: not is_alive(child))


def test_a_child_has_its_own_session(supervisor: ProcessSupervisor) -> None:
    supervisor.start(Child("api", SLEEP))
    pid = supervisor.pid("api")
    assert pid is not None
    assert os.getsid(pid) == pid != os.getsid(0)


def test_no_zombies_remain(supervisor: ProcessSupervisor) -> None:
    before = children_of(os.getpid())
    process = spawn(Child("short", python("pass")))
    wait_until(lambda: has_ended(process))
    assert process.returncode == 0
    assert children_of(os.getpid()) == before


def test_a_large_log_is_rotated(supervisor: ProcessSupervisor, tmp_path: Path) -> None:
    path = tmp_path / "logs" / "api.log"
    path.parent.mkdir()
    path.write_bytes(b"x" * 5001)
    child = Child("api", python("print('fresh')"), log_path=path, log_limits=LogLimits(5000, 2))
    supervisor.complete(child)
    assert path.read_text() == "fresh\n"
    assert path.with_name("api.log.1").stat().st_size == 5001
