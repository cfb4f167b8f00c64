"""The supervisor, over real child processes that die, hang and refuse to end."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.process.child import LOG_ROTATE_BYTES, has_ended, spawn
from shared.process.supervisor import Child, Event, ProcessSupervisor, StartFailed, StopRequested

ROOT = Path(__file__).parents[3]


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
        assert time.monotonic() < deadline, "it did not happen in time"
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


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def supervisor(events: list[Event]) -> Iterator[ProcessSupervisor]:
    with ProcessSupervisor(report=events.append) as supervisor:
        yield supervisor


def kinds(events: list[Event], *wanted: str) -> list[tuple[str, str]]:
    return [(event.kind, event.child) for event in events if event.kind in wanted]


def poll_until(supervisor: ProcessSupervisor, condition: Callable[[], object]) -> None:
    def step() -> object:
        supervisor.poll()
        return condition()

    wait_until(step)


def test_children_start_in_order_and_stop_in_reverse(
    supervisor: ProcessSupervisor, events: list[Event]
) -> None:
    supervisor.start(*(Child(name, SLEEP) for name in ("first", "second", "third")))
    pids = [supervisor.pid(name) for name in ("first", "second", "third")]
    supervisor.stop()

    assert kinds(events, "ready", "stopping") == [
        ("ready", "first"),
        ("ready", "second"),
        ("ready", "third"),
        ("stopping", "third"),
        ("stopping", "second"),
        ("stopping", "first"),
    ]
    assert [event.exit for event in events if event.kind == "stopped"] == ["signal SIGTERM"] * 3
    assert not any(is_alive(pid) for pid in pids if pid)


def test_a_child_is_started_only_when_the_one_before_is_ready(
    supervisor: ProcessSupervisor, events: list[Event], tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    slow = python(
        "import pathlib, sys, time; time.sleep(0.5); pathlib.Path(sys.argv[1]).touch();"
        "time.sleep(600)",
        str(mark),
    )
    supervisor.start(Child("slow", slow, ready=mark.exists), Child("next", SLEEP))
    assert mark.exists()
    assert kinds(events, "started", "ready") == [
        ("started", "slow"),
        ("ready", "slow"),
        ("started", "next"),
        ("ready", "next"),
    ]


def test_children_started_together_do_not_wait_for_each_other(
    supervisor: ProcessSupervisor, events: list[Event]
) -> None:
    supervisor.start_together(Child("a", SLEEP), Child("b", SLEEP))
    assert kinds(events, "started", "ready") == [
        ("started", "a"),
        ("started", "b"),
        ("ready", "a"),
        ("ready", "b"),
    ]


def test_a_child_that_ends_while_starting_shows_the_end_of_its_log(
    supervisor: ProcessSupervisor, tmp_path: Path
) -> None:
    bad = python("print('port 1 is taken'); raise SystemExit(3)")
    with pytest.raises(StartFailed, match=r"(?s)api did not start: exit code 3.*port 1 is taken"):
        supervisor.start(Child("api", bad, ready=lambda: False, log_path=tmp_path / "api.log"))


def test_a_child_that_stays_unready_fails_by_name(supervisor: ProcessSupervisor) -> None:
    with pytest.raises(StartFailed, match="api did not start: not ready after"):
        supervisor.start(Child("api", SLEEP, ready=lambda: False, ready_seconds=0.3))


def test_a_program_that_does_not_exist_fails_by_name(
    supervisor: ProcessSupervisor, tmp_path: Path
) -> None:
    child = Child("x", ("/no/program",), ready=lambda: False, log_path=tmp_path / "x.log")
    with pytest.raises(StartFailed, match=r"(?s)exit code 127.*cannot run /no/program"):
        supervisor.start(child)


def test_what_dies_is_restarted(
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


def test_a_healthy_while_resets_the_delay(
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
    child = Child("deaf", (*IGNORE_TERM, str(mark)), ready=mark.exists, grace_seconds=0.3)
    supervisor.start(child)
    pid = supervisor.pid("deaf")
    assert pid is not None
    supervisor.stop()
    assert kinds(events, "stopping", "killed") == [("stopping", "deaf"), ("killed", "deaf")]
    assert not Path(f"/proc/{pid}").exists(), "killed, but left as a zombie"


def test_what_a_dead_child_left_behind_dies_too(
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


def test_complete_waits_for_the_end_and_reports_failure(
    supervisor: ProcessSupervisor, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    touch = python("import pathlib, sys; pathlib.Path(sys.argv[1]).touch()", str(mark))
    supervisor.complete(Child("migrate", touch))
    assert mark.exists()
    with pytest.raises(StartFailed, match="migrate did not start: exit code 1"):
        supervisor.complete(Child("migrate", python("raise SystemExit(1)")))


def test_a_stop_while_starting_is_noticed(supervisor: ProcessSupervisor) -> None:
    threading.Timer(0.2, supervisor.request_stop).start()
    with pytest.raises(StopRequested):
        supervisor.start(Child("api", SLEEP, ready=lambda: False))


def test_watch_ticks_until_a_stop_is_asked_for(supervisor: ProcessSupervisor) -> None:
    ticks: list[float] = []

    def tick() -> None:
        ticks.append(time.monotonic())
        if len(ticks) == 3:
            supervisor.request_stop()

    supervisor.watch(tick, tick_seconds=0.01)
    assert len(ticks) == 3
    assert supervisor.stopping


def test_a_second_signal_hurries(
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
        # The launcher must have tied itself before the parent is killed.
        wait_until(lambda: b"tether" not in Path(f"/proc/{child}/cmdline").read_bytes())
        process.kill()
    wait_until(lambda: not is_alive(child))


def test_a_child_has_a_session_of_its_own(supervisor: ProcessSupervisor) -> None:
    supervisor.start(Child("api", SLEEP))
    pid = supervisor.pid("api")
    assert pid is not None
    assert os.getsid(pid) == pid != os.getsid(0)


def test_no_zombies_are_left(supervisor: ProcessSupervisor) -> None:
    before = children_of(os.getpid())
    process = spawn(Child("short", python("pass")))
    wait_until(lambda: has_ended(process))
    assert process.returncode == 0
    assert children_of(os.getpid()) == before


def test_a_log_that_grew_too_large_is_set_aside(
    supervisor: ProcessSupervisor, tmp_path: Path
) -> None:
    path = tmp_path / "logs" / "api.log"
    path.parent.mkdir()
    path.write_bytes(b"x" * (LOG_ROTATE_BYTES + 1))
    supervisor.complete(Child("api", python("print('fresh')"), log_path=path))
    assert path.read_text() == "fresh\n"
    assert path.with_name("api.log.1").stat().st_size == LOG_ROTATE_BYTES + 1
